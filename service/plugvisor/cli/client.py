"""A client of the service, for commands that ask it over HTTP."""

from __future__ import annotations

import json
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from plugvisor.cli.connection.address import find_own, read_url
from plugvisor.cli.connection.answer import decode_answer
from plugvisor.cli.connection.credential import Credential, find_credential
from plugvisor.cli.connection.events import EventStream
from plugvisor.cli.connection.failure import NoAnswer, describe_failure, describe_redirect
from plugvisor.cli.connection.hints import name_commands
from plugvisor.cli.connection.http import Exchange, connect
from plugvisor.cli.connection.peer import is_own
from plugvisor.cli.output import make_printable
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from plugvisor.cli.connection.timed_response import TimedResponse

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

    def __init__(self, url: str, credential: Credential, run_dir: Path | None = None) -> None:
        """Make a client.

        Args:
            run_dir: of the Plugvisor that an own admin code is for.
        """
        self.url = url
        self._credential = credential
        self._run_dir = run_dir

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Client:
        """A client of the Plugvisor that `PLUGVISOR_URL` names, or of this user's own; raises `ConfigurationError`."""
        own = find_own(environ)
        named = environ.get("PLUGVISOR_URL")
        if not named or own.is_at(named):
            # its address on this machine, even if what was named is its proxy's, or a container's published port
            return cls(own.url, find_credential(environ, own), own.run_dir)
        url = read_url(named)
        return cls(url, find_credential(environ, own, url), own.run_dir)

    @property
    def has_token(self) -> bool:
        """Whether it sends a token or an admin code."""
        return bool(self._credential.token)

    def call(self, method: str, path: str, body: object = None, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
        """Send a request; returns the object of the answer, an empty one if it has no body.

        Args:
            timeout_seconds: how long the answer may take, unless it is so long that it comes by and by.

        Raises:
            CommandRejected: the answer is a problem.
            NoAnswer: also later, if a member is read that every Plugvisor sends, and it is not there.
        """
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        return self._decode(self._read(self._request(method, path, content, headers, timeout_seconds)).content)

    def read_text(self, path: str) -> Text:
        """Get a text instead of JSON; raises as `call` does."""
        return self._read(self._request("GET", path, None, {}, TIMEOUT_SECONDS))

    def write_text(self, path: str, content: bytes, headers: Mapping[str, str]) -> Any:
        """Put a text; returns the object of the answer; raises as `call` does."""
        return self._decode(self._read(self._request("PUT", path, content, dict(headers), TIMEOUT_SECONDS)).content)

    def upload(self, path: str, headers: Mapping[str, str], send: Callable[[socket.socket], object]) -> Any:
        """Post a body that is not in memory; returns the object of the response; raises as `call` does.

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
        exchange = self._request("GET", path, None, headers, STREAM_TIMEOUT_SECONDS)
        if exchange.response.headers.get_content_type() != "text/event-stream":
            exchange.close()
            raise describe_failure(self.url, ValueError("it is no stream"))
        exchange.response.allow_pauses()
        return EventStream(self.url, exchange, last_id)

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | Callable[[socket.socket], object] | None,
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> Exchange:
        """Send a request; returns the response, for the caller to read and close, unless it is a problem."""
        connection = connect(self.url, timeout_seconds)
        # the command knows the API as it is, whatever front end the service is set up for
        headers = {**headers, "X-Plugvisor-Dialect": "none"}
        try:
            connection.connect()
            sock = connection.sock
            credential = self._choose_credential(sock)
            if credential.token:
                headers = {**headers, "Authorization": f"Bearer {credential.token}"}
            if callable(content):
                connection.request(method, path, None, headers)
                content(sock)
            else:
                connection.request(method, path, content, headers)
            response = cast("TimedResponse", connection.getresponse())
            if response.status < 300:
                return Exchange(connection, sock, response)
            with closing(Exchange(connection, sock, response)):
                if response.status < 400:
                    raise describe_redirect(self.url)  # noqa: TRY301 - it is not caught here
                problem = json.loads(response.read(_LONGEST_ANSWER_BYTES))
            words = "\n  ".join(map(make_printable, name_commands(str(problem["detail"])).split("\n")))
        except (OSError, HTTPException, ValueError, TypeError, KeyError, RecursionError) as error:
            connection.close()
            raise describe_failure(self.url, error) from error
        except BaseException:  # Ctrl-C, or the file cannot be read
            connection.close()
            raise
        if response.status == HTTPStatus.UNAUTHORIZED:
            words = _explain(words, credential, self.url)
        rejected = CommandRejected(words, response.status, problem.get("retry_after"))
        rejected.problem = problem
        raise rejected

    def _choose_credential(self, connection: socket.socket) -> Credential:
        """The credential, unless it is an admin code that is not for what listens here."""
        if not self._credential.is_own_code or self._run_dir is None or is_own(connection, self._run_dir):
            return self._credential
        return Credential(
            "", f"the admin code is not sent to {self.url}, where another user or another machine listens"
        )

    def _read(self, exchange: Exchange) -> Text:
        with closing(exchange):
            try:
                content = exchange.response.read(_LONGEST_ANSWER_BYTES)
            except (OSError, HTTPException) as error:
                raise describe_failure(self.url, error) from error
            return Text(content, exchange.response.headers.get("ETag", ""))

    def _decode(self, text: bytes) -> Any:
        try:
            return decode_answer(self.url, text)
        except (ValueError, TypeError, RecursionError) as error:
            raise describe_failure(self.url, error) from error


def _explain(words: str, credential: Credential, url: str) -> str:
    """Why a request without a token, or with this one, is unauthenticated."""
    if credential.token:
        return f"{words}; it came from {credential.source}, and was sent to {url}"
    return (
        f"this needs a token, but {credential.source}; set PLUGVISOR_TOKEN_FILE to a file that contains the token of "
        "an identity, or PLUGVISOR_TOKEN to the token"
    )
