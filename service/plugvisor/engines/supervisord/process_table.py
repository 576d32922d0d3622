"""The process table: every program's process, in memory, kept current by supervisord's state stream.

It is all that reads touch. While the stream is silent, broken or missing there is nothing to read: an old state is
never shown for a new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.executions import Executions
from plugvisor.engines.supervisord.faults import SHUTTING_DOWN
from plugvisor.engines.supervisord.stop_watch import StopWatch, get_peer_pid
from plugvisor.engines.supervisord.stream_messages import (
    Change,
    CheckEnd,
    Heartbeat,
    NamedProcess,
    Removal,
    Snapshot,
    Stopping,
    decode_message,
)
from plugvisor.engines.waiters import Waiters
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 2.0
"""How long the stream may be silent: supervisord writes a heartbeat every second."""
REACH_SECONDS = 5.0
"""How long to wait for a change that supervisord has reported: a restarted one counts from 1 again."""
UNREACHABLE = "supervisord cannot be reached: is it running?"
RECONNECT_SECONDS = 0.1
_STOP_CHECK_SECONDS = 0.005
_WAIT_SECONDS = 0.5
"""How often a waiter checks that the stream is alive."""
_LONGEST_LINE_BYTES = 64 * 1024 * 1024


class ProcessTable:
    """Follows the state stream from `open` to `close`.

    Args:
        stream_path: the socket of the extension; it need not exist yet.
        silence_seconds: how long the stream may be silent.
    """

    def __init__(self, stream_path: str, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._stream_path = stream_path
        self._silence_seconds = silence_seconds
        self._processes: dict[str, Process] = {}
        self.foreign: set[str] = set()
        """Names of programs that are no plugins; there is nothing to read of them."""
        self.executions = Executions()
        self._sequence = 0
        self._heard_at = 0.0
        self._connected = False
        # a supervisord that was sent SIGSTOP falls silent too, but that takes a while to be noticed
        self._stop_watch = StopWatch(0)
        self._checked_at = 0.0
        self._is_stopped = False
        self._waiters = Waiters()
        self._listener: asyncio.Task[None] | None = None
        self._silence_check: asyncio.TimerHandle | None = None
        self.version = 0
        """Another number whenever a process may be another."""
        self.on_change: list[Callable[[str | None], object]] = []
        """Called with the name of the program that has changed, or None: everything may have."""
        self._is_missed = False  # the log says that supervisord does not answer
        self.problem = UNREACHABLE
        """Why there is nothing to read while the stream is not connected."""

    async def open(self, patience_seconds: float) -> None:
        """Begin to follow the stream; return when there is something to read, or after that time."""
        self._listener = asyncio.create_task(self._listen())
        deadline = time.monotonic() + patience_seconds
        while not self.is_live and (left := deadline - time.monotonic()) > 0:
            await self._waiters.wait(None, left)
        if not self._connected:
            self._miss()

    async def close(self) -> None:
        """Follow the stream no more."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    @property
    def is_connected(self) -> bool:
        """Whether a stream is followed, even if it is silent."""
        return self._connected

    @property
    def is_live(self) -> bool:
        """Whether the stream reports the state of this very moment."""
        now = time.monotonic()
        if not self._connected or now - self._heard_at >= self._silence_seconds:
            return False
        if now - self._checked_at > _STOP_CHECK_SECONDS:
            self._checked_at = now
            self._is_stopped = self._stop_watch.is_stopped()
        return not self._is_stopped

    def read(self) -> Mapping[str, Process]:
        """Every program's process by its name; raises `SupervisorUnavailable`."""
        if not self.is_live:
            error = SupervisorUnavailable(
                "supervisord does not answer: it is stopped or very busy" if self._connected else self.problem
            )
            error.is_shutdown = not self._connected and self.problem is SHUTTING_DOWN
            raise error
        return self._processes

    def get(self, name: str) -> Process:
        """One program's process; raises `SupervisorUnavailable`."""
        return self.read().get(name, NEVER_ADDED)

    async def wait_for(self, name: str, condition: Callable[[Process], bool], timeout_seconds: float) -> Process:
        """Wait until a process meets a condition, or the time is over; returns the process.

        Raises:
            SupervisorUnavailable: the stream has been silent or broken for `silence_seconds`, or is so at the end.
        """
        deadline = time.monotonic() + timeout_seconds
        dead_since: float | None = None
        while True:
            now = time.monotonic()
            if self.is_live:
                dead_since = None
                process = self._processes.get(name, NEVER_ADDED)
                if condition(process) or now >= deadline:
                    return process
            else:
                dead_since = now if dead_since is None else dead_since
                if now - dead_since >= self._silence_seconds or now >= deadline:
                    return self.get(name)
            await self._waiters.wait(name, min(deadline - now, _WAIT_SECONDS))

    async def reach(self, sequence: int) -> None:
        """Wait until the table holds the change of that number, or the stream is silent or broken."""
        deadline = time.monotonic() + REACH_SECONDS
        while self._sequence < sequence and self.is_live and time.monotonic() < deadline:
            await self._waiters.wait(None, _WAIT_SECONDS)

    # -- the stream

    async def _listen(self) -> None:
        """Follow the stream for ever; reconnect after a break of any kind."""
        logged = ""
        while True:
            try:
                await self._follow()
            except Exception as error:
                if self._connected or repr(error) != logged:  # it may come with every attempt to connect
                    logger.exception("the state stream is broken; reconnecting")
                logged = repr(error)
            if self._connected:
                self._connected = False
                self._miss()
                self.executions.fail()
                self._announce(None)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._stream_path, limit=_LONGEST_LINE_BYTES)
        except OSError:
            return  # supervisord is just being started, or lacks the extension
        self._stop_watch = StopWatch(get_peer_pid(writer.get_extra_info("socket")))
        try:
            while line := await reader.readline():
                self._receive(line)
        except OSError as error:
            logger.warning("the state stream was lost: %s", error)
        finally:
            writer.close()
            self._stop_watch.close()
            if self._silence_check is not None:
                self._silence_check.cancel()
                self._silence_check = None

    def _miss(self) -> None:
        self._is_missed = True
        logger.warning("supervisord does not answer; reconnecting until it does")

    def _check_silence(self) -> None:
        """Announce that the stream is silent, once; else check again when it may be."""
        seconds_left = self._heard_at + self._silence_seconds - time.monotonic()
        self._silence_check = None
        if seconds_left > 0:
            self._silence_check = asyncio.get_running_loop().call_later(seconds_left, self._check_silence)
        else:
            self.executions.fail()
            self._announce(None)

    def _receive(self, line: bytes) -> None:
        message = decode_message(line)
        was_silent = not self.is_live
        self._heard_at = time.monotonic()
        self._sequence = message.seq
        if self._silence_check is None:
            self._check_silence()
        if isinstance(message, CheckEnd):
            self.executions.settle(message)
        match message:
            case Snapshot():
                self._processes, self.foreign = {}, set()
                for process in message.processes:
                    self._store(process)
                self._connected = True
                if self._is_missed:
                    logger.info("supervisord answers again")
                self._is_missed = False
                self.problem = UNREACHABLE  # what was wrong before is no longer
                self._announce(None)
            case Change():
                self._store(message.process)
                self._announce(None if was_silent else message.process.name)
            case Removal():
                self._forget(message.name)
                self._announce(None if was_silent else message.name)
            case Heartbeat() | CheckEnd() if was_silent:
                self._announce(None)
            case Stopping():
                self.problem = SHUTTING_DOWN

    def _store(self, process: NamedProcess) -> None:
        if process.is_foreign:
            self._processes.pop(process.name, None)
            self.foreign.add(process.name)
        else:
            self.foreign.discard(process.name)
            self._processes[process.name] = process

    def _forget(self, name: str) -> None:
        self._processes.pop(name, None)
        self.foreign.discard(name)

    def _announce(self, name: str | None) -> None:
        self.version += 1
        self._waiters.wake(name)
        for callback in self.on_change:
            try:
                callback(name)
            except Exception:  # the table must go on being kept current, whatever becomes of a listener
                logger.exception("a listener to process changes has failed")
