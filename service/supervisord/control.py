"""Starting, stopping and swapping one program, with supervisord's traps in mind (DESIGN.md §5).

The errors' texts say why; who asked for it says what could not be done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.errors import AlreadyRunning, NotRunning, StartFailed, StopTimeout
from service.supervisord.client import Call, SupervisorClient
from service.supervisord.spawn import has_executed
from service.supervisord.states import NEVER_ADDED, Process, ProcessState, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KILL_GRACE_SECONDS = 5.0
"""How long a process may take to be gone after SIGKILL; the kernel may hold one that waits for a disk."""
_EXEC_TIMEOUT_SECONDS = 2.0
_BLIND_EXEC_SECONDS = 0.2  # where nobody tells when exec has happened: far longer than it takes


class ProgramControl:
    """Every method may raise `SupervisorUnavailable`."""

    def __init__(self, client: SupervisorClient) -> None:
        self._client = client

    async def settle(self, name: str, stopwaitsecs: int) -> Process | None:
        """The program when it is neither being stopped nor about to be started again; None: there is none.

        A process that has exited and will be started again is EXITED until supervisord's next round,
        and every call makes it go round once: who is EXITED twice in a row stays so.

        Raises:
            StopTimeout: it was being stopped, by whomever, and is still alive.
        """
        process = await self._client.get_process(name)
        if process is not None and process.state is ProcessState.STOPPING:
            process = await self.wait_until_gone(name, stopwaitsecs)
        if process is not None and process.state is ProcessState.EXITED:
            process = await self._client.get_process(name)
        return process

    async def send_stop(self, name: str) -> bool:
        """Signal a program to stop, so that it will not come back; returns False where it does not run."""
        while True:
            process = await self._client.get_process(name)
            if process is not None and process.state is ProcessState.EXITED:
                process = await self._client.get_process(name)  # see `settle`
            if process is None or process.state in _ENDED:
                return False
            if process.state is ProcessState.STOPPING:
                return True
            await _wait_for_exec(process)
            try:
                await self._client.stop_process(name)
            except NotRunning:
                continue  # it exited just now; supervisord may be about to start it again
            return True

    async def wait_until_gone(self, name: str, stopwaitsecs: int) -> Process:
        """Wait for the process of a program that is being stopped: SIGKILL comes after `stopwaitsecs`.

        Raises:
            StopTimeout
        """
        async for process in self._poll(name, stopwaitsecs + KILL_GRACE_SECONDS):
            if process.state is not ProcessState.STOPPING:
                return process
        raise StopTimeout(
            f"its process is still alive {KILL_GRACE_SECONDS:g} seconds after SIGKILL; the kernel may be "
            "waiting for a device; supervisord goes on killing it"
        )

    async def start(self, name: str, process: Process | None, is_new: bool) -> Process:
        """Start a program in one step that nothing comes between, and look at it once.

        Args:
            process: the program as it is, settled; None where supervisord does not have it.
            is_new: its section has changed, and supervisord has read that: swap the program first.

        Raises:
            AlreadyRunning: somebody else was faster.
            StartFailed: it could not be spawned, or has ended already.
            ConfigurationRejected
        """
        calls = []
        if process is not None and process.state is ProcessState.BACKOFF:
            calls.append(Call("supervisor.stopProcess", (name, False)))  # it becomes STOPPED at once
        if process is not None and is_new:
            calls.append(Call("supervisor.removeProcessGroup", (name,)))
        if process is None or is_new:
            calls.append(Call("supervisor.addProcessGroup", (name,)))
        *_, failure = await self._client.call_together(*calls, Call("supervisor.startProcess", (name, False)))
        after = await self.get(name)
        if isinstance(failure, StartFailed) or (failure is None and after.status is Status.ERROR):
            raise StartFailed(after.detail or str(failure))
        if isinstance(failure, AlreadyRunning):
            raise AlreadyRunning("somebody else has just started it")
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
        async for process in self._poll(name, timeout_seconds):
            if process.status is Status.ERROR:
                raise StartFailed(process.detail)
            if process.state in (ProcessState.STOPPED, ProcessState.STOPPING):
                raise StartFailed("it was stopped while it was starting")
            if process.state is not ProcessState.STARTING:
                break
        return process

    async def add_stopped(self, name: str) -> None:
        """Add a program that supervisord has read, so that it is STOPPED whatever its `autostart` says.

        A group that is added starts itself in supervisord's next round where `autostart` is true and it
        was never started before. So it is started here, and killed before anything can come between.
        The launch script must not be there yet: then not even a moment of the plugin is run.
        """
        await self._client.call_together(
            Call("supervisor.addProcessGroup", (name,)),
            Call("supervisor.startProcess", (name, False)),
            Call("supervisor.stopProcess", (name, False)),
            Call("supervisor.signalProcess", (name, "KILL")),
        )
        await self.wait_until_gone(name, 0)

    async def get(self, name: str) -> Process:
        """The program's process at this instant, whether supervisord has the program or not."""
        return await self._client.get_process(name) or NEVER_ADDED

    async def _poll(self, name: str, timeout_seconds: float) -> AsyncIterator[Process]:
        """Look at a process at short intervals, then at longer ones, and once more when the time is over.

        Every look makes supervisord go its round, in which it reaps; else it does so once a second.
        """
        loop = asyncio.get_running_loop()
        deadline, pause_seconds = loop.time() + timeout_seconds, 0.002
        while loop.time() < deadline:
            yield await self.get(name)
            await asyncio.sleep(min(pause_seconds, max(0, deadline - loop.time())))
            pause_seconds = min(pause_seconds * 1.5, 0.1)
        yield await self.get(name)


_ENDED = (ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL, ProcessState.UNKNOWN)


async def _wait_for_exec(process: Process) -> None:
    """Wait until a new process can be signalled: a SIGTERM between fork and exec would be lost."""
    if not process.is_alive or process.uptime_seconds > _EXEC_TIMEOUT_SECONDS:
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
