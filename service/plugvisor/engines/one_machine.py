"""The part that engines which run plugins on this machine alone have in common."""

from __future__ import annotations

import os
import platform
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING

from plugvisor.engines.engine import Address
from plugvisor.models.cluster.node import Node
from plugvisor.models.lifecycle import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from plugvisor.engines.engine import Program
    from plugvisor.engines.kept_state import KeptState
    from plugvisor.models.manifest import Manifest
    from plugvisor.models.process import Process

_NOTHING: Mapping[str, str] = MappingProxyType({})


def list_ignored(manifest: Manifest) -> list[str]:
    """Sentences about the keys of a manifest that have no effect on one machine."""
    ignored = []
    if manifest.replicas > 1:
        ignored.append(f"`replicas` = {manifest.replicas} has no effect: one machine runs one process")
    if manifest.placement != Placement():
        ignored.append("[plugin_runtime.placement] has no effect: there is one machine")
    return ignored


class OneMachine:
    """See `plugvisor.engines.engine.Engine`, which says what each method does."""

    lacks = _NOTHING
    is_cluster = False
    kept_state: KeptState | None = None

    def read(self) -> Mapping[str, Process]:
        """Every process by its plugin's id."""
        raise NotImplementedError

    def list_nodes(self) -> Sequence[Node]:
        """This machine."""
        plugin_ids = sorted(name for name, process in self.read().items() if process.is_alive)
        name = platform.node() or "localhost"
        return [
            Node(
                id=name,
                name=name,
                state="ready",
                availability="active",
                role="manager",
                leader=True,
                cpus=os.cpu_count() or 1,
                memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                tasks=len(plugin_ids),
                plugins=tuple(plugin_ids),
            )
        ]

    @property
    def on_nodes(self) -> list[Callable[[], object]]:
        """Never called."""
        return []

    def list_ignored(self, manifest: Manifest) -> Sequence[str]:
        """Sentences about the keys that need several nodes."""
        return list_ignored(manifest)

    def locate(self, _plugin_id: str, host: str) -> Sequence[Address]:
        """The host itself."""
        return (Address(host),)

    async def bring_log(self, _plugin_id: str) -> None:
        """It is here."""

    def following_log(self, _plugin_id: str) -> AbstractAsyncContextManager[None]:
        """It is here."""
        return nullcontext()

    def list_awaited(self) -> Collection[str]:
        """None."""
        return ()

    async def bring_folders(self) -> Collection[str]:
        """None."""
        return ()

    async def boot(
        self, _programs: Sequence[Program], _starts: Callable[[str], bool], _queued: Collection[str]
    ) -> None:
        """The engine starts them itself."""
