"""Changes what a plugin is started from, in its turn, and restarts it if it runs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.errors import AlreadyRunning, NotRunning, PluginDisabled, StartFailed
from plugvisor.manager.readiness import find_start_seconds
from plugvisor.manager.status import describe_disabled
from plugvisor.models.process import STARTED, ProcessState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.dependencies.starts import Starts
    from plugvisor.manager.operations import Operations
    from plugvisor.manager.readiness import Readiness

_STOPPED = (ProcessState.STOPPED, ProcessState.STOPPING)


class Replaced(NamedTuple):
    """A plugin's process at the moment of a replacement."""

    ran: bool
    """Whether it ran, or was about to start by itself."""
    is_started: bool
    """Whether it is started after the replacement."""
    launches: int = 0
    """The number of the process's launch."""


class Replacements:
    """Each method may raise the errors of a reload; their texts begin with "cannot <verb> '<plugin>': "."""

    def __init__(
        self, keeper: CatalogKeeper, engine: Engine, operations: Operations, starts: Starts, readiness: Readiness
    ) -> None:
        self._keeper = keeper
        self._engine = engine
        self._operations = operations
        self._starts = starts
        self._readiness = readiness

    async def replace(
        self, verb: str, plugin_id: str, swap: Callable[[Replaced], Awaitable[None]], by: str = ""
    ) -> Replaced:
        """Replace the version of a plugin; if it runs, restart it, and return when its new process was spawned.

        A disabled plugin is not started, and one that is stopped during the swap stays stopped. If this raises, the
        plugin may run or not; if `swap` has returned, call `restore`.

        Args:
            swap: makes the other version current; gets what will be done after it.
            by: the identity that has asked to start the plugin even if it does not run; empty: none.

        Raises:
            PluginDisabled: it is disabled and runs, so that it cannot be restarted; nothing was changed.
        """
        replaced: Replaced = await self._operations.run(verb, plugin_id, partial(self._replace, plugin_id, swap, by))
        return replaced

    async def restore(self, verb: str, plugin_id: str, swap: Callable[[], Awaitable[None]], replaced: Replaced) -> None:
        """Go back to the version before, after `replace` or the process that it started has failed.

        The plugin is started if it ran before and was not stopped since. A process that was never stopped goes on.

        Args:
            replaced: the argument of `swap` of `replace`.
        """
        await self._operations.run(verb, plugin_id, partial(self._restore, plugin_id, swap, replaced))

    async def start(self, plugin_id: str, by: str, *, is_new: bool = False) -> None:
        """Start a plugin unless it runs; return when it is ready, or queued behind its dependencies.

        Args:
            is_new: it was not installed until now. What runs is of before, and is restarted.
        """
        try:
            await self._operations.run("start", plugin_id, partial(self._starts.start, plugin_id, by))
        except AlreadyRunning:
            if is_new:
                await self._operations.run("start", plugin_id, partial(self._starts.reload, plugin_id, by))
        await self.wait_ready("start", plugin_id)

    async def wait_ready(self, verb: str, plugin_id: str) -> bool:
        """Wait until a plugin that was started is ready; returns False if it is queued, or was stopped meanwhile.

        Raises:
            StartFailed: it has ended, or is not ready in time.
        """
        try:
            return await self._operations.name_errors(verb, plugin_id, self._wait_ready(plugin_id))
        except StartFailed:
            if self._is_stopped(plugin_id):
                return False
            raise

    def note_kept(self, plugin_id: str) -> None:
        """A plugin was never restarted from the version that has now been gone back from."""
        self._keeper.note_launched(plugin_id)

    # -- in the plugin's turn

    async def _replace(
        self, plugin_id: str, swap: Callable[[Replaced], Awaitable[None]], by: str, accepted: asyncio.Event
    ) -> Replaced:
        ran = not (self._engine.get(plugin_id).is_at_rest or self._is_stopped(plugin_id))
        plugin = self._keeper.get(plugin_id)
        if plugin.disabled_by and ran:  # it would go on with what is removed later
            raise PluginDisabled(f"{describe_disabled(plugin)}, and runs all the same; stop it first")
        launches = self._engine.get(plugin_id).launches
        replaced = Replaced(ran, (ran or bool(by)) and not plugin.disabled_by, launches)
        await swap(replaced)
        if replaced.is_started and (by or not self._is_stopped(plugin_id)):
            await self._starts.reload(plugin_id, by, accepted)
        else:
            await self._publish(plugin_id)
        return replaced

    async def _restore(
        self, plugin_id: str, swap: Callable[[], Awaitable[None]], replaced: Replaced, accepted: asyncio.Event
    ) -> None:
        await swap()
        process = self._engine.get(plugin_id)  # now: somebody may have stopped it meanwhile
        goes_on = process.state in STARTED and process.launches == replaced.launches and not process.is_coming
        if replaced.ran and not (goes_on or self._is_stopped(plugin_id)):
            try:
                await self._starts.reload(plugin_id, "", accepted)
            except PluginDisabled:  # meanwhile
                await self._publish(plugin_id)
            return
        await self._publish(plugin_id)
        if not replaced.ran and not self._engine.get(plugin_id).is_at_rest:
            with suppress(NotRunning):
                await self._engine.begin_stop(plugin_id)
                await self._engine.wait_stopped(plugin_id)

    async def _publish(self, plugin_id: str) -> None:
        """Read a plugin again, and have the engine write what its next start uses."""
        await self._keeper.read([plugin_id])
        plugin = self._keeper.get(plugin_id)
        if plugin.program is not None:
            await self._keeper.publish([plugin])

    # -- parts

    async def _wait_ready(self, plugin_id: str) -> bool:
        if self._engine.get(plugin_id).queued:
            return False
        manifest = self._keeper.get_published(plugin_id)
        seconds = find_start_seconds(manifest)
        process = await self._readiness.wait(plugin_id, seconds, lambda: self._keeper.get_published(plugin_id))
        if process.is_starting or self._readiness.is_awaited(plugin_id, manifest):
            raise StartFailed(f"it is not ready after {seconds:.0f} seconds")
        return True

    def _is_stopped(self, plugin_id: str) -> bool:
        """Whether somebody has stopped it, and not started it again."""
        process = self._engine.get(plugin_id)
        return process.state in _STOPPED and not process.is_coming
