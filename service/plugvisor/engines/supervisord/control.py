"""Starting, stopping and swapping one program, with supervisord's traps in mind (DESIGN.md §5).

The errors' texts say why; who asked for it says what could not be done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.client import Call, SupervisorClient, to_process
from plugvisor.engines.supervisord.extension.orphans import Census, Ending, Member
from plugvisor.engines.supervisord.faults import NoExtension, NoSuchProgram, StillRunning
from plugvisor.engines.supervisord.system import has_executed
from plugvisor.errors import AlreadyRunning, NotRunning, StartFailed, StopTimeout
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState, Status

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.supervisord.process_table import ProcessTable

logger = logging.getLogger(__name__)

KILL_GRACE_SECONDS = 5.0
"""How long a process may take to be gone after SIGKILL; the kernel may hold one that waits for a disk."""
SWEEP_SECONDS = 5.0
"""How long what a plugin has left behind may take to be gone: a second of it is for SIGTERM."""
_EXEC_TIMEOUT_SECONDS = 2.0
_MOST_ADDING_ROUNDS = 20
_BLIND_EXEC_SECONDS = 0.2  # where nobody tells when exec has happened: far longer than it takes


@dataclass(frozen=True)
class StopOptions:
    """Of a program's options, as they were published, those that matter for its end."""

    autorestart: str = "unexpected"
    stopsignal: str = "TERM"
    stopwaitsecs: int = 10

    def restarts(self, process: Process) -> bool:
        """Whether supervisord starts a process that has exited again (`Subprocess.transition`)."""
        return self.autorestart == "true" or (self.autorestart == "unexpected" and process.exited_unexpectedly)


class ProgramControl:
    """With the extension each step is one call and its effect is awaited on the process table; without, the steps are
    stock supervisord's and the process table polls. Every method may raise `SupervisorUnavailable`.
    """

    def __init__(self, client: SupervisorClient, process_table: ProcessTable, run_dir: Path) -> None:
        self._client = client
        self._process_table = process_table
        self._run_dir = str(run_dir)

    async def send_stop(self, name: str, options: StopOptions) -> bool:
        """Make a program stop, so that it will not come back; returns False where it does not run.

        Afterwards it is STOPPING, or STOPPED already.
        """
        while True:
            process = await self._client.get_process(name)
            if process is None or process.state in (ProcessState.STOPPED, ProcessState.FATAL, ProcessState.UNKNOWN):
                return False
            if process.state is ProcessState.STOPPING:
                return True
            if process.state is ProcessState.EXITED:
                if not options.restarts(process):
                    return False
                if await self._stop_restarting(name, options):
                    return True
                continue  # supervisord was faster and has started it again
            await _wait_for_exec(process)
            failure = await self._stop_after_exec(name, options, process.pid)
            if isinstance(failure, NotRunning | NoSuchProgram):
                continue  # it exited just now, or somebody removed it
            if failure is not None:
                raise failure
            return True

    async def _stop_after_exec(
        self, name: str, options: StopOptions, executed_pid: int | None, *before: Call
    ) -> Exception | None:
        """Stop a process; returns what stopProcess raised.

        Args:
            executed_pid: the process that is known to be past exec; supervisord may have another one by now.
            before: calls to be made in the same step.
        """
        stop, look = Call("supervisor.stopProcess", (name, False)), Call("supervisor.getProcessInfo", (name,))
        *_, failure, info = await self._call(*before, stop, look)
        if isinstance(failure, Exception) or isinstance(info, Exception):
            return failure if isinstance(failure, Exception) else None
        process = to_process(info)
        if process.state is ProcessState.STOPPING and process.pid != executed_pid:
            # the signal came before exec and is lost, unless the process has ended by itself meanwhile
            await _wait_for_exec(process)
            await self._call(Call("supervisor.signalProcess", (name, options.stopsignal)))
        return None

    async def _stop_restarting(self, name: str, options: StopOptions) -> bool:
        """Stop a program that has exited and that supervisord will start again in its next round.

        stopProcess answers NOT_RUNNING until then, and a program that lives for a moment only is never seen
        alive: the extension makes it STOPPED as it is; else it is started and stopped in one step.
        """
        if self._process_table.is_live:
            [settled] = await self._call(Call("plugins.settle", (name,)))
            return settled is True
        start = Call("supervisor.startProcess", (name, False))
        return await self._stop_after_exec(name, options, None, start) is None

    async def wait_until_gone(self, name: str, stopwaitsecs: int) -> Process:
        """Wait for the process of a program that is being stopped: SIGKILL comes after `stopwaitsecs`.

        Raises:
            StopTimeout
        """
        async for process in self._process_table.watch(name, stopwaitsecs + KILL_GRACE_SECONDS):
            if process is None or process.state is not ProcessState.STOPPING:
                return process or NEVER_ADDED
        raise StopTimeout(
            f"its process is still alive {KILL_GRACE_SECONDS:g} seconds after SIGKILL; the kernel may be "
            "waiting for a device; supervisord goes on killing it"
        )

    async def sweep(self, name: str) -> bool:
        """Wait until nothing is left of a program's earlier processes, their children included.

        The extension ends it by itself; with a stock supervisord it is done here.

        Returns:
            whether anything had to be ended here.

        Raises:
            StopTimeout
        """
        loop = asyncio.get_running_loop()
        deadline, pause_seconds, ending = loop.time() + SWEEP_SECONDS, 0.002, Ending()
        while await self._has_strays(name, ending):
            if loop.time() > deadline:
                raise StopTimeout(
                    "a process that it has left behind is still alive after SIGKILL; the kernel may be waiting for a "
                    "device"
                )
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, 0.1)
        if ending.ended:
            logger.info("ended what %r had left behind: %s", name, ending)
        return bool(ending.ended)

    async def sweep_all(self) -> None:
        """With a stock supervisord, end what is left of every program's earlier processes."""
        with contextlib.suppress(NoExtension):
            await self._client.is_swept("")
            return
        members = await asyncio.to_thread(Census(self._run_dir).take_now)
        for name in sorted({member.plugin_id for member in members}):
            await self.sweep(name)

    async def _has_strays(self, name: str, ending: Ending) -> bool:
        """Whether something is left of earlier processes; with a stock supervisord it gets its next signal."""
        try:
            return not await self._client.is_swept(name)
        except NoExtension:
            members = await asyncio.to_thread(self._find_members, name)
        if not members:
            return False
        # asked after they were found: whoever does not come from this process came from an earlier one
        process = await self._client.get_process(name) or NEVER_ADDED
        strays = [member for member in members if member.main_pid != process.pid]
        ending.press(strays)
        return bool(strays)

    def _find_members(self, name: str) -> list[Member]:
        return [member for member in Census(self._run_dir).take_now() if member.plugin_id == name]

    async def start(self, name: str, process: Process | None, is_new: bool) -> Process:
        """Start a program in one step that nothing comes between, and look at it once.

        Args:
            process: the program as it is, ended for good; None where supervisord does not have it.
            is_new: its section has changed, and supervisord has read that: swap the program first.

        Raises:
            AlreadyRunning: somebody else was faster.
            StartFailed: it could not be spawned, or has ended already.
            ConfigurationRejected
        """
        if not self._process_table.is_live:
            await self.sweep(name)  # the extension does it by itself, at every start
        calls = []
        if (process is None or is_new) and self._process_table.is_live:
            try:
                await self._client.replace_program(name)
            except StillRunning as error:
                raise AlreadyRunning("somebody else has just started it") from error
        elif process is None or is_new:
            if process is not None:
                calls.append(Call("supervisor.removeProcessGroup", (name,)))
            calls.append(Call("supervisor.addProcessGroup", (name,)))
        *_, failure = await self._call(*calls, Call("supervisor.startProcess", (name, False)))
        failure = failure if isinstance(failure, Exception) else None
        after = await self.get(name)
        if isinstance(failure, StartFailed) or (failure is None and after.status is Status.ERROR):
            raise StartFailed(after.detail or str(failure))
        if isinstance(failure, AlreadyRunning):
            raise AlreadyRunning("somebody else has just started it")
        if isinstance(failure, NoSuchProgram):
            raise StartFailed("somebody else has just removed it from supervisord")
        if failure is not None:
            raise failure
        if after.state in (ProcessState.STOPPED, ProcessState.STOPPING):
            raise StartFailed("somebody else has just stopped it")
        return after

    async def watch_start(self, name: str, timeout_seconds: float) -> Process:
        """Wait for a program that is STARTING to be something else; it may still be, when the time is over.

        Raises:
            StartFailed: it ended, or was stopped meanwhile.
        """
        process = NEVER_ADDED
        async for seen in self._process_table.watch(name, timeout_seconds):
            process = seen or NEVER_ADDED
            if process.status is Status.ERROR:
                raise StartFailed(process.detail)
            if process.state in (ProcessState.STOPPED, ProcessState.STOPPING):
                raise StartFailed("it was stopped while it was starting")
            if process.state is not ProcessState.STARTING:
                break
        return process

    async def add_stopped(self, name: str) -> None:
        """Add a program that a stock supervisord has read, so that it is STOPPED whatever its `autostart` says.

        A group that is added starts itself in supervisord's next round where `autostart` is true and it
        was never started before. So it is started here, and killed before anything can come between. The
        launch script must be an idle one: then the process can do nothing but end, which it may do before
        it is killed, and then supervisord may try again; so it is done until it holds.
        """
        for _ in range(_MOST_ADDING_ROUNDS):
            await self._call(
                Call("supervisor.addProcessGroup", (name,)),
                Call("supervisor.startProcess", (name, False)),
                Call("supervisor.stopProcess", (name, False)),
                Call("supervisor.signalProcess", (name, "KILL")),
            )
            process = await self.wait_until_gone(name, 0)
            if process.state is ProcessState.STOPPED:
                return
        raise StartFailed("supervisord goes on starting its program while it is being added")

    async def remove(self, name: str) -> None:
        """Have supervisord forget a program that is stopped; raises `StillRunning`."""
        with contextlib.suppress(NoSuchProgram):
            if self._process_table.is_live:
                await self._client.remove_program(name)
            else:
                await self._client.remove_group(name)

    async def get(self, name: str) -> Process:
        """The program's process at this instant, whether supervisord has the program or not."""
        return await self._process_table.get(name) or NEVER_ADDED

    async def _call(self, *calls: Call) -> list[Any]:
        """Make calls together; with the extension, return when the process table shows what they have done."""
        if not self._process_table.is_live:
            return await self._client.call_together(*calls)
        *results, sequence = await self._client.call_together(*calls, Call("plugins.sync"))
        if isinstance(sequence, int):
            await self._process_table.reach(sequence)
        return results


async def _wait_for_exec(process: Process) -> None:
    """Wait until a new process can be signalled: a SIGTERM between fork and exec would be lost."""
    if not process.is_alive or process.uptime_seconds(time.monotonic()) > _EXEC_TIMEOUT_SECONDS:
        return
    executed = has_executed(process.pid)
    if executed is None:
        await asyncio.sleep(_BLIND_EXEC_SECONDS)
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _EXEC_TIMEOUT_SECONDS
    while not executed and loop.time() < deadline:
        await asyncio.sleep(0.001)
        executed = has_executed(process.pid)
