"""Streams of server-sent events."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.cli.connection.answer import Answer, decode_answer
from plugvisor.cli.connection.failure import describe_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.cli.connection.http import Exchange

_LONGEST_BYTES = 64 * 1024 * 1024
"""Of an event; a snapshot of a thousand plugins is one line."""


class ServerEvent(NamedTuple):
    """A server-sent event; its data is a JSON object."""

    name: str
    data: Answer


class EventStream:
    """An open stream of events; iterating ends when the service ends it."""

    def __init__(self, url: str, exchange: Exchange, last_id: str) -> None:
        self.last_id = last_id
        """The id of the last event, for `Last-Event-ID`."""
        self._url = url
        self._exchange = exchange

    def __iter__(self) -> Iterator[ServerEvent]:
        """Each event as it comes; raises `NoAnswer` if the connection breaks, or is silent."""
        try:
            yield from self._read_events()
        except (OSError, HTTPException, ValueError, TypeError, RecursionError) as error:
            raise describe_failure(self._url, error) from error
        finally:
            self._exchange.close()

    def close(self) -> None:
        """End the stream, also while a thread iterates."""
        self._exchange.abort()

    def _read_events(self) -> Iterator[ServerEvent]:
        name, size, event_id = "message", 0, None
        data: list[str] = []
        while line := self._exchange.response.readline(_LONGEST_BYTES):
            size += len(line)
            if size > _LONGEST_BYTES:
                raise ValueError("the event is too long")
            field, _, value = line.decode().rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            match field:
                case "event":
                    name = value
                case "id":
                    event_id = value
                case "data":
                    data.append(value)
                case "" if not line.strip():
                    self.last_id = event_id or self.last_id
                    if data:
                        yield ServerEvent(name, decode_answer(self._url, "\n".join(data)))
                    name, size, data, event_id = "message", 0, [], None
