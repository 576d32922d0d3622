"""A verb of the command, and what several have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    Argument = tuple[str, dict[str, object]]
    """The names of an argument, separated by blanks, and its options, as `argparse` takes them."""


class Verb(NamedTuple):  # a dataclass would have `inspect` imported, which takes longer than argparse
    """One verb of the command."""

    name: str
    """One word, or two: the first is then that of a group."""
    function: str
    """`module:function` in `cli`."""
    summary: str
    description: str
    variables: Sequence[str] = ()
    """The settings that it reads."""
    arguments: Sequence[Argument] = ()

    @property
    def asks(self) -> bool:
        """Whether it asks the service over HTTP."""
        return self.variables is ASK


ASK = ("PLUGVISOR_URL", "PLUGVISOR_TOKEN", "PLUGVISOR_TOKEN_FILE", "PLUGVISOR_HOST", "PLUGVISOR_PORT",
       "PLUGVISOR_RUN_DIR", "PLUGVISOR_ADMIN_CODE", "PLUGVISOR_ADMIN_CODE_FILE")  # fmt: skip
"""The settings of a verb that asks the service; it has the options `ASKING` too."""
ASKING: Sequence[Argument] = (
    (
        "--url",
        {"metavar": "URL", "help": "the service: http://HOST:PORT, https://HOST or unix:///PATH; default: your own"},
    ),
    (
        "--token",
        {
            "metavar": "TOKEN",
            "help": "the token of an identity, or @FILE with it; others can see a TOKEN in the list of processes",
        },
    ),
)
PATTERN = "an id, or a pattern such as 'web-*'"
FOLLOW = "-f --follow"
JSON: Argument = ("--json", {"action": "store_true", "help": "print JSON"})
JSON_LINES: Argument = ("--json", {"action": "store_true", "help": "print JSON, one object a line"})
