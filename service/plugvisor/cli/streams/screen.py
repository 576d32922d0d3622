"""The live screen of `plugvisor top`."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from plugvisor.cli.client import NoAnswer
from plugvisor.cli.output import make_console
from plugvisor.cli.plugins.words import STATUS_COLORS
from plugvisor.cli.streams.usage import COLUMNS, SORTS, Reading, read_plugins, read_usage, sort_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from plugvisor.cli.client import Client

REFRESH_SECONDS = 2.0
"""How often the service takes a sample."""
_LOOK_SECONDS = 0.25
"""How soon the screen shows another reading, and fits a terminal whose size has changed."""
_FIRST_LOOK_SECONDS = 0.05
"""How soon it shows the first one."""
_OTHER_LINES = 4
"""Those of the screen that hold no plugin: the summary, the heading, how many are left out, the keys."""
_KEYS = {name[0]: name for name in SORTS}


class Screen:
    """The screen's contents."""

    def __init__(self, reading: Reading, sort: str) -> None:
        self.reading = reading
        self.sort = sort
        self.problem = ""
        """Why the last reading is not newer; empty if it is."""
        self.failure: Exception | None = None
        """Why there is no other reading to come."""

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


def show_live(client: Client, choose: Callable[[Sequence[str]], Sequence[str]], sort: str) -> int:
    """Show what plugins use until q or Ctrl-C; then the terminal is as it was.

    The plugins are shown at once; the first sample of what they use takes the service a moment.
    """
    screen = Screen(read_plugins(client, choose, sort), sort)
    console = make_console()
    # a daemon: a service that does not answer keeps neither the keys waiting nor the end
    threading.Thread(target=_read_repeatedly, args=(client, choose, screen), daemon=True).start()
    with (
        _ending_by_signal(),
        _reading_keys(),
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        shown: object = None
        while screen.failure is None:
            size = os.get_terminal_size(sys.stdout.fileno())
            wanted = (size, screen.sort, screen.problem, screen.reading)
            if wanted != shown:
                live.update(screen.render(size.lines), refresh=True)
                shown = wanted
            look_seconds = _FIRST_LOOK_SECONDS if screen.reading.answer is None else _LOOK_SECONDS
            if select.select([sys.stdin], [], [], look_seconds)[0]:
                keys = os.read(sys.stdin.fileno(), 64).decode("ascii", "ignore").lower()
                if not keys or "q" in keys:  # nothing: the terminal is gone
                    return 0
                for key in keys:
                    screen.sort = _KEYS.get(key, screen.sort)
    raise screen.failure


def _read_repeatedly(client: Client, choose: Callable[[Sequence[str]], Sequence[str]], screen: Screen) -> None:
    """Keep the reading of a screen new; ends when there can be no other."""
    while screen.failure is None:
        try:
            screen.reading = read_usage(client, choose, screen.sort)
            screen.problem = ""
        except Exception as error:  # noqa: BLE001 - the thread that shows the screen raises it
            if isinstance(error, NoAnswer) or getattr(error, "retry_after", None) is not None:
                screen.problem = f"{error}; trying again"
            else:
                screen.failure = error
        time.sleep(REFRESH_SECONDS)


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
