"""Follows several logs at once: a thread reads each, and the caller's prints what they read."""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.cli.connection.paths import quote_part
from plugvisor.cli.output import print_error, print_notice
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.cli.streams.log_lines import LineFormat, merge, with_moments
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.cli.client import Client

MOST_BEGUN_LINES = 10_000
"""The most that the service sends at the beginning of a stream, if it is at most a megabyte."""
_QUEUED = 64
"""Batches that can wait to be printed; a reader that cannot queue one waits, and the lines stay in the file."""

Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Filter:
    """Which lines to print."""

    lines: int
    """Of those that are there already, the newest."""
    level: str = ""
    search: str = ""
    since: str = ""
    """ISO 8601: which of those that are there already are new enough."""

    @property
    def lines_to_read(self) -> int:
        """How many have to be read to find as many."""
        is_selective = self.level or self.search or self.since
        return MOST_BEGUN_LINES if is_selective and self.lines else max(1, self.lines)

    def find_newest(self, entries: Entries) -> Entries:
        """The existing lines to print."""
        if self.since:
            start = datetime.fromisoformat(self.since).timestamp()
            entries = [dict(entry) for entry, moment in with_moments(entries) if moment >= start]
        return self.find(entries)[-self.lines :] if self.lines else []

    def find(self, entries: Entries) -> Entries:
        """The new lines to print."""
        return [entry for entry in entries if self._fits(entry)]

    def _fits(self, entry: dict[str, Any]) -> bool:
        if self.level and entry["level"] != self.level:
            return False
        if not self.search:
            return True
        text = " ".join(str(entry[name]) for name in ("timestamp", "level", "file", "line", "message") if entry[name])
        return self.search.lower() in text.lower()


class _Begun(NamedTuple):
    """The lines that were there already."""

    plugin_id: str
    entries: Entries


class _New(NamedTuple):
    """Lines that were added."""

    plugin_id: str
    entries: Entries


class _Notice(NamedTuple):
    """A sentence for the person; when the service restarts, the same from each log."""

    words: str


class _Ended(NamedTuple):
    """A log cannot be followed any more, or not at all."""

    plugin_id: str
    error: Exception


_Message = _Begun | _New | _Notice | _Ended


def follow_logs(client: Client, plugin_ids: Sequence[str], wanted: Filter, lines: LineFormat) -> int:
    """Print the newest lines of each log, by time, then each new line as it comes; returns when none is left.

    Raises:
        CommandRejected, NoAnswer: a log cannot be followed at the beginning, or the last one no longer.
    """
    messages: queue.Queue[_Message] = queue.Queue(_QUEUED)
    for plugin_id in plugin_ids:
        reader = _Reader(client, plugin_id, wanted, messages)
        # daemons: they wait for the service, which nothing but the end of the process interrupts
        threading.Thread(target=reader.run, name=f"log {plugin_id}", daemon=True).start()
    notices = _Notices()
    pending = _print_begun(messages, plugin_ids, lines, notices)
    left = set(plugin_ids)
    while True:
        match pending.popleft() if pending else messages.get():
            case _Begun(plugin_id, entries) | _New(plugin_id, entries):
                for entry in entries:
                    print(lines.show(plugin_id, entry))
                sys.stdout.flush()
                notices.forget()
            case _Notice(words):
                notices.print(words)
            case _Ended(plugin_id, error):
                left.discard(plugin_id)
                if not left or not isinstance(error, CommandRejected):
                    raise error
                print_error(str(error))


class _Notices:
    """Prints notices, the same one once until lines come."""

    def __init__(self) -> None:
        self._last = ""

    def print(self, words: str) -> None:
        """Print a notice, unless it is the last one again."""
        if words != self._last:
            print_notice(words or "connected again")
            self._last = words

    def forget(self) -> None:
        """Have the next notice printed, whatever the last one was."""
        self._last = ""


def _print_begun(
    messages: queue.Queue[_Message], plugin_ids: Sequence[str], lines: LineFormat, notices: _Notices
) -> deque[_Message]:
    """Print the existing lines of all plugins, once they have arrived; returns the newer messages that came before."""
    begun: dict[str, Entries] = {}
    meanwhile: deque[_Message] = deque()
    while len(begun) < len(plugin_ids):
        match messages.get():
            case _Begun(plugin_id, entries):
                begun[plugin_id] = entries
            case _Notice(words):
                notices.print(words)
            case _Ended(plugin_id, error) if plugin_id not in begun:
                raise error
            case message:
                meanwhile.append(message)
    for plugin_id, entry in merge({plugin_id: begun[plugin_id] for plugin_id in plugin_ids}):
        print(lines.show(plugin_id, entry))
    sys.stdout.flush()
    return meanwhile


class _Reader:
    """Follows one log and queues what it reads."""

    def __init__(self, client: Client, plugin_id: str, wanted: Filter, messages: queue.Queue[_Message]) -> None:
        self._client = client
        self._plugin_id = plugin_id
        self._wanted = wanted
        self._messages = messages

    def run(self) -> None:
        """Follow the log until it cannot be followed any more."""
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - the thread that prints raises it
            self._messages.put(_Ended(self._plugin_id, error))

    def _follow(self) -> None:
        path = f"/plugin/{quote_part(self._plugin_id)}/logs/stream?lines="
        stream = FollowedStream(
            self._client,
            f"{path}{self._wanted.lines_to_read}",
            f"{path}{MOST_BEGUN_LINES}",  # what it begins again with was added meanwhile
            self._say,
        )
        has_begun = False
        last_id = ""
        for event in stream:
            if event.name == "append":
                self._put(event.data["logs"])
            elif event.name == "initial" and not has_begun:
                self._messages.put(_Begun(self._plugin_id, self._wanted.find_newest(event.data["logs"])))
                has_begun = True
            elif event.name == "initial":
                if last_id:  # else there was no log until now, of which a line could be missing
                    self._say(
                        f"lines of {self._plugin_id!r} may be missing here: its log has grown too fast, or was removed"
                    )
                self._put(event.data["logs"])
            last_id = stream.last_id

    def _put(self, entries: Entries) -> None:
        if found := self._wanted.find(entries):
            self._messages.put(_New(self._plugin_id, found))

    def _say(self, words: str) -> None:
        self._messages.put(_Notice(words))
