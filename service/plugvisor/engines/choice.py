"""Which engine runs the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.settings import Settings


def make_engine(settings: Settings) -> Engine:
    """The engine of the settings; what only the other one needs is not imported."""
    if settings.engine == "swarm":
        from plugvisor.engines.swarm.engine import SwarmEngine  # noqa: PLC0415 - it imports httpx

        return SwarmEngine(settings)
    from plugvisor.engines.supervisord.engine import SupervisordEngine  # noqa: PLC0415 - it imports supervisor

    return SupervisordEngine(settings)
