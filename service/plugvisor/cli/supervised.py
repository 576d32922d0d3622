"""`plugvisor up`, `run` and `ctl`: each becomes another program."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from plugvisor import VERSION
from plugvisor.admin_code import WEAK_CODE
from plugvisor.cli.listener import ANY_NAME, open_listener
from plugvisor.cli.stored_intents import read_stored_intents
from plugvisor.engines.one_machine import list_ignored
from plugvisor.engines.supervisord import boot
from plugvisor.engines.supervisord.program import find_missing_commands, launch_path
from plugvisor.engines.supervisord.run_folder import prepare_folders, prepare_state_folder, write_users_conf
from plugvisor.errors import ConfigurationError
from plugvisor.plugins.dependencies import find_warnings
from plugvisor.settings import Settings, find_unknown_variables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plugvisor.admin_code import AdminCode
    from plugvisor.plugins.catalog import Catalog

_ONE_USER = (
    "this is not root, so the service and the plugins run as one user: a plugin can read the admin code and stop "
    "the service; start as root to keep them apart"
)


def run_up(_arguments: argparse.Namespace) -> NoReturn:
    """Get everything ready and become supervisord."""
    settings = Settings.from_env(os.environ)
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
    _print_banner(settings, catalog, code, [state_warning or starts_warning])
    command = [sys.executable, "-P", "-m", "plugvisor.engines.supervisord.extension"]
    os.execve(sys.executable, [*command, "-c", str(boot.SUPERVISORD_CONF)], environ)


def run_plugin(arguments: argparse.Namespace) -> NoReturn:
    """Become a plugin."""
    if (arguments.plugin_id is None) == (arguments.file is None):
        raise ConfigurationError("cannot run a plugin: name its ID, or its launch file with --file")
    path = arguments.file or launch_path(Settings.from_env(os.environ).run_dir, arguments.plugin_id)
    boot.execute_plugin(path.absolute())


def run_ctl(arguments: argparse.Namespace) -> NoReturn:
    """Become supervisorctl."""
    environ = boot.make_ctl_environ(Settings.from_env(os.environ))
    command = [sys.executable, "-P", "-m", "supervisor.supervisorctl", "-c", str(boot.SUPERVISORD_CONF)]
    os.execve(sys.executable, [*command, *arguments.arguments], environ)


def _print_banner(settings: Settings, catalog: Catalog, code: AdminCode, store_warnings: Sequence[str]) -> None:
    print(f"Plugvisor {VERSION}")
    url = settings.public_url or settings.url
    print(f"  address     {url}")
    if code.is_new:
        # a fragment: browsers never send it to a server, and the page removes it from the address bar at once
        page = settings.public_url or ("<address of your proxy>" if settings.socket_path else settings.url)
        print(f"  page        {page}/#code={code.value}")
    print(f"  admin code  {code.value if code.is_new else 'as you set it'}")
    folders = dict.fromkeys([settings.plugins_dir, settings.install_dir or settings.plugins_dir])
    print(f"  plugins     {len(catalog)} in {' and '.join(map(str, folders))}")
    print(f"  logs        {settings.log_dir}")
    found = find_warnings(catalog)
    for plugin in catalog.values():
        if plugin.problem:
            print(f"cannot use {plugin.id!r}: {plugin.problem}", file=sys.stderr)
        own = (*plugin.manifest.warnings, *list_ignored(plugin.manifest)) if plugin.manifest else ()
        for warning in (*own, *find_missing_commands(plugin), *found.get(plugin.id, ())):
            print(f"{plugin.name_of_folder}: warning: {warning}", file=sys.stderr)
    warnings = [*boot.list_foreign_files(settings), *find_unknown_variables(os.environ), *filter(None, store_warnings)]
    if code.is_weak:
        warnings.append(WEAK_CODE)
    if settings.answers_to_any_name:
        warnings.append(ANY_NAME)
    if settings.users is None and os.environ.get("PLUGVISOR_SERVICE_USER"):
        warnings.append(_ONE_USER)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("Ctrl-C stops all of it.", flush=True)
