"""The parser of the command line."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from plugvisor import VERSION
from plugvisor.cli.verbs.table import GROUPS, VERBS
from plugvisor.cli.verbs.verb import ASKING
from plugvisor.variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plugvisor.cli.verbs.verb import Verb

    Complete = Callable[..., Iterable[str]]

PROGRAM = "plugvisor"
_IDS = ("plugin_id", "plugin_ids", "plugin")
"""The names of arguments that are ids of plugins."""
_ASKING_OPTIONS = tuple(option for option, _ in ASKING)
OTHER_NAMES = {
    "add": "install", "del": "uninstall", "delete": "uninstall", "describe": "status", "info": "status",
    "kill": "stop", "log": "logs", "monit": "top", "ps": "ls", "remove": "uninstall", "rescan": "refresh",
    "restart": "reload", "rm": "uninstall", "scan": "refresh", "show": "status", "tail": "logs", "upgrade": "update",
}  # fmt: skip
"""The names of commands in other process managers."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; `verb` is the verb. Ends the process if it is invalid, or asks for help."""
    for count in (1, 2):
        name = " ".join(argv[:count])
        if verb := next((verb for verb in VERBS if verb.name == name), None):
            # the parsers of all others would take longer than everything else here
            parser = Parser(prog=f"{PROGRAM} {name}", **_describe(verb))
            _fill(parser, verb)
            return parser.parse_all(argv[count:])
    parser = make_parser()
    if not argv:
        parser.print_help(sys.stderr)
        sys.exit(2)
    if argv[0].partition("=")[0] in _ASKING_OPTIONS:
        option = argv[0].partition("=")[0]
        parser.error(f"{option} stands after the command, as in: {PROGRAM} ls {option} …")
    if argv[0].startswith("--") and not any(option.startswith(argv[0]) for option in parser.list_options()):
        parser.reject(argv[:1])  # else it would be the command that is missing
    return parser.parse_all(argv)


def make_parser(complete_ids: Complete | None = None) -> Parser:
    """The parser of all verbs.

    Args:
        complete_ids: completes ids, for `argcomplete`.
    """
    parser = Parser(prog=PROGRAM, description="Manages plugins as programs of supervisord, or as services of a swarm.")
    parser.add_argument("-V", "--version", action="version", version=f"{PROGRAM} {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"": commands}
    for verb in VERBS:
        group, _, name = verb.name.rpartition(" ")
        if group not in groups:
            parent = commands.add_parser(group, help=GROUPS[group], description=f"Commands to {GROUPS[group]}.")
            groups[group] = parent.add_subparsers(required=True, metavar="COMMAND")
        command = groups[group].add_parser(name, help=verb.summary, **_describe(verb))
        _fill(command, verb, complete_ids)
    return parser


class Parser(argparse.ArgumentParser):
    """Suggests what may have been meant."""

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse; ends the process if something is unknown."""
        parsed, unknown = self.parse_known_args(words)
        if unknown:
            self.reject(unknown)
        return parsed

    def reject(self, unknown: Sequence[str]) -> NoReturn:
        """End the process: these words are unknown."""
        option = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
        self.error(f"unrecognized arguments: {' '.join(unknown)}{_suggest(option, self.list_options())}")

    def list_options(self) -> list[str]:
        """The names of the options."""
        return [name for action in self._actions for name in action.option_strings]

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # as an unset variable of a shell is: without it, a date, digest or pattern would limit nothing
        if "" in arg_strings and action.nargs not in (argparse.PARSER, argparse.REMAINDER):
            raise argparse.ArgumentError(action, "it is empty")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        hint = _suggest(str(value), choices)
        if action.metavar == "COMMAND":
            if (other := OTHER_NAMES.get(str(value))) in choices:
                hint = f"; did you mean {other!r}?"
            self._reject_command(str(value), hint)
        hint = hint or f" (choose from {', '.join(map(repr, choices))})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")

    def _reject_command(self, name: str, hint: str) -> NoReturn:
        self.error(f"there is no command {name!r}{hint or f'; `{self.prog} --help` lists them'}")


def _describe(verb: Verb) -> dict[str, Any]:
    return {
        "description": verb.description,
        "epilog": _describe_variables(verb.variables),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def _fill(parser: argparse.ArgumentParser, verb: Verb, complete_ids: Complete | None = None) -> None:
    """Add the arguments of a verb."""
    parser.set_defaults(verb=verb)
    for argument, options in (*verb.arguments, *(ASKING if verb.asks else ())):
        action = parser.add_argument(*argument.split(), **options)  # type: ignore[arg-type]
        if complete_ids is not None and verb.asks and action.dest in _IDS:
            action.completer = complete_ids  # type: ignore[attr-defined] # where argcomplete looks


def _describe_variables(names: Sequence[str]) -> str:
    if not names:
        return ""
    lines = [f"  {v.name}\n      {v.meaning} (default: {v.default})" for v in VARIABLES if v.name in names]
    return "\n".join(["environment variables that it reads:", *lines])


def _suggest(name: str, known: Iterable[str]) -> str:
    from plugvisor.cli.plugins.matching import suggest  # noqa: PLC0415 - only for what is misspelt

    return suggest(name, known)
