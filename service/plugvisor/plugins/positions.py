"""Finds the line of a key in a TOML text: tomllib reports positions of syntax errors only."""

from __future__ import annotations

import re
import tomllib


def find_line(text: str, table: str, key: str | None) -> int | None:
    """The line of `key` in `[table]`, or of the table's first appearance; None if the file has neither.

    tomllib keeps no positions, so the keys are read again here, out of a text that is known to be valid.
    """
    wanted = table.split(".")
    table_line = None
    line = 1
    here: list[str] = []  # what the keys belong to: the header's table, or the inline table's
    name: list[str] = []  # the parts read so far of a key or a header
    in_value = in_header = False
    around: list[tuple[str, list[str], list[str]]] = []  # each open bracket of a value, with the two before it
    for match in _TOKEN.finditer(text):
        symbol = match[0]
        if symbol == "=" or (in_header and symbol == "]"):
            path = name if in_header else here + name
            if key is not None and path == [*wanted, key] and not in_header:
                return line
            if path == wanted or (table_line is None and path[: len(wanted)] == wanted):
                table_line = line
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
            in_header = True
        elif not in_value and symbol[0] not in "].,\n#":
            # tomllib knows what is escaped in a quoted key
            name += tomllib.loads(f"{symbol} = 0") if symbol[0] in "\"'" else [symbol]
        line += symbol.count("\n")
    return table_line


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
