"""The live screen of `plugvisor top`."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from plugvisor.cli.client import NoAnswer
from plugvisor.cli.output import has_color
from plugvisor.cli.streams.changes import STATUS_COLORS
from plugvisor.cli.streams.usage import COLUMNS, SORTS, Reading, read_usage, sort_rows
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from plugvisor.cli.client import Client

REFRESH_SECONDS = 2.0
"""How often the service takes a sample."""
_RESIZE_SECONDS = 0.25
"""How soon the screen fits a terminal whose size has changed."""
_OTHER_LINES = 4
"""Those of the screen that hold no plugin: the summary, the heading, how many are left out, the keys."""
_KEYS = {name[0]: name for name in SORTS}


class Screen:
    """What is shown."""

    def __init__(self, reading: Reading, sort: str) -> None:
        self.reading = reading
        self.sort = sort
        self.problem = ""
        """Why the last reading is not newer; empty if it is."""

    def render(self, height: int) -> Group:
        """The screen for a terminal of that many lines."""
        rows = sort_rows(self.reading.rows, self.sort)
        room = max(1, height - _OTHER_LINES)
        table = Table(box=None, expand=True, pad_edge=False, header_style="bold reverse")
        for name in COLUMNS:
            is_text = name in ("ID", "STATUS")
            table.add_column(name, justify="left" if is_text else "right", no_wrap=True, overflow="ellipsis")
        for row in rows[:room]:
            cells = [Text(cell) for cell in row.show()]
            cells[1].stylize(STATUS_COLORS.get(row.status["status"], ""))
            table.add_row(*cells, style="dim" if self.problem else "")
        left_out = len(rows) - room
        more = Text(f"… {left_out} more; a higher terminal shows them" if left_out > 0 else "", style="dim")
        keys = Text("q quit", style="dim")
        for key, name in _KEYS.items():
            keys.append(f"  {key} by {name}", style="bold" if name == self.sort else "")
        head = Text(self.problem, style="red") if self.problem else Text(self.reading.summary)
        for line in (head, more, keys):
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(head, table, more, keys)


def show_live(client: Client, reading: Reading, choose: Callable[[Sequence[str]], Sequence[str]], sort: str) -> int:
    """Show what plugins use until q or Ctrl-C; then the terminal is as it was."""
    screen = Screen(reading, sort)
    console = Console(no_color=not has_color(sys.stdout), highlight=False, markup=False, emoji=False)
    with (
        _ending_by_signal(),
        _reading_keys(),
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        while True:
            if not _show_until(time.monotonic() + REFRESH_SECONDS, screen, live):
                return 0
            try:
                screen.reading = read_usage(client, choose, sort)
                screen.problem = ""
            except NoAnswer as error:
                screen.problem = f"{error}; trying again"
            except CommandRejected as error:
                if error.retry_after is None:
                    raise
                screen.problem = f"{error}; trying again"


def _show_until(deadline: float, screen: Screen, live: Live) -> bool:
    """Show the screen until it is time for another reading; returns False if that is not wanted any more."""
    shown: object = None
    while (seconds := deadline - time.monotonic()) > 0:
        wanted = (os.get_terminal_size(sys.stdout.fileno()), screen.sort)
        if wanted != shown:
            live.update(screen.render(wanted[0].lines), refresh=True)
            shown = wanted
        if select.select([sys.stdin], [], [], min(seconds, _RESIZE_SECONDS))[0]:
            keys = os.read(sys.stdin.fileno(), 64).decode("ascii", "ignore").lower()
            if not keys or "q" in keys:  # nothing: the terminal is gone
                return False
            for key in keys:
                screen.sort = _KEYS.get(key, screen.sort)
    return True


@contextmanager
def _reading_keys() -> Iterator[None]:
    """Have each key at once, and show none."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Have SIGTERM and SIGHUP leave the block as an exception, which restores the terminal."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
