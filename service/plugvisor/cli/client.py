"""A client of the service, for commands that ask it over HTTP."""

from __future__ import annotations

import json
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.cli.connection.credential import Credential, find_credential
from plugvisor.cli.connection.events import EventStream
from plugvisor.cli.connection.failure import NoAnswer, describe_failure
from plugvisor.cli.connection.http import Exchange, connect
from plugvisor.cli.output import make_printable
from plugvisor.errors import CommandRejected
from plugvisor.settings import Settings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

__all__ = ["UPLOAD_TIMEOUT_SECONDS", "Client", "Credential", "EventStream", "NoAnswer", "Text"]

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 40.0
"""How long a stream can be silent; the service sends a comment every 15 seconds."""
UPLOAD_TIMEOUT_SECONDS = 120.0
"""How long the service may take to read more of a file, or to answer when it has all of it: its disk may be slow."""
_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024


class Text(NamedTuple):
    """The body of an answer, and its entity tag, if it has one."""

    content: bytes
    etag: str


class Client:
    """Sends requests to the service at a URL, `http://host:port` or `unix:///path`."""

    def __init__(self, url: str, credential: Credential) -> None:
        self.url = url
        self._credential = credential

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Client:
        """A client of the Plugvisor that the settings are those of; raises `ConfigurationError`."""
        settings = Settings.from_env(environ)
        return cls(settings.url, find_credential(environ, settings))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request; returns the JSON of the answer, None if there is none.

        Raises:
            CommandRejected: the answer is a problem.
            NoAnswer
        """
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        return self._decode(self._read(self._request(method, path, content, headers, TIMEOUT_SECONDS)).content)

    def read_text(self, path: str) -> Text:
        """Get what is text, not JSON; raises as `call` does."""
        return self._read(self._request("GET", path, None, {}, TIMEOUT_SECONDS))

    def write_text(self, path: str, content: bytes, headers: Mapping[str, str]) -> Any:
        """Put a text; returns the JSON of the answer; raises as `call` does."""
        return self._decode(self._read(self._request("PUT", path, content, dict(headers), TIMEOUT_SECONDS)).content)

    def upload(self, path: str, headers: Mapping[str, str], send: Callable[[socket.socket], object]) -> Any:
        """Post what is not in memory; returns the JSON of the answer; raises as `call` does.

        Args:
            headers: with `Content-Length` or `Transfer-Encoding`.
            send: sends the body; it may return before the end when there is an answer already.
        """
        return self._decode(
            self._read(self._request("POST", path, send, dict(headers), UPLOAD_TIMEOUT_SECONDS)).content
        )

    def stream(self, path: str, last_id: str = "") -> EventStream:
        """Open a stream of server-sent events; raises as `call` does."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        return EventStream(self.url, self._request("GET", path, None, headers, STREAM_TIMEOUT_SECONDS), last_id)

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | Callable[[socket.socket], object] | None,
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> Exchange:
        """Send a request; returns what is to be read and closed, if it is no problem."""
        headers = {**headers, "Authorization": f"Bearer {self._credential.token}"}
        connection = connect(self.url, timeout_seconds)
        try:
            if callable(content):
                connection.request(method, path, None, headers)
                content(connection.sock)
            else:
                connection.request(method, path, content, headers)
            response = connection.getresponse()
            if response.status < 300:
                return Exchange(connection, response)
            with closing(Exchange(connection, response)):
                problem = json.loads(response.read(_LONGEST_ANSWER_BYTES))
            words = make_printable(str(problem["detail"]))
        except (OSError, HTTPException, ValueError, TypeError, KeyError, RecursionError) as error:
            connection.close()
            raise describe_failure(self.url, error) from error
        except BaseException:  # Ctrl-C, or the file cannot be read
            connection.close()
            raise
        if response.status == HTTPStatus.UNAUTHORIZED:
            words += f"; it came from {self._credential.source}"
        raise CommandRejected(words, response.status, problem.get("retry_after"))

    def _read(self, exchange: Exchange) -> Text:
        with closing(exchange):
            try:
                content = exchange.response.read(_LONGEST_ANSWER_BYTES)
            except (OSError, HTTPException) as error:
                raise describe_failure(self.url, error) from error
            return Text(content, exchange.response.headers.get("ETag", ""))

    def _decode(self, text: bytes) -> Any:
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise describe_failure(self.url, error) from error
