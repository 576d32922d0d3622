"""Which plugins require which, by what was written into their manifests."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.chaos.cast.plugins import Behaviour

REREAD_SECONDS = 20.0
"""How long after it was written a manifest may decide a start: the start may have waited since then."""


class Requirements:
    """Every method may be called by any thread."""

    def __init__(self, plugins: Mapping[str, Behaviour]) -> None:
        self._next = {
            name: {one for one in (*behaviour.requires, *behaviour.may_require) if one in plugins}
            for name, behaviour in plugins.items()
        }
        self.closures = {name: self._close(name) for name in plugins}
        """All that a start of each plugin may start: what it requires, what those require, and so on."""
        self.dependents = {
            name: {other for other, closure in self.closures.items() if name in closure} for name in plugins
        }
        """The plugins that may require each, directly or not."""
        self._written: dict[str, list[tuple[float, Mapping[str, str]]]] = {name: [] for name in plugins}
        self._overrides: dict[str, list[tuple[float, float]]] = {name: [] for name in plugins}

    def note_written(self, name: str, requires: Mapping[str, str]) -> None:
        """A manifest was written that requires these plugins, with these conditions."""
        self._written[name].append((time.time(), requires))

    def list_certain(self, name: str, at: float) -> dict[str, str]:
        """What a plugin that was started at that time certainly required, whichever manifest decided the start."""
        written = self._written[name]
        current = [number for number, (since, _) in enumerate(written) if since < at - REREAD_SECONDS]
        manifests = [requires for since, requires in written[current[-1] if current else 0 :] if since <= at]
        if not manifests:
            return {}
        return {
            one: condition
            for one, condition in manifests[0].items()
            if all(requires.get(one) == condition for requires in manifests)
        }

    @contextlib.contextmanager
    def overriding(self, *names: str) -> Iterator[None]:
        """While supervisorctl may start these, whatever they require."""
        began = time.time()
        try:
            yield
        finally:
            for name in names:
                self._overrides[name].append((began, time.time()))

    def was_overridden(self, name: str, at: float, tolerance_seconds: float) -> bool:
        """Whether supervisorctl may have started it at that time."""
        return any(began <= at <= ended + tolerance_seconds for began, ended in self._overrides[name])

    def _close(self, name: str) -> set[str]:
        found: set[str] = set()
        left = [name]
        while left:
            new = self._next[left.pop()] - found
            found |= new
            left += new
        return found - {name}
