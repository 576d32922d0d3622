"""Which plugins and operations a run has: all, or without some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.cast.authored import AUTHORED_PLUGINS, TARGETS
from tests.chaos.cast.hostile import HOSTILE_PLUGINS
from tests.chaos.cast.lifecycle import LIFECYCLE_PLUGINS
from tests.chaos.cast.plugins import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.chaos.cast.plugins import Behaviour

WEIGHTS = {
    "start": 26, "stop": 18, "reload": 12, "read": 6, "refresh": 4, "hang-up": 3,
    "ctl-start": 2, "ctl-stop": 2, "ctl-restart": 2, "ctl-update": 1,
    "kill": 6, "term": 3, "pause": 2, "continue": 2,
    "edit": 3, "break": 1, "repair": 3, "remove": 1, "add": 3,
    "kill-service": 1, "freeze": 1, "delete-run-folder": 1,
    "stop-dependents": 3, "rewire": 2,
    "disable": 1, "enable": 3, "break-store": 1,
    "save": 8, "change-key": 3, "command-disable": 1, "command-enable": 2,
}  # fmt: skip
"""How often each kind of operation is done, of the sum of all."""
OPTIONAL = (
    *HOSTILE_PLUGINS,
    "delete-run-folder",
    *LIFECYCLE_PLUGINS,
    "stop-dependents",
    "rewire",
    "disable",
    "enable",
    "break-store",
    *AUTHORED_PLUGINS,
    *TARGETS,
    "command-disable",
    "command-enable",
)
"""What `--without` may name. Without all of it a seed means the same as before it existed."""


@dataclass(frozen=True)
class Cast:
    """The plugins of a run, and the kinds of operations with their weights."""

    plugins: Mapping[str, Behaviour]
    weights: Mapping[str, int]


def choose_cast(without: Iterable[str] = ()) -> Cast:
    """Everything but what is named."""
    without = set(without)
    plugins = PLUGINS | HOSTILE_PLUGINS | LIFECYCLE_PLUGINS | AUTHORED_PLUGINS
    return Cast(
        {name: behaviour for name, behaviour in plugins.items() if name not in without},
        {kind: weight for kind, weight in WEIGHTS.items() if kind not in without},
    )
