"""The output of the commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_printable(text: str, encoding: str = "") -> str:
    """Escape what could control a terminal, or what it cannot show: text of plugins and clients can contain anything.

    Args:
        encoding: of the terminal; default: that of standard output.
    """
    encoding = encoding or sys.stdout.encoding or "utf-8"
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def format_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as lines, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def show_size(size_bytes: int) -> str:
    """A size for a person: `1.2 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size, units = size_bytes / 1000, ["kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.1f} {units[0]}"
