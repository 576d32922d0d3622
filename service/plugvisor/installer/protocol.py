"""The protocol between a worker and the service: JSON objects, one a line, over a Unix socket.

A request is `{"do": …}`; the package comes as a descriptor with it. The answer to it is any number of `{"line": …}`,
and then `{"ok": {…}}` or `{"error": {"code": …, "message": …}}`. The next request comes after that.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LARGEST_LINE_BYTES = 1024 * 1024
IDLE_SECONDS = 0.25
LONGEST_TEXT = 2_000


class Refused(Exception):
    """A request that is not done, for a reason that the client can act on.

    Args:
        code: `invalid_package`, `not_installed`, `build_failed`, `no_space`, `read_only`, `precondition_failed`,
            `off` (the install folder cannot be used) or `failed`.
        message: a sentence for a person, without a path of this machine.
        entry: the name of the package's entry that is refused.
        log: the last lines of a build.
    """

    def __init__(self, code: str, message: str, entry: str | None = None, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.entry = entry
        self.log = log


class Connection:
    """The connection to the service.

    Raises:
        OSError: the service is gone.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._parent = os.getppid()
        self._buffer = bytearray()
        self._descriptors: list[int] = []

    def read(self, is_asked_to_end: Callable[[], bool]) -> dict[str, Any] | None:
        """Wait for a request; returns None when there will be none, or the process that started this one has ended.

        Raises:
            ValueError: it is no JSON object, or too long.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) > LARGEST_LINE_BYTES:
                raise ValueError("a request is too long")
            self.socket.settimeout(IDLE_SECONDS)
            try:
                data, ancillary, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(array.array("i").itemsize))
            except TimeoutError:
                if is_asked_to_end() or os.getppid() != self._parent:
                    return None
                continue
            self._take_descriptors(ancillary)
            if not data:
                return None
            self._buffer += data
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is an object")  # noqa: TRY004 - it is about the value
        return request

    def take_descriptor(self) -> int:
        """The descriptor that has come with a request; raises `ValueError` if there is none."""
        if not self._descriptors:
            raise ValueError("there is no package")
        return self._descriptors.pop()

    def answer(self, **answer: Any) -> None:
        """Send an answer, or a part of it."""
        self.socket.settimeout(None)
        self.socket.sendall(json.dumps(answer).encode() + b"\n")

    def say(self, line: str) -> None:
        """Send a line of an operation's log."""
        self.answer(line=line[:LONGEST_TEXT])

    def refuse(self, error: Refused) -> None:
        """Send why a request was not done."""
        body = {"code": error.code, "message": str(error)[:LONGEST_TEXT], "entry": error.entry, "log": list(error.log)}
        self.answer(error={name: value for name, value in body.items() if value})

    def is_over(self) -> bool:
        """Whether the other side has hung up while it should wait for an answer, or supervisord has ended."""
        if os.getppid() != self._parent:
            return True
        try:
            return bool(self._buffer) or self._peek()
        except OSError:
            return True

    def _peek(self) -> bool:
        """Whether there is anything to read, which can be the end only."""
        before = self.socket.gettimeout()
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(before)
        return True

    def _take_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                    self._descriptors.append(descriptor)
