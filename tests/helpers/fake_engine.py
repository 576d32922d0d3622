"""An engine in memory, for the manager."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from plugvisor.engines.engine import Address, EngineInfo, Execution
from plugvisor.engines.one_machine import OneMachine
from plugvisor.errors import NotRunning, OperationInterrupted, StartFailed, SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState

from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from socket import socket
    from typing import Literal

    from plugvisor.logs.files import LogFiles
    from plugvisor.models.manifest import Manifest


class FakeEngine(OneMachine):
    """Every change is done at once, unless the test holds it back (`hold`) or has it fail (`errors`)."""

    name = "fake"

    def __init__(self, *, announces: bool = False) -> None:
        """Args: `announces`: whether `on_change` is called whenever the test or a method changes a process."""
        self._announces = announces
        self.processes: dict[str, Process] = {}
        self.published: dict[str, tuple[Manifest, Path]] = {}
        self.calls: list[tuple[str, str]] = []
        """Every method that changed something or waited for it, with the plugin's id, when it began."""
        self.ended: list[tuple[str, str, str]] = []
        """What `end` has ended: the plugin's id, the reason, and whether to restart it."""
        self.starts: dict[str, bool] | None = None
        """What was published with `publish_starts` last."""
        self.errors: dict[str, Exception] = {}
        """What a method raises."""
        self.executions: dict[str, Execution] = {}
        """How the commands of checks end; all others with 0."""
        self.addresses: dict[tuple[str, str], Sequence[Address]] = {}
        """Where a plugin's processes are reached, by the plugin's id and the host that its check names."""
        self.is_live = True
        self.version = 0
        self.on_change: list[Callable[[str | None], object]] = []
        self._held: dict[tuple[str, str], asyncio.Event] = {}

    # -- for the test

    def hold(self, method: str, plugin_id: str) -> asyncio.Event:
        """Have a method wait, for this plugin, until the event that is returned is set."""
        return self._held.setdefault((method, plugin_id), asyncio.Event())

    async def wait_called(self, method: str, plugin_id: str, times: int = 1) -> None:
        """Wait until a method was called so often."""
        await wait_until(lambda: self.calls.count((method, plugin_id)) >= times, f"{method} {plugin_id}")

    def set(self, plugin_id: str, state: ProcessState, **fields: Any) -> Process:
        """Change a process; it has a pid if it is alive."""
        is_alive = state in (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.STOPPING)
        before = self.processes.get(plugin_id, NEVER_ADDED)
        changed = msgspec.structs.replace(before, **{"state": state, "pid": 7 if is_alive else 0} | fields)
        self.processes[plugin_id] = changed
        self._announce(plugin_id)
        return changed

    def announce_all(self) -> None:
        """Say that every process may have changed, as after a break of the connection."""
        self._announce(None)

    def _announce(self, plugin_id: str | None) -> None:
        self.version += 1
        for callback in list(self.on_change) if self._announces else ():
            callback(plugin_id)

    async def _do(self, method: str, plugin_id: str) -> None:
        self.calls.append((method, plugin_id))
        if held := self._held.get((method, plugin_id)):
            await held.wait()
        if error := self.errors.get(method):
            raise type(error)(*error.args)

    # -- `Engine`

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    async def describe(self) -> EngineInfo:
        """Itself."""
        return EngineInfo(self.name, "1", 1, "RUNNING")

    def read(self) -> Mapping[str, Process]:
        """Every process."""
        if not self.is_live:
            raise SupervisorUnavailable("the engine is away")
        return self.processes

    def get(self, plugin_id: str) -> Process:
        """One process."""
        return self.read().get(plugin_id, NEVER_ADDED)

    def locate(self, plugin_id: str, host: str) -> Sequence[Address]:
        """Where the test says, or the host itself."""
        if error := self.errors.get("locate"):
            raise type(error)(*error.args)
        return self.addresses.get((plugin_id, host), [Address(host)])

    def open_log(self, plugin_id: str) -> LogFiles:
        """No plugin of this engine prints anything."""
        raise NotImplementedError

    def render(self, manifest: Manifest, folder: Path) -> tuple[Manifest, Path]:
        """A program is its manifest and its folder."""
        return manifest, folder

    def read_published(self) -> Mapping[str, Path | None]:
        """The folders of what was published."""
        return {plugin_id: folder for plugin_id, (_, folder) in self.published.items()}

    def read_directories(self) -> Mapping[str, Path | None]:
        """The same: a program's folder is that which it works in."""
        return self.read_published()

    def is_published(self, program: tuple[Manifest, Path]) -> bool:
        """Whether a program was published last."""
        return self.published.get(program[0].id) == program

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins that are not published."""
        return [plugin_id for plugin_id in plugin_ids if plugin_id not in self.published]

    def publish(self, program: tuple[Manifest, Path]) -> None:
        """Keep a program."""
        if error := self.errors.get("publish"):
            raise type(error)(*error.args)
        self.published[program[0].id] = program

    def publish_starts(self, starts: Mapping[str, bool]) -> None:
        """Keep which plugins are started at boot."""
        if error := self.errors.get("publish_starts"):
            raise type(error)(*error.args)
        self.starts = dict(starts)

    async def add(self, plugin_id: str) -> None:
        """Add a plugin."""
        await self._do("add", plugin_id)
        self.set(plugin_id, ProcessState.STOPPED)

    async def start(self, plugin_id: str) -> Process:
        """Start a plugin, which is STARTING then."""
        await self._do("start", plugin_id)
        return self.set(plugin_id, ProcessState.STARTING, queued="")

    async def begin_stop(self, plugin_id: str) -> None:
        """Begin to stop a plugin, which is STOPPING then."""
        await self._do("begin_stop", plugin_id)
        process = self.get(plugin_id)
        if not process.is_alive and not process.queued:
            raise NotRunning("it is not running")
        self.set(plugin_id, ProcessState.STOPPING if process.is_alive else ProcessState.STOPPED, queued="")

    async def wait_stopped(self, plugin_id: str) -> Process:
        """Have a plugin be STOPPED."""
        await self._do("wait_stopped", plugin_id)
        return self.set(plugin_id, ProcessState.STOPPED)

    async def begin_restart(self, plugin_id: str) -> None:
        """Begin to restart a plugin."""
        await self._do("begin_restart", plugin_id)
        self.set(plugin_id, ProcessState.STOPPING, start_pending=True, queued="")

    async def wait_spawned(self, plugin_id: str) -> Process:
        """Have a plugin be STARTING, unless its start was given up or cancelled."""
        await self._do("wait_spawned", plugin_id)
        process = self.get(plugin_id)
        if process.state is ProcessState.FATAL:
            raise StartFailed(process.detail)
        if process.state is ProcessState.STOPPED and not process.start_pending:
            raise StartFailed("it was stopped while it was starting")
        return self.set(plugin_id, ProcessState.STARTING, start_pending=False)

    async def wait_running(self, plugin_id: str, timeout_seconds: float) -> Process:
        """Have a plugin be RUNNING, if there is time."""
        await self._do("wait_running", plugin_id)
        return self.set(plugin_id, ProcessState.RUNNING) if timeout_seconds > 0 else self.get(plugin_id)

    async def end(
        self, plugin_id: str, launches: int, reason: str, restart: Literal["always", "never", "policy"]
    ) -> None:
        """Begin to end a process, which is STOPPING then."""
        await self._do("end", plugin_id)
        if self.get(plugin_id).launches == launches and self.get(plugin_id).is_alive:
            self.ended.append((plugin_id, reason, restart))
            self.set(plugin_id, ProcessState.STOPPING)

    async def queue(self, plugin_ids: Sequence[str], restart: str = "") -> None:
        """Have starts wait; a plugin that is restarted is STOPPING then."""
        for plugin_id in dict.fromkeys([*plugin_ids, restart] if restart else plugin_ids):
            await self._do("queue", plugin_id)
            process = self.get(plugin_id)
            if process.is_alive and plugin_id == restart:
                self.set(plugin_id, ProcessState.STOPPING, queued="asked", start_pending=False)
            elif process.state not in (ProcessState.STARTING, ProcessState.RUNNING) and not process.start_pending:
                is_stopping = process.state is ProcessState.STOPPING
                self.set(plugin_id, ProcessState.STOPPING if is_stopping else ProcessState.STOPPED, queued="asked")

    async def fail(self, plugin_id: str, reason: str) -> None:
        """Give up a queued start."""
        await self._do("fail", plugin_id)
        if self.get(plugin_id).queued:
            self.set(plugin_id, ProcessState.FATAL, queued="", spawn_error=reason)

    async def remove(self, plugin_id: str) -> None:
        """Forget a plugin."""
        await self._do("remove", plugin_id)
        self.processes.pop(plugin_id, None)
        self.published.pop(plugin_id, None)

    async def execute(self, plugin_id: str, _launches: int, check: str, _timeout_seconds: float) -> Execution:
        """Run the command of a check, which ends as `executions` says."""
        await self._do("execute", plugin_id)
        return self.executions.get(check, Execution(code=0))

    async def open_worker(self, timeout_seconds: float) -> socket:
        """This engine has no workers."""
        raise OperationInterrupted(f"no worker lives for {timeout_seconds} seconds here")

    async def end_workers(self, connection: socket | None = None) -> None:
        """See `open_worker`."""
