"""uvicorn's HTTP protocol, bounded: no client may take more of the service than `limits.py` says.

uvicorn 0.54 limits neither a request's head nor the time in which it arrives, keeps what a client does not read
for ever, and has no answer to more connections than there are descriptors. What this relies on in it, which is
pinned, is named where it is used. The size of a body is `body_limit.py`'s business.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from plugvisor.api.http.connections.lingering import linger
from plugvisor.api.http.connections.old_clients import without_chunks
from plugvisor.api.http.limits import (
    BODY_IDLE_SECONDS,
    MOST_BODY_BYTES,
    MOST_HEAD_BYTES,
    MOST_PIPELINED,
    REQUEST_SECONDS,
    UNREAD_SECONDS,
)
from plugvisor.api.problems import make_response
from plugvisor.errors import HeadTooLarge, MalformedRequest, PlugvisorError, RequestTimeout, TooManyConnections

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Container

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from plugvisor.api.http.connections.idle import IdleConnections
    from plugvisor.api.http.hosts import HostCheck


_WITHOUT_BODY = ("GET", "HEAD")
"""Methods whose requests have no body as a rule; a read does not pay for what a body needs."""
_AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: on, for no time."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Call `check` about once a second."""

    def __init__(
        self,
        *arguments: Any,
        idle: IdleConnections,
        host_check: HostCheck,
        streamed: Container[tuple[str, str]] = (),
        **options: Any,
    ) -> None:
        """Args: `streamed`: method and path of those whose handlers take the body as it comes."""
        super().__init__(*arguments, **options)
        self._streamed = streamed
        self._idle = idle
        self._host_check = host_check
        self._running: RequestResponseCycle | None = None  # what is being answered, or was last
        self._is_last = False  # the request that is running or arriving
        self._refusal: PlugvisorError | None = None
        self._is_refused = False  # what comes now is nothing that could be understood
        self._is_half_closed = False  # nothing more is sent
        # when the request that is arriving began to; None if none is
        self._began: float | None = None
        self._is_in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._framing_bytes = 0  # since the last byte of a body
        self._unsent_bytes = 0
        self._sent_at = 0.0

    def check(self, now: float) -> None:
        """Time out a request that does not arrive, and a client that does not read."""
        if self.flow.read_paused:
            self._began = now  # it is we who do not read
        elif self._began is not None and not self._is_refused and now - self._began > self._most_seconds:
            self._began = None
            if self._is_in_head and not self._head_bytes:
                self.transport.close()  # it has asked for nothing
            if self._is_in_body and self.cycle.response_complete:
                self.transport.close()  # it has its answer
            self._refuse(RequestTimeout(f"the request did not arrive within {REQUEST_SECONDS:g} seconds"))
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent_bytes:
            self._sent_at = now
        elif now - self._sent_at > UNREAD_SECONDS:
            self._reset()
        self._unsent_bytes = unsent

    @property
    def _most_seconds(self) -> float:
        """How long the request that is arriving may take, from its first byte; a streamed body, from its last."""
        return BODY_IDLE_SECONDS if self._is_in_body and self._is_streamed(self.cycle) else REQUEST_SECONDS

    @property
    def _is_in_body(self) -> bool:
        return not self._is_in_head and self.cycle is not None

    def _is_streamed(self, cycle: RequestResponseCycle) -> bool:
        return (cycle.scope["method"], cycle.scope["path"]) in self._streamed

    @property
    def is_expecting(self) -> bool:
        """Whether a request is arriving, or the client has just connected, and no other one is being answered."""
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self._began is not None and not self._is_refused and not self.transport.is_closing()

    def end_soon(self) -> None:
        """Disconnect after the answer to the request that is arriving or running; at once if there is none."""
        self._is_last = True
        if not self.is_expecting:
            self.shutdown()

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A client has connected."""
        super().connection_made(transport)
        self._began = self._sent_at = self.loop.time()
        self._idle.waiting[self] = None
        if not self._idle.make_room(self, len(self.connections)):
            self._refuse(TooManyConnections("too many clients are connected and none of them can be spared"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._idle.waiting.pop(self, None)
        self._end_running()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of any part of any number of requests."""
        if self.transport.is_closing() or self._is_refused:
            return
        if self._began is None:
            self._began = self.loop.time()
        if self._is_in_head:
            self._head_bytes += len(data)
        self._framing_bytes += len(data)
        super().data_received(data)
        if (self._head_bytes if self._is_in_head else self._framing_bytes) > MOST_HEAD_BYTES:
            self._refuse(_head_too_large())

    # -- the parser's callbacks; what they raise becomes a call of `send_400_response`

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._began is None:
            self._began = self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those that come after the body are dropped: nothing that was checked before must change."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The whole head."""
        head_bytes = len(self.url)
        hosts = []
        for name, value in self.headers:
            head_bytes += len(name) + len(value)
            if name == b"host":
                hosts.append(value)
        if head_bytes > MOST_HEAD_BYTES:
            self._refusal = _head_too_large()
            raise self._refusal
        if len(hosts) != 1 or hosts[0] not in self._host_check.cache:
            self._refusal = self._host_check.find_error(hosts, self.parser.get_http_version())
            if self._refusal is not None:
                raise self._refusal
        self._is_in_head = False
        self._head_bytes = self._body_bytes = self._framing_bytes = 0
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refusal = MalformedRequest("no more requests are taken before the first are answered")
            raise self._refusal  # uvicorn would take in as many as come
        super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False
        self._idle.waiting.pop(self, None)

    def on_body(self, body: bytes) -> None:
        """A part of a body; of one that was answered before its end no more is read than of another."""
        self._body_bytes += len(body)
        self._framing_bytes = 0
        if self._is_streamed(self.cycle):
            if not self.cycle.response_complete:
                self._began = self.loop.time()
        elif self.cycle.response_complete and self._body_bytes > MOST_BODY_BYTES:
            self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's last byte."""
        self._began = None
        self._is_in_head = True
        super().on_message_complete()
        if self._is_half_closed:
            self.transport.close()

    # -- answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        if cycle.scope["http_version"] == "1.0":
            app = without_chunks(app, cycle)
        if cycle.scope["method"] not in _WITHOUT_BODY:
            app = linger(app, cycle, self._half_close)
        super()._start_asgi_task(cycle, app)

    def _half_close(self) -> None:
        """Say that nothing more is sent, and discard what comes."""
        self._is_half_closed = True
        if not self.transport.is_closing():
            self.transport.write_eof()

    def _reset(self) -> None:
        """Disconnect and throw away what waits to be sent: the kernel would keep megabytes of it for minutes."""
        self._end_running()
        with contextlib.suppress(OSError):  # it has just gone by itself
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _end_running(self) -> None:
        """Let nothing more be written; uvicorn does so for the last of several requests alone."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def on_response_complete(self) -> None:
        """An answer's last byte."""
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._idle.waiting[self] = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as uvicorn has it
        """Respond to a request that the parser, or a callback above, rejects."""
        self._refuse(self._refusal or MalformedRequest("this is no HTTP request that can be understood"))

    def _refuse(self, error: PlugvisorError) -> None:
        """Answer with a problem and hang up, both after the answers to what was asked before."""
        if self._is_half_closed:
            self.transport.close()
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self.cycle.more_body and not self.cycle.response_started and not self.pipeline:
            answering = False  # it is this request's own body that is wrong
            self.cycle.disconnected = True  # so that no other answer follows
            self.cycle.message_event.set()
        if answering:
            self.cycle.keep_alive = False  # uvicorn hangs up after that answer
            self._is_refused = True
            return
        self.transport.write(render_problem(error))
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """Let the connection become a WebSocket, unless the response to an earlier request would be sent into it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse(MalformedRequest("a WebSocket is opened only when all earlier requests are answered"))
            return
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing; the request is answered as if it had not asked for an upgrade."""


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the request line and its headers may have {MOST_HEAD_BYTES // 1024} KiB together")


def render_problem(error: PlugvisorError) -> bytes:
    """The whole response to a request after which the connection is closed."""
    response = make_response(error)
    headers = [*response.raw_headers, (b"connection", b"close")]
    lines = [STATUS_LINE[response.status_code], *(b"%s: %s\r\n" % header for header in headers)]
    return b"".join([*lines, b"\r\n", bytes(response.body)])
