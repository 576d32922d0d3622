"""`plugvisor up`, `run` and `ctl`: each becomes another program."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from plugvisor.cli.connection.address import find_own
from plugvisor.cli.listener import open_listener
from plugvisor.cli.startup.banner import print_banner
from plugvisor.cli.startup.log_format import make_announcer
from plugvisor.cli.startup.plugins_folder import prepare_plugins_folder
from plugvisor.cli.startup.stored_intents import read_stored_intents
from plugvisor.engines.supervisord import boot
from plugvisor.engines.supervisord.program import launch_path
from plugvisor.engines.supervisord.run_folder import (
    prepare_folders,
    prepare_state_folder,
    write_address,
    write_users_conf,
)
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings

if TYPE_CHECKING:
    import argparse


def run_up(_arguments: argparse.Namespace) -> int:
    """Get everything ready and become supervisord; on a swarm, serve."""
    settings = Settings.from_env(os.environ)
    if settings.engine == "supervisord":
        _become_supervisord(settings)
    from plugvisor.cli.startup.on_swarm import run_up_on_swarm  # noqa: PLC0415 - it imports the web framework

    return run_up_on_swarm(settings)


def _become_supervisord(settings: Settings) -> NoReturn:
    prepare_plugins_folder(settings, os.environ)
    prepare_folders(settings)
    boot.lock_run_dir(settings)
    state_warning = prepare_state_folder(settings)
    if settings.page_dir is not None:
        from plugvisor.api.http.static import check_page_dir  # noqa: PLC0415 - it imports the web framework

        check_page_dir(settings.page_dir)
    catalog = boot.render_programs(settings, keep_broken=False)
    write_users_conf(settings)
    starts_warning = boot.write_starts(settings, read_stored_intents(settings))
    environ = boot.make_environ(settings, len(catalog))
    code = boot.prepare_admin_code(settings, environ)
    boot.prepare_webhook_secret(settings, environ)
    boot.pass_listener(open_listener(settings))
    write_address(settings)
    warnings = [*boot.list_foreign_files(settings), state_warning or starts_warning]
    print_banner(settings, catalog, code, {"logs": str(settings.log_dir)}, warnings)
    make_announcer(settings)("Ctrl-C stops all of it.")
    command = [sys.executable, "-P", "-m", "plugvisor.engines.supervisord.extension"]
    os.execve(sys.executable, [*command, "-c", str(boot.SUPERVISORD_CONF)], environ)


def run_plugin(arguments: argparse.Namespace) -> NoReturn:
    """Become a plugin."""
    if (arguments.plugin_id is None) == (arguments.file is None):
        raise ConfigurationError("cannot run a plugin: name its ID, or its launch file with --file")
    settings = Settings.from_env(os.environ)
    if arguments.file is None:
        require_supervisord(settings, "run a plugin in this terminal", "`docker service logs plugvisor-ID` shows one")
    path = arguments.file or launch_path(settings.run_dir, arguments.plugin_id)
    boot.execute_plugin(path.absolute())


def run_ctl(arguments: argparse.Namespace) -> NoReturn:
    """Become supervisorctl, of the supervisord that this user's other commands find too."""
    environ = dict(os.environ)
    if not environ.get("PLUGVISOR_SUPERVISOR_URL"):
        environ["PLUGVISOR_RUN_DIR"] = str(find_own(environ).run_dir)
    settings = Settings.from_env(environ)
    require_supervisord(
        settings,
        "run supervisorctl",
        "use `docker service ls --filter label=plugvisor.id`, `docker service ps plugvisor-ID`, `docker service scale "
        "plugvisor-ID=0`",
    )
    environ = boot.make_ctl_environ(settings)
    command = [sys.executable, "-P", "-m", "supervisor.supervisorctl", "-c", str(boot.SUPERVISORD_CONF)]
    os.execve(sys.executable, [*command, *arguments.arguments], environ)


def require_supervisord(settings: Settings, purpose: str, advice: str) -> None:
    """Raise `ConfigurationError` if there is no supervisord, as on a swarm."""
    if settings.engine != "supervisord":
        raise ConfigurationError(
            f"cannot {purpose}: with PLUGVISOR_ENGINE={settings.engine} plugins are services of the swarm; {advice}"
        )
