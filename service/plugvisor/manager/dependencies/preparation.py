"""Reads and publishes a plugin for its start, and finds out what has to be started before it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import DependencyFailed
from plugvisor.manager.dependencies.conditions import Verdict
from plugvisor.models.process import NEVER_ADDED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.dependencies.conditions import Conditions
    from plugvisor.models.lifecycle import Requirement
    from plugvisor.models.process import Process


class Preparation:
    """Prepares starts; what cannot be had is known before anything is changed."""

    def __init__(self, keeper: CatalogKeeper, engine: Engine, conditions: Conditions) -> None:
        self._keeper = keeper
        self._engine = engine
        self._conditions = conditions

    async def prepare(self, plugin_id: str, awaited: Collection[str] = (), *, is_asked: bool = False) -> list[str]:
        """Read a plugin's manifest as it is now, and have the engine write what its next start uses.

        Args:
            awaited: dependencies that were started for it already; one that was stopped since is a failure.
            is_asked: somebody asks for it now; what waits since the boot for a plugin that was stopped goes on, too.

        Returns:
            nothing if it can be started; else itself and every plugin that has to be started first.

        Raises:
            PluginNotFound, InvalidManifest, PluginDisabled, StartFailed
            DependencyFailed: nothing was published.
        """
        plugin = await self._keeper.read_startable(plugin_id)
        requirements = plugin.manifest.depends_on if plugin.manifest is not None else {}
        if not requirements:
            return []
        to_start = await self._find_to_start(plugin_id, requirements, awaited, is_asked=is_asked)
        known = self._engine.read()
        # the others publish themselves when their turn has come
        unknown = [self._keeper.get(name) for name in to_start if name not in known]
        await self._keeper.publish([plugin, *unknown])
        if all(need.verdict is Verdict.MET for need in self._conditions.judge(requirements)):
            return []
        return [*to_start, plugin_id]

    async def queue(self, plugin_ids: Sequence[str], restart: str = "") -> Process:
        """Queue what `prepare` has returned; returns the process of the last."""
        with self._conditions.expect(plugin_ids):
            await self._engine.queue(plugin_ids, restart)
        return self._engine.get(plugin_ids[-1])

    async def _find_to_start(
        self, plugin_id: str, requirements: Mapping[str, Requirement], awaited: Collection[str], *, is_asked: bool
    ) -> list[str]:
        """The plugins that a plugin needs, directly or not, and that nobody has started."""
        list_to_start = partial(self._conditions.list_to_start, includes_queued=is_asked)
        found: dict[str, str] = {}
        self._conditions.check({name: requirements[name] for name in awaited if name in requirements})
        level = {name: plugin_id for name in list_to_start(requirements) if name not in awaited}
        while level:
            await self._keeper.read(level)
            following: dict[str, str] = {}
            for name, dependent in level.items():
                plugin = self._keeper.catalog.get(name)
                if plugin is None or not plugin.enabled or plugin.manifest is None:
                    reason = self._conditions.explain_failure(name)
                    if dependent == plugin_id:
                        raise DependencyFailed(f"its dependency {name!r} {reason}", name)
                    raise DependencyFailed(f"its dependency {dependent!r} depends on {name!r}, which {reason}", name)
                found[name] = dependent
                following |= dict.fromkeys(list_to_start(plugin.manifest.depends_on), name)
            level = {name: dependent for name, dependent in following.items() if name not in found}
        processes = self._engine.read()
        return [name for name in found if processes.get(name, NEVER_ADDED).queued != "asked"]
