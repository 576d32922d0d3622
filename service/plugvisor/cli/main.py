"""The command `plugvisor`: each verb's function is in the module of its group, which is imported when it is called."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from plugvisor import VERSION
from plugvisor.cli.verbs import authors, images, packages, plugins, processes, streams
from plugvisor.cli.verbs.verb import ASKING
from plugvisor.errors import CommandRejected, ConfigurationError
from plugvisor.variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = (
    *processes.VERBS,
    *plugins.VERBS,
    *streams.VERBS,
    *packages.VERBS,
    *authors.VERBS,
    *images.VERBS,
)
GROUPS = {
    "identity": "add, list, remove and rotate identities",
    "config": "print, replace and edit the manifests of plugins",
    "image": "build images that hold plugins",
}
"""The first words of verbs that have two."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit status 2 is an unusable configuration, and 1 often a rejection, which stderr explains."""
    arguments = make_parser().parse_args(argv)
    module, _, function = arguments.verb.function.partition(":")
    try:
        if arguments.verb.asks:
            _set_connection(arguments)
        status: int = getattr(import_module(f"plugvisor.cli.{module}"), function)(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except ConfigurationError as error:
        print(f"plugvisor: {error}", file=sys.stderr)
        return 2
    except CommandRejected as error:
        print(f"plugvisor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as a shell has it; uvicorn raises the signal again after its clean end
    except BrokenPipeError:
        # as `head` ends what it reads from; Python would write again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _set_connection(arguments: argparse.Namespace) -> None:
    """Let the options that say whom to ask, and with which token, take the place of the variables."""
    if arguments.url == "" or arguments.token in ("", "@"):  # as from an unset variable
        raise ConfigurationError("cannot use --url or --token: it is empty")
    if arguments.url is not None:
        os.environ["PLUGVISOR_URL"] = arguments.url
    if arguments.token is not None:
        is_file = arguments.token.startswith("@")
        os.environ.pop("PLUGVISOR_TOKEN", None)
        os.environ["PLUGVISOR_TOKEN_FILE" if is_file else "PLUGVISOR_TOKEN"] = arguments.token.removeprefix("@")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="plugvisor", description="Manages plugins as programs of supervisord, or as services of a swarm."
    )
    parser.add_argument("-V", "--version", action="version", version=f"plugvisor {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"": commands}
    for verb in VERBS:
        group, _, name = verb.name.rpartition(" ")
        if group not in groups:
            parent = commands.add_parser(group, help=GROUPS[group], description=f"Commands to {GROUPS[group]}.")
            groups[group] = parent.add_subparsers(required=True, metavar="COMMAND")
        command = groups[group].add_parser(
            name,
            help=verb.summary,
            description=verb.description,
            epilog=_describe_variables(verb.variables),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(verb=verb)
        for argument, options in (*verb.arguments, *(ASKING if verb.asks else ())):
            command.add_argument(*argument.split(), **options)  # type: ignore[arg-type]
    return parser


def _describe_variables(names: Sequence[str]) -> str:
    if not names:
        return ""
    lines = [f"  {v.name}\n      {v.meaning} (default: {v.default})" for v in VARIABLES if v.name in names]
    return "\n".join(["environment variables that it reads:", *lines])
