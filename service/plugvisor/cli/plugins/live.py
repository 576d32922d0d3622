"""`plugvisor ls --watch` on a terminal: what it shows is kept current."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.text import Text

from plugvisor.cli.output import make_console, make_printable
from plugvisor.cli.plugins.matching import make_filter
from plugvisor.cli.plugins.reading import read_usage
from plugvisor.cli.plugins.states import PluginStates
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.cli.streams.selection import choose_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.cli.client import Client

    Show = Callable[[Sequence[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]], str]

REFRESH_SECONDS = 1.0
"""As often as an uptime changes; an event is shown at once."""
USAGE_SECONDS = 2.0


class Feed:
    """Follows the events in a thread, from `with` to its end."""

    def __init__(self, client: Client) -> None:
        self.states = PluginStates()
        self.changed = threading.Event()
        """Set when there is something new."""
        self.failure: Exception | None = None
        """Why it has ended: the service does not admit this client, or is none."""
        # opened here: what keeps it from the beginning is raised at once
        self._stream = FollowedStream(client, "/events", say=self._report, says_end=True)
        self._said = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()

    @property
    def problem(self) -> str:
        """Why the plugins may not be as they are shown; empty if they are."""
        return self._said or self.states.problem

    def wait(self, seconds: float) -> None:
        """Wait for something new; raises what has ended it."""
        self.changed.wait(seconds)
        self.changed.clear()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            for event in self._stream:
                self.states.apply(event.name, event.data)
                self.changed.set()
        except Exception as error:  # noqa: BLE001 - the thread that shows the plugins raises it
            self.failure = error
            self.changed.set()

    def _report(self, words: str) -> None:
        self._said = words
        self.changed.set()


def watch_on_terminal(client: Client, patterns: Sequence[str], show: Show) -> int:
    """Show plugins until Ctrl-C; the last picture stays."""
    if patterns:
        choose_plugins(client, patterns)  # says which are unknown
    is_wanted = make_filter(patterns)
    usage: Mapping[str, Mapping[str, Any]] | None = {}
    next_usage_at = 0.0
    console = make_console()
    with (
        Feed(client) as feed,
        Live(console=console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False) as live,
    ):
        feed.wait(REFRESH_SECONDS)
        while True:
            problem = feed.problem
            plugins = [plugin for plugin in feed.states.read() if is_wanted(plugin["id"])]
            live.update(_draw(show(plugins, usage or {}), problem, console.size.height), refresh=True)
            if not problem and usage is not None and time.monotonic() >= next_usage_at:
                # after the plugins are shown: the first sample after a pause takes the service a moment
                usage = read_usage(client)
                next_usage_at = time.monotonic() + USAGE_SECONDS
            else:
                feed.wait(REFRESH_SECONDS)


def _draw(picture: str, problem: str, height: int) -> Text:
    """The lines that fit on the terminal, below the problem, if there is one."""
    lines = picture.splitlines()
    room = max(1, height - 2)
    if len(lines) > room:
        lines[room - 1 :] = [f"… {len(lines) - room + 1} more lines; a higher terminal shows them"]
    text = Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")
    if problem:
        text = Text.assemble((f"{make_printable(problem)}\n", "red"), text, no_wrap=True, overflow="ellipsis")
    return text
