"""The command `plugvisor`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import httpx

from plugvisor import VERSION
from plugvisor.admin_code import AdminCode, keep_admin_code, make_admin_code, read_admin_code
from plugvisor.api.app import create_app
from plugvisor.api.http.server import open_socket, serve
from plugvisor.api.http.static import check_page_dir
from plugvisor.engines.supervisord import boot as up
from plugvisor.engines.supervisord.program import launch_path, render_program
from plugvisor.engines.supervisord.run_folder import prepare_folders, write_users_conf
from plugvisor.errors import ConfigurationError
from plugvisor.plugins.catalog import load_catalog
from plugvisor.settings import VARIABLES, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.plugins.catalog import Plugin

HEALTH_TIMEOUT_SECONDS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit status 2 is an unusable configuration, which stderr explains."""
    arguments = _make_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except ConfigurationError as error:
        print(f"plugvisor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as a shell tells it; uvicorn raises the signal anew after its clean end
    return status


def run_up(_arguments: argparse.Namespace) -> NoReturn:
    """Get everything ready and become supervisord."""
    settings = Settings.from_env(os.environ)
    prepare_folders(settings)
    up.lock_run_dir(settings)
    if settings.page_dir is not None:
        check_page_dir(settings.page_dir)
    open_socket(settings.host, settings.port).close()  # better now, in the terminal, than in the service's log
    catalog = up.render_programs(settings, keep_broken=False)
    write_users_conf(settings)
    environ = up.make_environ(settings, len(catalog))
    code = up.prepare_admin_code(settings, environ)
    print(f"Plugvisor {VERSION}")
    print(f"  address     {settings.url}")
    if code.is_new:
        # a fragment: browsers never send it to a server, and the page removes it from the address bar at once
        print(f"  page        {settings.url}/#code={code.value}")
    print(f"  admin code  {code.value if code.is_new else 'as you set it'}")
    print(f"  plugins     {len(catalog)} in {settings.plugins_dir}")
    print(f"  logs        {settings.log_dir}")
    for plugin in catalog.values():
        if plugin.problem:
            print(f"cannot use {plugin.id!r}: {plugin.problem}", file=sys.stderr)
    if code.is_weak:
        print(_WEAK_CODE, file=sys.stderr)
    if settings.users is None and os.environ.get("PLUGVISOR_SERVICE_USER"):
        print(_ONE_USER, file=sys.stderr)
    print("Ctrl-C stops all of it.", flush=True)
    command = [sys.executable, "-P", "-m", "plugvisor.engines.supervisord.extension", "-c", str(up.SUPERVISORD_CONF)]
    os.execve(sys.executable, command, environ)


def run_serve(_arguments: argparse.Namespace) -> int:
    """Serve HTTP in this process."""
    _set_up_logging()
    settings = Settings.from_env(os.environ)
    prepare_folders(settings)
    code = _find_admin_code(settings)
    if code.is_weak:
        logging.getLogger(__name__).warning(_WEAK_CODE)
    listener = open_socket(settings.host, settings.port)
    logging.getLogger(__name__).info("listening on %s", settings.url)
    serve(create_app(settings, code), listener)
    return 0


def run_render(_arguments: argparse.Namespace) -> int:
    """Write the program files."""
    settings = Settings.from_env(os.environ)
    prepare_folders(settings)
    return _print_verdicts(list(up.render_programs(settings, keep_broken=True).values()))


def run_check(arguments: argparse.Namespace) -> int:
    """Print what is to be said of each plugin."""
    settings = Settings.from_env(os.environ | ({"PLUGVISOR_PLUGINS_DIR": arguments.dir} if arguments.dir else {}))
    # an author checks manifests where nothing was ever run: the programs are rendered, but never written
    settings = replace(settings, run_dir=Path("/"), log_dir=Path("/"))
    try:
        catalog = load_catalog(settings.plugins_dir, {}, partial(render_program, settings=settings))
    except OSError as error:
        raise ConfigurationError(f"cannot read the folder {str(settings.plugins_dir)!r}: {error.strerror}") from error
    return _print_verdicts(list(catalog.values()))


def run_health(_arguments: argparse.Namespace) -> int:
    """Ask the service, as a container's health check does."""
    settings = Settings.from_env(os.environ)
    try:
        response = httpx.get(f"{settings.url}/available", timeout=HEALTH_TIMEOUT_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        print(f"unhealthy: no answer from {settings.url}: {error}", file=sys.stderr)
        return 1
    if response.status_code != httpx.codes.OK:
        print(f"unhealthy: {settings.url} answers {response.status_code}: {response.text}", file=sys.stderr)
        return 1
    print("healthy")
    return 0


def run_plugin(arguments: argparse.Namespace) -> NoReturn:
    """Become a plugin."""
    settings = Settings.from_env(os.environ)
    if (arguments.plugin_id is None) == (arguments.file is None):
        raise ConfigurationError("cannot run a plugin: name its ID, or its launch file with --file")
    up.execute_plugin(settings, arguments.file or launch_path(settings.run_dir, arguments.plugin_id))


def run_ctl(arguments: argparse.Namespace) -> NoReturn:
    """Become supervisorctl."""
    environ = up.make_ctl_environ(Settings.from_env(os.environ))
    command = [sys.executable, "-P", "-m", "supervisor.supervisorctl", "-c", str(up.SUPERVISORD_CONF)]
    os.execve(sys.executable, [*command, *arguments.arguments], environ)


def _find_admin_code(settings: Settings) -> AdminCode:
    """The code that was set; else the one that `serve` made when it was first started here; else a new one."""
    kept = settings.run_dir / "admin_code"
    code = read_admin_code(os.environ)
    if code is None and kept.exists():
        code = read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(kept)})
    if code is not None:
        return code
    code = make_admin_code()
    keep_admin_code(kept, code)
    # to a person at a terminal, but never to a log
    print(f"admin code: {code.value if sys.stdout.isatty() else f'in the file {kept}'}", flush=True)
    return code


def _print_verdicts(plugins: list[Plugin]) -> int:
    for plugin in plugins:
        where = plugin.name_of_folder or plugin.id
        if plugin.problem:
            print(f"{where}: cannot be used: {plugin.problem}")
        else:
            print(f"{where}: ok, plugin {plugin.id!r}{'' if plugin.enabled else ', disabled'}")
    invalid = sum(bool(plugin.problem) for plugin in plugins)
    print(f"{len(plugins)} plugins, {invalid} invalid")
    return 1 if invalid else 0


def _set_up_logging() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%F %T"
    )
    # uvicorn tells what we tell better, and httpx each call to supervisord
    for name in ("uvicorn", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plugvisor", description="Manages plugins as supervisord programs.")
    parser.add_argument("--version", action="version", version=f"plugvisor {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    every = [variable.name for variable in VARIABLES]
    render = ["PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_RUN_DIR", "PLUGVISOR_LOG_DIR", "PLUGVISOR_RUNNER"]
    render += ["PLUGVISOR_SERVICE_USER", "PLUGVISOR_PLUGIN_USER", "PLUGVISOR_LOG_TO_STDOUT"]

    def add(name: str, run: object, summary: str, text: str, variables: Sequence[str]) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=text,
            epilog=_describe_variables(variables),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    add("up", run_up, "start supervisord, the plugins and the service", _UP, every)
    add("serve", run_serve, "run the service alone", _SERVE, every)
    add("render", run_render, "only write the program files", _RENDER, render)
    check = add(
        "check", run_check, "check the manifests in a folder", _CHECK, ["PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_RUNNER"]
    )
    check.add_argument("dir", nargs="?", help="the folder whose folders are plugins; default: the plugins folder")
    add("health", run_health, "ask whether the service answers", _HEALTH, ["PLUGVISOR_HOST", "PLUGVISOR_PORT"])
    run = add("run", run_plugin, "run one plugin in this terminal", _RUN, ["PLUGVISOR_RUN_DIR"])
    run.add_argument("plugin_id", metavar="ID", nargs="?", help="the plugin's id")
    run.add_argument("--file", type=Path, help="its launch file, instead of the id")
    ctl = add("ctl", run_ctl, "run supervisorctl", _CTL, ["PLUGVISOR_RUN_DIR", "PLUGVISOR_SUPERVISOR_URL"])
    ctl.add_argument("arguments", nargs=argparse.REMAINDER, help="supervisorctl's own, such as: status")
    return parser


def _describe_variables(names: Sequence[str]) -> str:
    lines = [f"  {v.name}\n      {v.meaning} (default: {v.default})" for v in VARIABLES if v.name in names]
    return "\n".join(["environment variables that it reads:", *lines])


_WEAK_CODE = (
    "the admin code is short: it can be guessed in the long run, and wrong codes are throttled for everyone "
    "behind one address; set PLUGVISOR_ADMIN_CODE to 16 characters or more"
)
_ONE_USER = (
    "this is not root, so the service and the plugins run as one user: a plugin can read the admin code and stop "
    "the service; start as root to keep them apart"
)
_UP = """\
Write the program of every plugin, then become supervisord, in the foreground, which starts the plugins
and runs the service as one more program. Ctrl-C or SIGTERM stops all of it."""
_SERVE = """\
Run the HTTP service in this process, against a supervisord that is there already. `plugvisor up` has
supervisord run this; by hand it is for a supervisord of your own, which includes <run_dir>/conf.d/*.conf
(`plugvisor render` writes them). It outlives that supervisord and recovers when it is back."""
_RENDER = """\
Write the supervisord program of every plugin into <run_dir>/conf.d and <run_dir>/launch, and nothing
else. A running supervisord takes them over with `plugvisor ctl update`. Exit status 1 where a manifest
is invalid."""
_CHECK = """\
Say of each plugin whether its manifest can be used, and if not why, with file and line. Exit status 1
where any is invalid."""
_HEALTH = """\
Ask the service whether it is available. Exit status 0 where it is, 1 where it does not answer, or cannot
reach supervisord."""
_RUN = """\
Run one plugin in this terminal, with the directory, the arguments and the environment that supervisord gives it.
supervisord does not know of it. As root, with two users set, it runs as the plugins' user."""
_CTL = """\
Run supervisorctl against the right socket, with the arguments given: status, start, stop, restart,
tail -f, reread, update, help …; without any, its shell opens."""
