"""What somebody has asked for who is not the service, as a label says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.engines.swarm.services import labels
from plugvisor.models.process import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_asked(found: Mapping[str, str]) -> Asked | None:
    """The last request that did not come from the service, by a plugin's labels; None if there was none."""
    at, _, wanted = found.get(labels.ASKED, "").partition(" ")
    try:
        seconds = float(at)
    except ValueError:
        return None
    if not 0 <= seconds <= 1e11 or wanted not in ("running", "stopped"):
        return None
    return Asked("running" if wanted == "running" else "stopped", at[:64], seconds)
