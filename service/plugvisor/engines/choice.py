"""Which engine runs the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.engines.engine import Engine
    from plugvisor.models.manifest import Manifest
    from plugvisor.settings import Settings


def make_engine(settings: Settings) -> Engine:
    """The engine of the settings; what only the other one needs is not imported."""
    if settings.engine == "swarm":
        from plugvisor.engines.swarm.engine import SwarmEngine  # noqa: PLC0415 - it imports httpx

        return SwarmEngine(settings)
    from plugvisor.engines.supervisord.engine import SupervisordEngine  # noqa: PLC0415 - it imports supervisor

    return SupervisordEngine(settings)


def list_ignored(settings: Settings, manifest: Manifest) -> Sequence[str]:
    """Sentences about the keys of a manifest that have no effect with the engine of the settings; no engine is made."""
    if settings.engine == "swarm":
        from plugvisor.engines.swarm.services.options import list_differences  # noqa: PLC0415 - see above

        return list_differences(manifest)
    from plugvisor.engines import one_machine  # noqa: PLC0415

    return one_machine.list_ignored(manifest)
