"""supervisord as an engine: one machine, and every plugin one of its programs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.engines.engine import EngineInfo, Execution
from plugvisor.engines.one_machine import OneMachine
from plugvisor.engines.process_reads import ProcessReads, check_started
from plugvisor.engines.supervisord.client import SupervisorClient
from plugvisor.engines.supervisord.faults import (
    NO_STREAM,
    RUN_FOLDER,
    ConfigurationRejected,
    ForeignProgram,
    NoSuchProgram,
    StillRunning,
)
from plugvisor.engines.supervisord.process_errors import KILL_GRACE_SECONDS, check_gone
from plugvisor.engines.supervisord.process_table import ProcessTable
from plugvisor.engines.supervisord.program import Program, render_program
from plugvisor.engines.supervisord.publisher import Publisher, find_roots
from plugvisor.engines.supervisord.workers import end_workers, open_worker
from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    NotRunning,
    StartFailed,
    StopTimeout,
    SupervisorUnavailable,
)
from plugvisor.models.manifest import ManifestError
from plugvisor.models.process import STARTED, Process, ProcessState
from plugvisor.ticks import sleep_until_tick

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from socket import socket
    from typing import Literal

    from plugvisor.models.manifest import Manifest
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

FOREIGN_PROGRAM = "supervisord has a program of this name that is no plugin; choose another id"
ORPHAN_SECONDS = 5.0
"""How long orphans may take to be gone: a second of it is for SIGTERM."""
CONNECT_SECONDS = 2.0
"""How long `open` waits for a supervisord that does not answer yet."""
DIAGNOSE_SECONDS = 1.0
"""How often to ask supervisord, while there is no state stream, why."""


class SupervisordEngine(ProcessReads, OneMachine):
    """See `plugvisor.engines.engine.Engine`, which says what each method does."""

    name = "supervisord"

    def __init__(self, settings: Settings) -> None:
        self.client = SupervisorClient(settings.supervisor_url)
        self.on_call = self.client.on_call
        self._settings = settings
        self._table = ProcessTable(str(settings.run_dir / "state.sock"))
        super().__init__(self._table, settings.log_dir)
        self._publisher = Publisher(settings.run_dir)
        self._diagnosis: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect to supervisord; go on without it if it cannot be reached."""
        await self._table.open(CONNECT_SECONDS)
        self._diagnosis = asyncio.create_task(self._diagnose())

    async def close(self) -> None:
        """Disconnect."""
        if self._diagnosis is not None:
            self._diagnosis.cancel()
            await asyncio.gather(self._diagnosis, return_exceptions=True)
        await self._table.close()
        await self.client.close()

    async def describe(self) -> EngineInfo:
        """Ask supervisord."""
        identity = await self.client.identify()
        return EngineInfo(self.name, identity.version, identity.pid, identity.state)

    # -- publishing; these read and write files

    def render(self, manifest: Manifest, directory: Path) -> Program:
        """Make a plugin's program."""
        if manifest.id in self._table.foreign:
            raise ManifestError(FOREIGN_PROGRAM)
        return render_program(manifest, directory, self._settings)

    def read_published(self) -> Mapping[str, Path | None]:
        """The folder that each published plugin came from."""
        return find_roots(self.read_directories())

    def read_directories(self) -> Mapping[str, Path | None]:
        """The folder that each published plugin's process works in."""
        try:
            self._publisher.report_foreign()
            return self._publisher.read_directories()
        except OSError as error:  # supervisord is restoring the run folder
            logger.warning("cannot read what is published: %s", error)
            return {}

    def is_published(self, program: Program) -> bool:
        """Whether a program is published as it is."""
        return self._publisher.is_published(program)

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins whose files are not there."""
        return self._publisher.find_missing(plugin_ids)

    def publish(self, program: Program) -> None:
        """Write a program's files."""
        try:
            self._publisher.write(program)
        except OSError as error:
            logger.error("cannot write the program of %r: %s", program.id, error)
            raise StartFailed(f"its program cannot be written: {error.strerror}; nothing was started") from error

    def publish_starts(self, starts: Mapping[str, bool]) -> None:
        """Write which plugins supervisord starts when it starts itself."""
        self._publisher.write_starts(starts)

    # -- changing

    async def add(self, plugin_id: str) -> None:
        """Make supervisord know a published program."""
        with self._explain(plugin_id):
            await self._change("plugins.add", plugin_id)

    async def start(self, plugin_id: str) -> Process:
        """Start a published program."""
        with self._explain(plugin_id):
            try:
                await self._change("plugins.start", plugin_id)
            except StartFailed as error:
                await self._change("plugins.sync")
                raise StartFailed(self.get(plugin_id).detail or "its process could not be started") from error
        return await self.wait_spawned(plugin_id)

    async def begin_stop(self, plugin_id: str) -> None:
        """Begin to stop a program."""
        with self._explain(plugin_id):
            await self._change("plugins.stop", plugin_id)

    async def wait_stopped(self, plugin_id: str) -> Process:
        """Wait until nothing of a program is alive, or somebody else has started it again."""
        seconds = self.get(plugin_id).stop_seconds + KILL_GRACE_SECONDS + ORPHAN_SECONDS
        process = await self._table.wait_for(
            plugin_id, lambda process: process.is_gone or process.state in STARTED, seconds
        )
        if process.state in STARTED or (process.queued and process.is_gone):
            return Process(ProcessState.STOPPED)  # as it was in between
        check_gone(process)
        return process

    async def begin_restart(self, plugin_id: str) -> None:
        """Begin to stop a program, if it runs, and have it started after that."""
        with self._explain(plugin_id):
            await self._change("plugins.restart", plugin_id)

    async def wait_spawned(self, plugin_id: str) -> Process:
        """Wait until a start that is pending has been made."""
        seconds = self.get(plugin_id).stop_seconds + KILL_GRACE_SECONDS + ORPHAN_SECONDS
        process = await self._table.wait_for(plugin_id, lambda process: not process.start_pending, seconds)
        if process.start_pending:
            check_gone(process)
        check_started(process)
        return process

    async def queue(self, plugin_ids: Sequence[str], restart: str = "") -> None:
        """Have the starts of published programs wait."""
        with self._explain():
            await self._change("plugins.queue", list(plugin_ids), restart)

    async def fail(self, plugin_id: str, reason: str) -> None:
        """Give up a queued start."""
        await self._change("plugins.fail", plugin_id, reason)

    async def end(
        self, plugin_id: str, launches: int, reason: str, restart: Literal["always", "never", "policy"]
    ) -> None:
        """Begin to end a process that does not work."""
        with self._explain(plugin_id):
            await self._change("plugins.end", plugin_id, launches, reason, restart)

    async def remove(self, plugin_id: str) -> None:
        """Remove a stopped program's files, and make supervisord forget it."""
        try:
            # first: a `supervisorctl update` in between would add the program again, and start it
            await asyncio.to_thread(self._publisher.remove, plugin_id)
        except OSError as error:
            logger.error("cannot remove the files of %r: %s", plugin_id, error)
            raise StartFailed(f"its files cannot be removed: {error.strerror}; refresh once more") from error
        try:
            await self._change("plugins.remove", plugin_id)
        except StillRunning as error:
            raise AlreadyRunning("somebody has started it again") from error
        except NoSuchProgram:
            pass

    async def execute(self, plugin_id: str, launches: int, check: str, timeout_seconds: float) -> Execution:
        """Run the command of a check."""
        begin = partial(self._change, "plugins.execute", plugin_id, launches, check, float(timeout_seconds))
        return await self._table.executions.run(begin, timeout_seconds + KILL_GRACE_SECONDS)

    async def open_worker(self, timeout_seconds: float) -> socket:
        """Have a worker of the install folder started."""
        return await open_worker(self.client, self._settings.run_dir, timeout_seconds)

    async def end_workers(self, connection: socket | None = None) -> None:
        """Have a worker that does not end killed, or all."""
        await end_workers(self.client, connection)

    async def _change(self, method: str, *parameters: str | float | list[str]) -> None:
        """Call a method of the extension; return when the process table shows what it has done."""
        self._table.read()  # raises at once while supervisord is silent, instead of after a timeout
        await self._table.reach(await self.client.call(method, *parameters))

    @contextlib.contextmanager
    def _explain(self, plugin_id: str = "") -> Iterator[None]:
        """supervisord's words name files and hold stack traces: they are for the log."""
        try:
            yield
        except AlreadyRunning as error:
            raise AlreadyRunning("it is running already") from error
        except NotRunning as error:
            raise NotRunning("it is not running") from error
        except StopTimeout as error:
            logger.error("supervisord cannot signal a process: %s", error)
            raise StopTimeout("supervisord cannot signal its process; the service's log says why") from error
        except ConfigurationRejected as error:
            logger.error("supervisord rejects a program: %s", error)
            raise StartFailed("supervisord rejects its program; the service's log has its words") from error
        except ForeignProgram as error:
            self._table.foreign.add(plugin_id or str(error).rpartition(": ")[2])  # the stream reports it in a moment
            raise InvalidManifest(FOREIGN_PROGRAM) from error

    async def _diagnose(self) -> None:
        """Find out, whenever there is no state stream, why; say so in the log, once, and to clients."""
        answered = 0  # in a row; the first time the stream may be about to connect
        while True:
            problem = None
            if self._table.is_live:
                answered = 0
            else:
                try:
                    await self.client.call("plugins.sync")
                except SupervisorUnavailable as error:
                    answered, problem = 0, str(error)
                else:
                    answered += 1
                    problem = NO_STREAM if answered > 1 and not self._table.is_connected else None
            if problem is not None and problem != self._table.problem:
                logger.error("%s", problem.replace(RUN_FOLDER, str(self._settings.run_dir)))
                self._table.problem = problem
            await sleep_until_tick(DIAGNOSE_SECONDS)
