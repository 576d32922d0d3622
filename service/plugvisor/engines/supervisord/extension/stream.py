"""The state stream: a Unix socket to which one JSON line per change is written.

A connection begins with a snapshot; then come changes, and a heartbeat if nothing changes:

    {"type": "snapshot", "seq": 7, "processes": [{"name": "echo", "state": 20, "pid": 4711, …}, …]}
    {"type": "process", "seq": 8, "process": {"name": "echo", "state": 40, …}}
    {"type": "removed", "seq": 9, "name": "echo"}
    {"type": "check", "seq": 9, "name": "echo", "number": 4, "code": 1}
    {"type": "heartbeat", "seq": 9}
    {"type": "stopping", "seq": 9}

A check is the end of a command that `plugins.execute` has begun. The last one says that supervisord is shutting down;
the connection is closed after it.
Nothing here may block or raise into supervisord's loop, which is PID 1's in a container.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import traceback
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from supervisor.medusa import asyncore_25 as asyncore

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_READERS = 64
LARGEST_BACKLOG_BYTES = 1024 * 1024
"""A reader that is so far behind is disconnected; its snapshot does not count."""

P = ParamSpec("P")
T = TypeVar("T")


def guarded(method: Callable[P, T]) -> Callable[P, T | None]:
    """Make a method that logs what goes wrong, calls `recover` and returns None instead of raising.

    supervisord does not catch what event callbacks, `readable` and `writable` raise: it would end, and with it
    every plugin. The object must have a `logger` of supervisord's; `recover` repairs what the failure may have left
    inconsistent.
    """

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return method(*args, **kwargs)
        except Exception:  # noqa: BLE001 - see above
            with contextlib.suppress(Exception):
                args[0].logger.error(_describe_failure())  # type: ignore[attr-defined]
            with contextlib.suppress(Exception):
                args[0].recover()  # type: ignore[attr-defined]
            return None

    return call


def _describe_failure() -> str:
    return f"plugins: {traceback.format_exc()}"


class StateStream(asyncore.dispatcher):  # type: ignore[misc] # supervisor has no type hints
    """The listening socket, and its readers.

    Args:
        path: where to listen; what is there is replaced.
        make_snapshot: returns the first line for a new reader.
        readers_gid: a group that may connect, besides this user.
    """

    def __init__(
        self,
        path: str,
        logger: Any,
        make_snapshot: Callable[[], bytes],
        readers_gid: int | None = None,
    ) -> None:
        super().__init__()
        self.logger = logger
        self.readers: list[Reader] = []
        self.on_reader: list[Callable[[], object]] = []
        """Called when there is a new reader; raises nothing."""
        self.path = path
        self._make_snapshot = make_snapshot
        self._readers_gid = readers_gid
        self._listen()

    def listen_again(self) -> None:
        """Listen on a new socket, because the one before was removed; readers stay connected."""
        before = self.socket
        self.del_channel()
        try:
            self._listen()
        finally:
            before.close()  # not sooner: the event loop takes another socket of the same number for this one

    def _listen(self) -> None:
        path = self.path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.create_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)  # this user alone, from the first moment
        try:
            self.bind(path)
        finally:
            os.umask(umask)
        if self._readers_gid is not None:
            os.chown(path, -1, self._readers_gid)
            os.chmod(path, 0o660)
        self.listen(MOST_READERS)

    def write(self, line: bytes) -> None:
        """Send a line to every reader."""
        for reader in list(self.readers):
            reader.write(line)

    def writable(self) -> bool:
        """Nothing is ever written to the listening socket."""
        return False

    @guarded
    def handle_accept(self) -> None:
        """Take a new reader in."""
        try:
            accepted = self.accept()
        except OSError:
            return  # no descriptor is left for it; it waits, and everyone else is served
        if accepted is None:
            return
        if len(self.readers) >= MOST_READERS:
            accepted[0].close()
            return
        snapshot = self._make_snapshot()  # first: no line must come before it
        reader = Reader(accepted[0], self, LARGEST_BACKLOG_BYTES + len(snapshot))
        self.readers.append(reader)
        reader.write(snapshot)
        for callback in self.on_reader:
            callback()

    def recover(self) -> None:
        """Disconnect every reader, since its states may be outdated."""
        self.disconnect()

    def disconnect(self) -> None:
        """Disconnect every reader; they may reconnect. Raises nothing.

        It is not `guarded`, as it is how to recover: a failure in it would call it again, without an end.
        """
        for reader in list(self.readers):
            reader.handle_close()

    @guarded
    def close_all(self) -> None:
        """Disconnect every reader and listen no more."""
        self.disconnect()
        self.close()

    def handle_error(self) -> None:
        """Log; asyncore's own would close the socket and print."""
        self.logger.error(_describe_failure())


class Reader(asyncore.dispatcher):  # type: ignore[misc]
    """One connection. It is only written to; a reader that does not keep up is disconnected, never waited for."""

    def __init__(self, connection: socket.socket, stream: StateStream, largest_backlog_bytes: int) -> None:
        super().__init__(connection)
        self.logger = stream.logger
        self._stream = stream
        self._largest_backlog_bytes = largest_backlog_bytes
        self._backlog = bytearray()

    @guarded
    def write(self, line: bytes) -> None:
        """Send what the socket takes now; keep the rest for later."""
        self._backlog += line
        if len(self._backlog) > self._largest_backlog_bytes:
            self.logger.warn(  # noqa: G010 - supervisord's logger knows no `warning`
                "plugins: a reader of the state stream does not keep up and is disconnected"
            )
            self.close()
        elif len(self._backlog) == len(line):  # nothing was waiting
            self.handle_write()

    def writable(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._backlog)

    @guarded
    def handle_write(self) -> None:
        """Send what waits."""
        try:
            sent = self.send(self._backlog)
        except OSError:
            self.close()
        else:
            del self._backlog[:sent]

    @guarded
    def handle_read(self) -> None:
        """Readers have nothing to say; what they send is thrown away, and its end ends the connection."""
        try:
            self.recv(4096)
        except OSError:  # it may have been closed in this round of the loop, by a write that failed
            self.close()

    @guarded
    def handle_close(self) -> None:
        """The other side has closed, or this one wants to."""
        self.close()

    @guarded
    def handle_error(self) -> None:
        """Something failed in supervisord's loop."""
        self.recover()

    def recover(self) -> None:
        """This reader has missed something, and can reconnect."""
        self.close()

    def close(self) -> None:
        """Disconnect."""
        if self in self._stream.readers:
            self._stream.readers.remove(self)
            self._backlog.clear()
            super().close()
