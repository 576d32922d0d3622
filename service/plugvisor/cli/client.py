"""A client of the service, for commands that ask it over HTTP."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from plugvisor.admin_code import read_admin_code
from plugvisor.cli.output import make_printable
from plugvisor.errors import CommandRejected, ConfigurationError
from plugvisor.setting_values import UNIX
from plugvisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 40.0
"""How long a stream can be silent; the service sends a comment every 15 seconds."""
UPLOAD_TIMEOUT_SECONDS = 120.0
"""How long the service may take to read more of a file, or to answer when it has all of it: its disk may be slow."""
_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024
_LONGEST_LINE_BYTES = 1024 * 1024


class NoAnswer(ConfigurationError):
    """The service cannot be reached, or what answers is no Plugvisor."""


class ServerEvent(NamedTuple):
    """A server-sent event; its data is JSON."""

    name: str
    data: Any


class Text(NamedTuple):
    """The body of an answer, and its entity tag, if it has one."""

    content: bytes
    etag: str


class Credential(NamedTuple):
    """A token or an admin code, and what it was read from."""

    token: str
    source: str

    def __repr__(self) -> str:
        return f"Credential(…, {self.source!r})"


class _Exchange(NamedTuple):
    """A connection, and the response that comes by it."""

    connection: HTTPConnection
    response: HTTPResponse

    def close(self) -> None:
        """End both: if the server closes the connection, the response has taken it over."""
        self.response.close()
        self.connection.close()


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
        return EventStream(self, self._request("GET", path, None, headers, STREAM_TIMEOUT_SECONDS), last_id)

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | Callable[[socket.socket], object] | None,
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> _Exchange:
        """Send a request; returns what is to be read and closed, if it is no problem."""
        # the command knows the API as it is, whatever front end the service is set up for
        headers = {**headers, "Authorization": f"Bearer {self._credential.token}", "X-Plugvisor-Dialect": "none"}
        connection = _connect(self.url, timeout_seconds)
        try:
            if callable(content):
                connection.request(method, path, None, headers)
                content(connection.sock)
            else:
                connection.request(method, path, content, headers)
            response = connection.getresponse()
            if response.status < 300:
                return _Exchange(connection, response)
            with closing(_Exchange(connection, response)):
                problem = json.loads(response.read(_LONGEST_ANSWER_BYTES))
            words = make_printable(str(problem["detail"]))
        except (OSError, HTTPException, ValueError, TypeError, KeyError, RecursionError) as error:
            connection.close()
            raise self._describe(error) from error
        except BaseException:  # Ctrl-C, or the file cannot be read
            connection.close()
            raise
        if response.status == HTTPStatus.UNAUTHORIZED:
            words += f"; it came from {self._credential.source}"
        raise CommandRejected(words, response.status, problem.get("retry_after"))

    def _read(self, exchange: _Exchange) -> Text:
        with closing(exchange):
            try:
                content = exchange.response.read(_LONGEST_ANSWER_BYTES)
            except (OSError, HTTPException) as error:
                raise self._describe(error) from error
            return Text(content, exchange.response.headers.get("ETag", ""))

    def _decode(self, text: bytes) -> Any:
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise self._describe(error) from error

    def _describe(self, error: Exception) -> NoAnswer:
        if isinstance(error, OSError):
            return NoAnswer(
                f"cannot reach the service at {self.url}: {error.strerror or error}; `plugvisor up` starts it, and "
                "PLUGVISOR_HOST and PLUGVISOR_PORT say where it is"
            )
        return NoAnswer(f"cannot use the answer from {self.url}: it is not that of a Plugvisor of this version")


class EventStream:
    """An open stream of events; iterating ends when the service ends it."""

    def __init__(self, client: Client, exchange: _Exchange, last_id: str) -> None:
        self.last_id = last_id
        """The id of the last event, for `Last-Event-ID`."""
        self._client = client
        self._exchange = exchange

    def __iter__(self) -> Iterator[ServerEvent]:
        """Each event as it comes; raises `NoAnswer` if the connection breaks, or is silent."""
        try:
            yield from self._read_events()
        except (OSError, HTTPException, ValueError) as error:
            raise self._client._describe(error) from error  # noqa: SLF001 - two halves of one thing
        finally:
            self._exchange.close()

    def _read_events(self) -> Iterator[ServerEvent]:
        name, data, event_id = "message", "", None
        while line := self._exchange.response.readline(_LONGEST_LINE_BYTES):
            field, _, value = line.decode().rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            match field:
                case "event":
                    name = value
                case "id":
                    event_id = value
                case "data":
                    data = f"{data}\n{value}" if data else value
                case "" if not line.strip():
                    self.last_id = event_id or self.last_id
                    if data:
                        yield ServerEvent(name, json.loads(data))
                    name, data, event_id = "message", "", None


def find_credential(environ: Mapping[str, str], settings: Settings) -> Credential:
    """Return `PLUGVISOR_TOKEN`; else the admin code that is set; else that of the Plugvisor with this run folder.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    if token := environ.get("PLUGVISOR_TOKEN"):
        if not all("!" <= character <= "~" for character in token):  # else http.client would repeat it in an error
            raise ConfigurationError("cannot use PLUGVISOR_TOKEN: it must consist of visible ASCII characters")
        return Credential(token, "PLUGVISOR_TOKEN")
    if (code := read_admin_code(environ)) is not None:
        name = "PLUGVISOR_ADMIN_CODE"
        return Credential(code.value, name if environ.get(name) else f"{name}_FILE")
    path = settings.run_dir / "admin_code"
    if not path.exists():
        raise ConfigurationError(
            f"cannot find a token: no Plugvisor has left its admin code in {str(settings.run_dir)!r}; set "
            "PLUGVISOR_TOKEN to the token of an identity, or PLUGVISOR_RUN_DIR to the run folder of `plugvisor up`"
        )
    try:
        code = read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(path)})
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; or set PLUGVISOR_TOKEN to the token of an identity") from error
    assert code is not None
    return Credential(code.value, repr(str(path)))


def _connect(url: str, timeout_seconds: float) -> HTTPConnection:
    """A connection, which is opened by the first request."""
    if url.startswith(UNIX):
        return _UnixConnection(url.removeprefix(UNIX), timeout_seconds)
    parts = urlsplit(url)
    assert parts.hostname is not None
    return HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)


class _UnixConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
