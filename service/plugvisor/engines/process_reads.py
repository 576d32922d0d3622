"""The reads of an engine that keeps every process in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from plugvisor.errors import StartFailed
from plugvisor.logs.files import LogFiles
from plugvisor.models.process import Process, ProcessState, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    class Table(Protocol):
        """Every process, kept current."""

        version: int
        on_change: list[Callable[[str | None], object]]

        @property
        def is_live(self) -> bool: ...
        def read(self) -> Mapping[str, Process]: ...
        def get(self, plugin_id: str, /) -> Process: ...
        async def wait_for(
            self, plugin_id: str, condition: Callable[[Process], bool], timeout_seconds: float, /
        ) -> Process: ...


class ProcessReads:
    """See `plugvisor.engines.engine.Engine`, which says what each method does."""

    def __init__(self, table: Table, log_dir: Path) -> None:
        self._processes = table
        self._log_dir = log_dir

    @property
    def version(self) -> int:
        """Another number whenever a process may be another."""
        return self._processes.version

    @property
    def on_change(self) -> list[Callable[[str | None], object]]:
        """Called with the id of the plugin whose process has changed, or None: every process may have."""
        return self._processes.on_change

    @property
    def is_live(self) -> bool:
        """Whether `read` would answer."""
        return self._processes.is_live

    def read(self) -> Mapping[str, Process]:
        """Every process by its plugin's id."""
        return self._processes.read()

    def get(self, plugin_id: str) -> Process:
        """One plugin's process."""
        return self._processes.get(plugin_id)

    def open_log(self, plugin_id: str) -> LogFiles:
        """The part of a plugin's log that is on this machine."""
        return LogFiles(self._log_dir, f"{plugin_id}.log")

    async def wait_running(self, plugin_id: str, timeout_seconds: float) -> Process:
        """Wait until a plugin is neither queued nor STARTING."""
        process = await self._processes.wait_for(plugin_id, lambda process: not process.is_starting, timeout_seconds)
        if not process.is_starting:
            check_started(process)
        return process


def check_started(process: Process) -> None:
    """Raise `StartFailed` if a process has not been started, or has ended since."""
    if process.status is Status.ERROR:
        raise StartFailed(process.detail)
    if process.state in (ProcessState.STOPPED, ProcessState.STOPPING):
        raise StartFailed("it was stopped while it was starting")
