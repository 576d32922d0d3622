"""Follows a stream of server-sent events across restarts of the service."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.cli.client import NoAnswer
from plugvisor.cli.output import print_notice
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugvisor.cli.client import Client, EventStream
    from plugvisor.cli.connection.events import ServerEvent

RETRY_SECONDS = 1.0


class FollowedStream:
    """A stream that is resumed whenever it breaks. It is open when this returns; raises as `Client.stream` does.

    Args:
        resume_path: what to open when it has broken; default: the same.
        say: is called with the reason if it cannot be resumed yet, and with an empty text once it is; from the thread
            that iterates. A service that is back at once is not mentioned.
        says_end: mention it at once that it has ended, as it does when the service restarts: what was received may not
            be current until it is resumed.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        resume_path: str = "",
        say: Callable[[str], object] = lambda words: print_notice(words or "connected again"),
        *,
        says_end: bool = False,
    ) -> None:
        self._client = client
        self._path = resume_path or path
        self._say = say
        self._says_end = says_end
        self._is_closed = False
        self._stream = client.stream(path)

    @property
    def last_id(self) -> str:
        """The id of the last event, from which it is resumed; empty if none has had one."""
        return self._stream.last_id

    def __iter__(self) -> Iterator[ServerEvent]:
        """Each event, until it is closed.

        Raises:
            CommandRejected: the service does not admit this client any more, or what it follows is gone.
        """
        while True:
            with suppress(NoAnswer):  # how it breaks says little: that it cannot be resumed is the news
                yield from self._stream
            if self._is_closed or (stream := self._resume()) is None:
                return
            self._stream = stream
            if self._is_closed:  # meanwhile
                stream.close()

    def close(self) -> None:
        """End it; a thread that iterates stops at once, or within a second."""
        self._is_closed = True
        self._stream.close()

    def _resume(self) -> EventStream | None:
        reason = ""
        if self._says_end:
            reason = f"the service at {self._client.url} has ended the stream"
            self._say(f"{reason}; trying again")
        while True:
            time.sleep(RETRY_SECONDS)
            if self._is_closed:
                return None
            try:
                stream = self._client.stream(self._path, self.last_id)
            except (NoAnswer, CommandRejected) as error:
                wait_seconds = error.retry_after if isinstance(error, CommandRejected) else 0
                if wait_seconds is None:
                    raise
                if str(error) != reason:
                    reason = str(error)
                    self._say(f"{reason}; trying again")
                time.sleep(wait_seconds)
            else:
                if reason:
                    self._say("")
                return stream
