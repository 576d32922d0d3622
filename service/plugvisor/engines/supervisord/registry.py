"""What is published and what supervisord runs: making the second the first, one program at a time.

The errors' texts say why; who asked for it says what could not be done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.control import StopOptions
from plugvisor.engines.supervisord.faults import ConfigurationRejected, StillRunning
from plugvisor.engines.supervisord.publisher import Publisher, Stamp
from plugvisor.errors import StartFailed, StopTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plugvisor.engines.supervisord.client import ConfigurationDifference, SupervisorClient
    from plugvisor.engines.supervisord.control import ProgramControl
    from plugvisor.engines.supervisord.process_table import ProcessTable
    from plugvisor.engines.supervisord.program import Program
    from plugvisor.models.process import Process

logger = logging.getLogger(__name__)

FOREIGN_PROGRAM = "supervisord has a program of this name that is no plugin; choose another id"


class Registry:
    """Every method may raise `SupervisorUnavailable`, and what it needs of a disk `OSError`."""

    def __init__(
        self, run_dir: Path, client: SupervisorClient, process_table: ProcessTable, control: ProgramControl
    ) -> None:
        self._client = client
        self._process_table = process_table
        self._control = control
        self._publisher = Publisher(run_dir)
        # Stamps of the published sections that supervisord is known to run. Empty at first: what was
        # published before this process began may have been applied or not. An operator's `render` and
        # `update` write and apply files as well, which makes other stamps.
        self._applied: dict[str, Stamp] = {}

    async def read_folders(self) -> dict[str, Path | None]:
        """The folder that each published plugin came from."""
        return await asyncio.to_thread(self._publisher.read_folders)

    async def read_stop_options(self, plugin_id: str) -> StopOptions:
        """How a plugin ends that runs as it is published; a newer manifest may say otherwise."""
        published = await asyncio.to_thread(self._publisher.read_options, plugin_id)
        return StopOptions(
            autorestart=published.get("autorestart", StopOptions.autorestart),
            stopsignal=published.get("stopsignal", StopOptions.stopsignal),
            stopwaitsecs=int(published.get("stopwaitsecs", StopOptions.stopwaitsecs)),
        )

    async def add(self, programs: list[Program]) -> None:
        """Make supervisord know new programs; none of them is started."""
        if not programs:
            return
        if self._process_table.is_live:
            for program in programs:
                with naming("add", program.id):
                    await self._write(self._publisher.write_launch_script, program)
                    await self._write(self._publisher.write_section, program)
                    await self._client.replace_program(program.id)
                await self._note_applied(program.id)
            return
        for program in programs:
            with naming("add", program.id):
                await self._write(self._publisher.write_idle_script, program)
                await self._write(self._publisher.write_section, program)
        difference = await self._reread()
        for program in programs:
            with naming("add", program.id):
                if program.id in difference.added:
                    await self._control.add_stopped(program.id)
                    await self._note_applied(program.id)
                await self._write(self._publisher.write_launch_script, program)

    async def remove(self, plugin_id: str) -> None:
        """Make supervisord forget a plugin that is stopped, and remove its files.

        Raises:
            StopTimeout: it runs again.
        """
        try:
            await self._control.remove(plugin_id)
        except StillRunning as error:
            raise StopTimeout("somebody has just started it again; refresh once more") from error
        await asyncio.to_thread(self._publisher.remove, plugin_id)
        self._applied.pop(plugin_id, None)

    async def publish(self, program: Program, process: Process | None) -> bool:
        """Write a program's files; returns whether supervisord has yet to take its section over."""
        if process is not None and not await asyncio.to_thread(self._publisher.is_published, program.id):
            raise StartFailed(FOREIGN_PROGRAM)
        await self._write(self._publisher.write_launch_script, program)
        await self._write(self._publisher.write_section, program)
        if process is not None and await self._is_applied(program.id):
            return False
        if self._process_table.is_live:
            return True  # the extension takes over one program; nothing else need be read
        await self._reread()
        return process is None or not await self._is_applied(program.id)

    async def start(self, program: Program, process: Process | None, is_new: bool) -> Process:
        """Start a program that was published; `is_new` is what `publish` said. Raises as `ProgramControl.start`."""
        with _explaining_rejections():
            started = await self._control.start(program.id, process, is_new)
        if is_new:
            await self._note_applied(program.id)
        return started

    async def _is_applied(self, plugin_id: str) -> bool:
        stamp = self._applied.get(plugin_id)
        return stamp is not None and stamp == await asyncio.to_thread(self._publisher.read_stamp, plugin_id)

    async def _note_applied(self, plugin_id: str) -> None:
        stamp = await asyncio.to_thread(self._publisher.read_stamp, plugin_id)
        if stamp is not None:
            self._applied[plugin_id] = stamp

    async def _reread(self) -> ConfigurationDifference:
        """Have a stock supervisord read what is published, and learn which of it is not yet applied."""
        before = {} if self._applied else await asyncio.to_thread(self._publisher.read_stamps)
        with _explaining_rejections():
            difference = await self._client.reread_configuration()
        # Not sooner: meanwhile others ask what is applied, and have perhaps just written it.
        self._applied |= before
        for plugin_id in difference.added | difference.changed:
            self._applied.pop(plugin_id, None)
        return difference

    async def _write(self, write: Callable[[Program], None], program: Program) -> None:
        try:
            await asyncio.to_thread(write, program)
        except OSError as error:
            logger.error("cannot write the program of %r: %s", program.id, error)
            raise StartFailed(f"its program cannot be written: {error.strerror}; nothing was started") from error


@contextlib.contextmanager
def _explaining_rejections() -> Iterator[None]:
    """supervisord's words about its configuration name files: they are for the log."""
    try:
        yield
    except ConfigurationRejected as error:
        logger.error("supervisord refuses its configuration: %s", error)
        raise StartFailed("supervisord refuses its configuration; the service's log has its words") from error


@contextlib.contextmanager
def naming(verb: str, plugin_id: str) -> Iterator[None]:
    """Say which plugin could not be started, outside an operation of its own."""
    try:
        with _explaining_rejections():
            yield
    except StartFailed as error:
        raise StartFailed(f"cannot {verb} {plugin_id!r}: {error}") from error
