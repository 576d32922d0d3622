"""A verb of the command, and what several have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Argument = tuple[str, dict[str, object]]
    """The names of an argument, separated by blanks, and its options, as `argparse` takes them."""


@dataclass(frozen=True)
class Verb:
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


ASK = ("PLUGVISOR_HOST", "PLUGVISOR_PORT", "PLUGVISOR_TOKEN", "PLUGVISOR_ADMIN_CODE", "PLUGVISOR_ADMIN_CODE_FILE",
       "PLUGVISOR_RUN_DIR")  # fmt: skip
JSON: Argument = ("--json", {"action": "store_true", "help": "print JSON"})
