"""Takes the pictures of the command in docs/images: `scripts/screenshots command` takes them alone."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.helpers.terminal import open_terminal
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack
    from tests.helpers.terminal import Terminal

COLUMNS = 100
_TOKEN = re.compile(
    r"\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])|\x1b.|(?P<character>[\x00-\x1a\x1c-\U0010ffff])", re.DOTALL
)
# an image in a document may not load a font
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n?", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "DejaVu Sans Mono"
)


class Screen:
    """What a terminal shows: as much of one as the command and rich need."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, tuple[str, str]]] = {}
        self._row = self._column = 0
        self._style = ""

    def write(self, output: str) -> None:
        """Take what a command has written."""
        for token in _TOKEN.finditer(output):
            if token["final"]:
                self._control(token["final"], token["parameters"])
            elif token["character"] == "\n":
                self._row += 1
            elif token["character"] == "\r":
                self._column = 0
            elif token["character"]:
                self._put(token["character"])

    def show(self) -> str:
        """Its lines, with their colours."""
        return "\n".join(map(self._show_row, range(max(self._rows, default=-1) + 1))).rstrip()

    def _put(self, character: str) -> None:
        width = cell_len(character)
        if self._column + width > COLUMNS:
            self._row, self._column = self._row + 1, 0
        row = self._rows.setdefault(self._row, {})
        row[self._column] = character, self._style
        if width == 2:
            row[self._column + 1] = "", self._style
        self._column += width

    def _control(self, final: str, parameters: str) -> None:
        count = int(parameters) if parameters.isdigit() else 0
        match final:
            case "m":
                self._style = f"{self._style}\x1b[{parameters}m" if parameters.strip("0") else ""
            case "H":
                self._row = self._column = 0
            case "A":
                self._row = max(0, self._row - max(1, count))
            case "B":
                self._row += max(1, count)
            case "K":
                row = self._rows.get(self._row, {})
                self._rows[self._row] = {} if count == 2 else {at: row[at] for at in row if at < self._column}
            case "J":
                self._rows = {number: row for number, row in self._rows.items() if number < self._row and count != 2}

    def _show_row(self, number: int) -> str:
        row = self._rows.get(number, {})
        row = {column: cell for column, cell in row.items() if any(row[at] != (" ", "") for at in row if at >= column)}
        shown, style = [], ""
        for column in range(max(row, default=-1) + 1):
            character, wanted = row.get(column, (" ", ""))
            if wanted != style:
                shown.append(f"\x1b[0m{wanted}")
                style = wanted
            shown.append(character)
        return "".join([*shown, "\x1b[0m"]) if shown else ""


def save(path: Path, title: str, text: str) -> None:
    """Write a picture of text with colours."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title=title, theme=MONOKAI, code_format=_FORMAT, unique_id=path.stem)
    path.write_text(svg.rstrip() + "\n", encoding="utf-8")


def take(
    plugvisor: PlugvisorStack,
    path: Path,
    *arguments: str,
    until: Callable[[Terminal], object] | None = None,
    lines: int = 24,
    shows: str = "",
) -> None:
    """Run `plugvisor …` on a terminal and write a picture of it.

    Args:
        until: when it is taken of a command that does not end.
        shows: what must be in it; a busy machine may make another picture.
    """
    with open_terminal(plugvisor, *arguments, lines=lines, columns=COLUMNS) as terminal:
        if until is None:
            terminal.wait()
        else:
            wait_for(lambda: until(terminal), f"the picture of {arguments}", 120)
        output = terminal.output
    if shows not in output:
        raise RuntimeError(f"the picture of {arguments} does not show {shows!r}: take it again on a quiet machine")
    screen = Screen()
    if until is None or "\x1b[?1049h" not in output:
        screen.write(f"\x1b[32m$\x1b[0m plugvisor {' '.join(arguments)}\r\n")
    else:
        output = output[: output.rindex("\x1b[H")]  # the picture after that is perhaps not complete
    screen.write(output)
    save(path, "plugvisor", screen.show())


def take_all(plugvisor: PlugvisorStack, folder: Path) -> None:
    """Take every picture."""
    logs = ("logs", "-f", "-n", "2", "catalog", "danmaku", "mailer")
    take(plugvisor, folder / "command-logs.svg", *logs, until=lambda terminal: terminal.text.count("\n") >= 16)
    take(plugvisor, folder / "command-start.svg", "start", "failing", shows="cannot start")
    plugvisor.wait_for_state("failing", "FATAL")
    take(plugvisor, folder / "command-ls.svg", "ls")
    take(
        plugvisor,
        folder / "command-top.svg",
        "top",
        lines=12,
        until=lambda terminal: terminal.output.count("\x1b[H") >= 6,
    )
