"""The output of the commands."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from rich.console import Console

_COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35",
           "cyan": "36"}  # fmt: skip


def has_color(stream: TextIO | None) -> bool:
    """Whether to write colour: to a terminal, unless `NO_COLOR` or `TERM=dumb` says no; `FORCE_COLOR` says yes."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, color: str) -> str:
    """Text in a colour, such as `red`, `bold` or `bold red`; as it is if the colour is empty."""
    codes = ";".join(_COLORS[word] for word in color.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def make_printable(text: str, encoding: str = "") -> str:
    """Escape what could control a terminal, or what it cannot show: text of plugins and clients can contain anything.

    Args:
        encoding: of the terminal; default: that of standard output.
    """
    if text.isascii() and text.isprintable():
        return text
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def measure_width(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese character takes two, a combining one none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - most output is ASCII

    widths = {"W": 2, "F": 2}
    return sum(0 if category(one) in ("Mn", "Me", "Cf") else widths.get(east_asian_width(one), 1) for one in text)


def format_table(rows: Sequence[tuple[str, ...]], color: Callable[[int, int], str] | None = None) -> str:
    """Rows as lines, in columns; what could control a terminal is escaped.

    Args:
        color: of a cell, by its row and column, as `paint` takes it; default: none.
    """
    rows = [tuple(map(make_printable, row)) for row in rows]
    widths = [max(map(measure_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            shown = paint(cell, color(number, column)) if color is not None else cell
            cells.append(shown + " " * (width - measure_width(cell)))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def show_size(size_bytes: int) -> str:
    """A size for a person: `1.2 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size, units = size_bytes / 1000, ["kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.1f} {units[0]}"


def show_duration(seconds: int) -> str:
    """A duration in its two largest units: `3d4h`."""
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def can_redraw() -> bool:
    """Whether standard output is a terminal on which what was printed can be replaced."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def make_console() -> Console:
    """The terminal, for what is redrawn; nothing in a text means anything to it but its colours."""
    from rich.console import Console  # noqa: PLC0415 - it takes as long as most commands

    return Console(no_color=not has_color(sys.stdout), highlight=False, markup=False, emoji=False)


def print_error(sentence: str) -> None:
    """Print on standard error why something was not done."""
    word = paint("plugvisor:", "red" if has_color(sys.stderr) else "")
    print(f"{word} {sentence}", file=sys.stderr, flush=True)


def print_notice(sentence: str) -> None:
    """Print on standard error what a person should know."""
    print(f"plugvisor: {sentence}", file=sys.stderr, flush=True)
