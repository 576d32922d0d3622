"""The client of a worker of the install folder, which is another process and another user."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from plugvisor.errors import (
    BuildFailed,
    InstallationOff,
    InvalidPackage,
    NotInstalled,
    NotWritable,
    OperationInterrupted,
    PlugvisorError,
    PreconditionFailed,
    StorageFull,
    SupervisorUnavailable,
)
from plugvisor.manager.installation.worker_answers import (
    Answer,
    AnsweredError,
    Built,
    Done,
    Tidied,
    TidiedAnswer,
    UnpackedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from plugvisor.engines.engine import Engine
    from plugvisor.models.installation.record import Record

logger = logging.getLogger(__name__)
T = TypeVar("T")

LARGEST_LINE_BYTES = 1024 * 1024
START_SECONDS = 30.0
"""How long the worker may take to answer for the first time."""
CONNECTION_SECONDS = 10.0
"""How long it may take to end."""
LONGEST_MESSAGE = 2_000
LONGEST_LOGGED = 500
MOST_LOG_LINES = 200
MOST_BUILD_LINES = 50
"""The lines of a failed build that are kept with its operation."""
LINES_AT_ONCE = 100
"""After so many lines that have come together, something else gets its turn."""


class Unpacked(NamedTuple):
    """A package that was unpacked into the staging folder."""

    staged: str
    """The folder's name in it."""
    manifest: bytes
    entries: int
    size_bytes: int


_answers = msgspec.json.Decoder(Answer)
_ERRORS: dict[str, type[PlugvisorError]] = {
    "no_space": StorageFull,
    "not_installed": NotInstalled,
    "read_only": NotWritable,
    "precondition_failed": PreconditionFailed,
    "off": InstallationOff,
}


class Worker:
    """A worker that has been started; used as an asynchronous context manager, at whose end it ends.

    Every method may raise `InstallationOff` (the folder cannot be used), `StorageFull` and `OperationInterrupted`
    (the worker is gone, or has failed). If one is cancelled, the worker can only be ended.
    It is in the install folder that everything takes place; names are single parts of a path.

    Args:
        timeout_seconds: after which the engine ends the worker.
    """

    def __init__(self, engine: Engine, install_dir: Path, timeout_seconds: float) -> None:
        self._engine = engine
        self._install_dir = install_dir
        self._timeout_seconds = timeout_seconds
        self._connection: socket.socket
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        """Have it started; raises `OperationInterrupted`, `SupervisorUnavailable`."""
        self._connection = await self._engine.open_worker(self._timeout_seconds)
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=self._connection, limit=LARGEST_LINE_BYTES)
        except BaseException:
            await self._kill()
            self._connection.close()
            raise
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ask("open", Done, install_dir=str(self._install_dir))
        except BaseException as error:
            await self._end()
            if isinstance(error, TimeoutError):
                raise OperationInterrupted("the process that installs does not answer") from error
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End it, with all that it has started; what it has staged is removed when this returns."""
        await self._end()

    async def _end(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # as in `_worker_errors`
            self._writer.write_eof()
        ending = asyncio.ensure_future(self._wait_ended())
        try:
            # not `asyncio.timeout`, which in a task that was cancelled raises something else in Python 3.11.2
            done, _ = await asyncio.wait((ending,), timeout=CONNECTION_SECONDS)
            if not done:  # a plugin, which is of the same user, may have frozen it
                logger.warning("a worker of the install folder does not end, and is killed")
                await self._kill()
        finally:
            ending.cancel()
            self._writer.transport.abort()

    async def _kill(self) -> None:
        with contextlib.suppress(SupervisorUnavailable, OSError):  # its time is limited, too
            await self._engine.end_workers(self._connection)

    async def _wait_ended(self) -> None:
        # another task, which was not cancelled, may wait for an answer: it is a RuntimeError to read then
        with contextlib.suppress(OSError, RuntimeError):
            while await self._reader.read(LARGEST_LINE_BYTES):
                pass

    async def unpack(self, descriptor: int) -> Unpacked:
        """Unpack and check a package; raises `InvalidPackage`."""
        with _worker_errors():
            # nothing waits to be written: the worker has answered, and so read, what came before
            socket.send_fds(self._connection, [_encode("unpack", {})], [descriptor])
            unpacked = await self._read_answer(UnpackedAnswer)
            manifest = base64.b64decode(unpacked.manifest, validate=True)
        return Unpacked(unpacked.staged, manifest, unpacked.entries, unpacked.size_bytes)

    async def place(self, staged: str, plugin_id: str, version: str) -> None:
        """Make what was staged a version's folder, which is not whole yet; raises `NotInstalled`."""
        await self._ask("place", Done, staged=staged, plugin_id=plugin_id, version=version)

    async def build(
        self, plugin_id: str, version: str, python: str, seconds: float, on_line: Callable[[str], object]
    ) -> Built:
        """Make a version's environment, if it has dependencies, and make the version read-only and durable.

        Args:
            python: the specifier of interpreters, such as `>=3.12`; empty: any.
            seconds: how long it may take.

        Raises:
            BuildFailed
        """
        return await self._ask(
            "build", Built, on_line, plugin_id=plugin_id, version=version, python=python, seconds=seconds
        )

    async def swap(self, plugin_id: str, version: str, record: Record) -> None:
        """Write the record, then have `current` lead to a version, in one step; durable when this returns."""
        await self._ask("swap", Done, plugin_id=plugin_id, version=version, record=msgspec.to_builtins(record))

    async def write_record(self, record: Record) -> None:
        """Replace `installed.json`."""
        await self._ask("record", Done, plugin_id=record.id, record=msgspec.to_builtins(record))

    async def prune(self, plugin_id: str, keep: list[str]) -> None:
        """Remove a plugin's versions except some, and except the current one."""
        await self._ask("prune", Done, plugin_id=plugin_id, keep=keep)

    async def remove(self, plugin_id: str, record: Record, *, purge: bool) -> None:
        """Remove `current` and every version; with `purge` the data and the folder too. Raises `NotInstalled`."""
        await self._ask("remove", Done, plugin_id=plugin_id, record=msgspec.to_builtins(record), purge=purge)

    async def write_manifest(self, directory: str, text: bytes, expected_sha256: str) -> None:
        """Replace the `plugin.toml` in a folder, in one step; the install folder need not be usable.

        Raises:
            PreconditionFailed: it is not what was expected.
            NotWritable
        """
        encoded = base64.b64encode(text).decode()
        await self._ask("manifest", Done, directory=directory, text=encoded, expected_sha256=expected_sha256)

    async def tidy(self) -> list[Tidied]:
        """Remove what crashes have left, and go back from every update that had not been confirmed.

        No other worker may be alive.
        """
        return (await self._ask("tidy", TidiedAnswer)).plugins

    async def _ask(
        self, do: str, kind: type[T], on_line: Callable[[str], object] | None = None, **parameters: Any
    ) -> T:
        with _worker_errors():
            self._writer.write(_encode(do, parameters))
            await self._writer.drain()
            return await self._read_answer(kind, on_line)

    async def _read_answer(self, kind: type[T], on_line: Callable[[str], object] | None = None) -> T:
        count = 0
        while True:
            data = await self._reader.readline()
            if not data.endswith(b"\n"):
                raise OperationInterrupted("the process that installs has ended")
            answer = _answers.decode(data)
            if answer.error is not None:
                raise _translate(answer.error)
            if bytes(answer.ok):
                return msgspec.json.decode(answer.ok, type=kind)
            if answer.line is not None and on_line is not None:
                on_line(answer.line)
            elif answer.line is not None and count < MOST_LOG_LINES:
                logger.warning("the worker of the install folder says: %s", ascii(answer.line)[:LONGEST_LOGGED])
            count += 1
            if count % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)


def _encode(do: str, parameters: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"do": do, **parameters}) + b"\n"


def _translate(error: AnsweredError) -> PlugvisorError:
    message = error.message[:LONGEST_MESSAGE]
    match error.code:
        case "invalid_package":
            return InvalidPackage(message, error.entry and error.entry[:LONGEST_MESSAGE])
        case "build_failed":
            return BuildFailed(message, [line[:LONGEST_MESSAGE] for line in error.log[-MOST_BUILD_LINES:]])
        case "failed":
            for line in error.log[-MOST_LOG_LINES:]:
                logger.error("the worker of the install folder has failed: %s", ascii(line)[:LONGEST_LOGGED])
            return OperationInterrupted(message)
    return _ERRORS.get(error.code, OperationInterrupted)(message)


@contextlib.contextmanager
def _worker_errors() -> Iterator[None]:
    """Turn what comes of a worker that is gone, or makes no sense, into `OperationInterrupted`."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # uvloop's, if the connection was closed before
        raise OperationInterrupted("the process that installs has ended") from error
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        logger.error("the worker of the install folder makes no sense: %s", error)
        raise OperationInterrupted("the process that installs makes no sense") from error
