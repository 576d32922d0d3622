"""Follows a stream of server-sent events across restarts of the service."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from plugvisor.cli.client import NoAnswer
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugvisor.cli.client import Client, EventStream
    from plugvisor.cli.connection.events import ServerEvent

RETRY_SECONDS = 1.0


def print_notice(words: str) -> None:
    """Print what is no event: on standard error."""
    print(f"plugvisor: {words}", file=sys.stderr, flush=True)


class FollowedStream:
    """A stream that is resumed whenever it breaks. It is open when this returns; raises as `Client.stream` does.

    Args:
        resume_path: what to open when it has broken; default: the same.
        say: is called with what a person should know; from the thread that iterates.
    """

    def __init__(
        self, client: Client, path: str, resume_path: str = "", say: Callable[[str], object] = print_notice
    ) -> None:
        self._client = client
        self._path = resume_path or path
        self._say = say
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
            try:
                yield from self._stream
            except NoAnswer as error:
                if not self._is_closed:
                    self._say(f"{error}; trying again")
            if self._is_closed or (stream := self._resume()) is None:
                return
            self._stream = stream

    def close(self) -> None:
        """End it; a thread that iterates stops at once, or within a second."""
        self._is_closed = True
        self._stream.close()

    def _resume(self) -> EventStream | None:
        while True:
            time.sleep(RETRY_SECONDS)
            if self._is_closed:
                return None
            try:
                return self._client.stream(self._path, self.last_id)
            except NoAnswer:
                continue
            except CommandRejected as error:
                if error.retry_after is None:
                    raise
                time.sleep(error.retry_after)
