"""The command `plugvisor`: its verbs, each in the module of its group, which is imported when it is called."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor import VERSION
from plugvisor.errors import ConfigurationError
from plugvisor.settings import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Verb:
    """One verb of the command."""

    name: str
    function: str
    """`module:function` in this package."""
    summary: str
    description: str
    variables: Sequence[str] = ()
    """The settings that it reads."""
    arguments: Sequence[tuple[str, dict[str, object]]] = ()


_EVERY = tuple(variable.name for variable in VARIABLES)
_RENDER = (
    "PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_RUN_DIR", "PLUGVISOR_LOG_DIR", "PLUGVISOR_RUNNER", "PLUGVISOR_SERVICE_USER",
    "PLUGVISOR_PLUGIN_USER", "PLUGVISOR_LOG_TO_STDOUT",
)  # fmt: skip

VERBS = (
    Verb(
        "up",
        "supervised:run_up",
        "start supervisord, the plugins and the service",
        """\
Write the program of every plugin, then become supervisord, in the foreground, which starts the plugins
and runs the service as one more program. Ctrl-C or SIGTERM stops all of it.""",
        _EVERY,
    ),
    Verb(
        "serve",
        "service:run_serve",
        "run the service alone",
        """\
Run the HTTP service in this process, against a supervisord that is there already. `plugvisor up` has
supervisord run this; by hand it is for a supervisord of your own that has Plugvisor's extension and includes
<run_dir>/conf.d/*.conf (`plugvisor render` writes them). It recovers when that supervisord is restarted.""",
        _EVERY,
    ),
    Verb(
        "render",
        "manifests:run_render",
        "only write the program files",
        """\
Write the supervisord program of every plugin into <run_dir>/conf.d and <run_dir>/launch, and nothing
else. A running supervisord takes them over with `plugvisor ctl update`. Exit status 1 if a manifest
is invalid.""",
        _RENDER,
    ),
    Verb(
        "check",
        "manifests:run_check",
        "check the manifests in a folder",
        """\
Say of each plugin whether its manifest is valid, and if not why, with file and line. Exit status 1
if any is invalid.""",
        ("PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_RUNNER"),
        [("dir", {"nargs": "?", "help": "the folder whose folders are plugins; default: the plugins folder"})],
    ),
    Verb(
        "health",
        "health:run_health",
        "ask whether the service answers",
        """\
Ask the service whether it is available. Exit status 0 if it is, 1 if it does not answer, or cannot
reach supervisord.""",
        ("PLUGVISOR_HOST", "PLUGVISOR_PORT"),
    ),
    Verb(
        "run",
        "supervised:run_plugin",
        "run one plugin in this terminal",
        """\
Run one plugin in this terminal, with the directory, the arguments and the environment that supervisord
gives it. supervisord does not know of it. As root, if two users are set, it runs as the plugins' user.""",
        ("PLUGVISOR_RUN_DIR", "PLUGVISOR_SERVICE_USER", "PLUGVISOR_PLUGIN_USER"),
        [
            ("plugin_id", {"metavar": "ID", "nargs": "?", "help": "the plugin's id"}),
            ("--file", {"type": Path, "help": "its launch file, instead of the id"}),
        ],
    ),
    Verb(
        "ctl",
        "supervised:run_ctl",
        "run supervisorctl",
        """\
Run supervisorctl against the right socket, with the arguments given: status, start, stop, restart,
tail -f, reread, update, help …; without any, its shell opens.""",
        ("PLUGVISOR_RUN_DIR", "PLUGVISOR_SUPERVISOR_URL"),
        [("arguments", {"nargs": argparse.REMAINDER, "help": "supervisorctl's own, such as: status"})],
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit status 2 is an unusable configuration, which stderr explains."""
    arguments = make_parser().parse_args(argv)
    module, _, function = arguments.verb.function.partition(":")
    try:
        status: int = getattr(import_module(f"plugvisor.cli.{module}"), function)(arguments)
    except ConfigurationError as error:
        print(f"plugvisor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as a shell has it; uvicorn raises the signal again after its clean end
    return status


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="plugvisor", description="Manages plugins as supervisord programs.")
    parser.add_argument("--version", action="version", version=f"plugvisor {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in VERBS:
        command = commands.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.description,
            epilog=_describe_variables(verb.variables),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(verb=verb)
        for name, options in verb.arguments:
            command.add_argument(name, **options)  # type: ignore[arg-type]
    return parser


def _describe_variables(names: Sequence[str]) -> str:
    lines = [f"  {v.name}\n      {v.meaning} (default: {v.default})" for v in VARIABLES if v.name in names]
    return "\n".join(["environment variables that it reads:", *lines])
