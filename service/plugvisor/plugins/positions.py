"""Finds the position of a key in a TOML text: tomllib reports positions of syntax errors only."""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple


class Position(NamedTuple):
    """A character of a text, counted from 1."""

    line: int
    column: int


def find_line(text: str, table: str) -> int | None:
    """The line on which a table, or a key by its whole path, appears first; None if it does not."""
    position = find_position(text, table, None)
    return position.line if position is not None else None


def find_position(text: str, table: str, key: str | None) -> Position | None:
    """Where `key` in `[table]` begins, or else the table's first appearance; None if the file has neither.

    tomllib keeps no positions, so the keys are read again here, out of a text that is known to be valid.
    """
    wanted = table.split(".")
    table_at = None
    begin = 0  # of the key or header that is being read
    here: list[str] = []  # what the keys belong to: the header's table, or the inline table's
    name: list[str] = []  # the parts read so far of a key or a header
    in_value = in_header = False
    around: list[tuple[str, list[str], list[str]]] = []  # each open bracket of a value, with the two before it
    for match in _TOKEN.finditer(text):
        symbol = match[0]
        if symbol == "=" or (in_header and symbol == "]"):
            path = name if in_header else here + name
            if key is not None and path == [*wanted, key] and not in_header:
                return locate(text, begin)
            if path == wanted or (table_at is None and path[: len(wanted)] == wanted):
                table_at = begin
            here, name, in_value, in_header = (path, [], False, False) if in_header else (here, path, True, False)
        elif in_value and symbol in ("[", "{"):
            around.append((symbol, here, name))
            if symbol == "{":
                here, name, in_value = name, [], False
        elif around and symbol in ("]", "}"):
            _, here, name = around.pop()
            in_value = True
        elif symbol == ("\n" if not around else "," if around[-1][0] == "{" else None):
            name, in_value = [], False  # the next key
        elif symbol == "[":
            begin, in_header = (begin if in_header else match.start()), True
        elif not in_value and symbol[0] not in "].,\n#":
            if not name and not in_header:
                begin = match.start()
            # tomllib knows what is escaped in a quoted key
            name += tomllib.loads(f"{symbol} = 0") if symbol[0] in "\"'" else [symbol]
    return locate(text, table_at) if table_at is not None else None


def locate(text: str, index: int) -> Position:
    """The position of a character of a text."""
    return Position(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


_TOKEN = re.compile(
    r"""
    \"{3} (?: \\. | [^\\] )*? \"{3,5} | '{3} .*? '{3,5}      # multi-line strings, which may end in quotes of their own
    | " (?: \\. | [^"\\] )*+ " | '[^']*+'                   # strings and quoted keys
    | \#[^\n]*+                                              # comments
    | [][{}=,.\n]
    | [^][{}=,.\s"'\#]++                                     # bare keys, numbers and the like
    """,
    re.DOTALL | re.VERBOSE,
)
