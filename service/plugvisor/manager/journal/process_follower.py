"""Notes in the journal what becomes of the processes, and of the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET

from plugvisor.errors import StoreUnavailable, SupervisorUnavailable
from plugvisor.models.plugin import show_exit
from plugvisor.models.process import ProcessState
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.store.tables.journal import read_last
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.models.process import Exit, Process
    from plugvisor.store.store import Store
    from plugvisor.store.tables.journal import StoredEntry

LIMITS = {"memory limit": "memory", "processes limit": "processes"}
"""By the reason for which a process was ended, the limit that it has exceeded."""
CLOCK_SECONDS = 0.05
"""How much the start of one process, converted from the monotonic clock, differs at most from one time to the next."""
_ENDED = (ProcessState.BACKOFF, ProcessState.EXITED, ProcessState.FATAL)


class _Seen(NamedTuple):
    """The fields of a process whose change is an entry."""

    state: ProcessState
    launches: int
    is_queued: bool
    last_exit: Exit | None


_NEVER_SEEN = _Seen(ProcessState.STOPPED, 0, False, None)


class ProcessFollower:
    """Follows an engine's processes from `open` to `close`.

    Args:
        describe: says why a process is as it is, for a person; empty if the status says it all.
    """

    def __init__(self, engine: Engine, recorder: Recorder, describe: Callable[[str, Process], str]) -> None:
        self._engine = engine
        self._recorder = recorder
        self._describe = describe
        self._seen: dict[str, _Seen] = {}
        self._remembered: dict[str, StoredEntry] = {}
        self._is_away = False
        self._engine_pid = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, store: Store, plugin_ids: Iterable[str]) -> None:
        """Note what has changed since the last entry of each of these plugins, and follow them."""
        with contextlib.suppress(StoreUnavailable):
            ids = list(plugin_ids)
            self._remembered = await store.read(lambda connection: read_last(connection, "state", ids))
        self._engine.on_change.append(self._on_change)
        self._on_change(None)

    async def close(self) -> None:
        """Follow them no more."""
        self._engine.on_change.remove(self._on_change)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_change(self, plugin_id: str | None) -> None:
        try:
            processes = self._engine.read()
        except SupervisorUnavailable as error:
            if plugin_id is None and not self._is_away:
                self._is_away = True
                if not error.is_shutdown:
                    self._note_engine("lost")
            return
        if plugin_id is not None:
            self._look(plugin_id, processes.get(plugin_id))
            return
        if self._is_away or not self._engine_pid:
            self._greet()
        for name in {*self._seen, *processes}:
            self._look(name, processes.get(name))

    def _look(self, plugin_id: str, process: Process | None) -> None:
        if process is None:
            self._seen.pop(plugin_id, None)
            return
        seen = _Seen(process.state, process.launches, bool(process.queued), process.last_exit)
        before = self._seen.get(plugin_id)
        if before == seen:
            return
        self._seen[plugin_id] = seen
        at = 0.0
        if before is None:
            before = _NEVER_SEEN
            remembered = self._remembered.pop(plugin_id, None)
            if (at := _find_news(process, remembered)) < 0:
                return
        is_end = process.last_exit is not None and process.last_exit != before.last_exit
        self._note_state(plugin_id, process, at, is_end=is_end)

    def _note_state(self, plugin_id: str, process: Process, at: float, *, is_end: bool) -> None:
        ended = process.last_exit if is_end or process.state in _ENDED else None
        facts = Facts(
            status=process.status,
            state=process.state.name,  # type: ignore[arg-type] # they are the names
            last_exit=show_exit(ended, format_time(ended.at)) if ended is not None else UNSET,
            detail=self._describe(plugin_id, process) or UNSET,
        )
        self._recorder.note(NewEntry("state", facts, plugin_id, at))
        reason = process.last_exit.reason if is_end and process.last_exit is not None else None
        if reason in LIMITS:
            self._recorder.note(
                NewEntry("limit", msgspec.structs.replace(facts, subject=LIMITS[reason]), plugin_id, at)
            )

    # -- the engine

    def _greet(self) -> None:
        """Note that the engine answers again, once it is known whether it is another one."""
        if self._is_away or not self._tasks:
            task = asyncio.create_task(self._identify(is_back=self._is_away))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._is_away = False

    async def _identify(self, *, is_back: bool) -> None:
        at = time.time()
        try:
            pid = (await self._engine.describe()).pid
        except SupervisorUnavailable:
            pid = 0
        if is_back:
            is_another = pid and self._engine_pid and pid != self._engine_pid
            self._note_engine("restarted" if is_another else "back", at)
        self._engine_pid = pid or self._engine_pid

    def _note_engine(self, verb: str, at: float = 0.0) -> None:
        self._recorder.note(NewEntry("service", Facts(subject=self._engine.name, verb=verb), at=at))


def find_start(process: Process) -> float:
    """When a process was started, in seconds since 1970."""
    return time.time() - (time.monotonic() - process.started)


def _find_news(process: Process, last: StoredEntry | None) -> float:
    """When a process became what it is, if the journal does not know that yet; else -1.

    Args:
        last: the last entry about its state, of an earlier run of the service.
    """
    started = find_start(process) if process.is_alive else 0.0
    ended = process.last_exit.at if process.last_exit is not None else 0.0
    at = started or (ended if process.state in _ENDED else 0.0)
    if last is None:
        return -1 if process.state is ProcessState.STOPPED and not process.launches and not process.queued else at
    facts = msgspec.json.decode(last.facts, type=Facts)
    # what was noted then had happened before
    is_same = facts.state == process.state.name
    is_new_launch = started > last.until + CLOCK_SECONDS
    is_new_end = at == ended and ended > last.until
    return -1 if is_same and not is_new_launch and not is_new_end else at
