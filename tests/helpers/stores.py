"""Stores for tests that need none: one that was never opened."""

from __future__ import annotations

from pathlib import Path

from plugvisor.admin_code import AdminCode
from plugvisor.manager.identities.identities import Identities
from plugvisor.manager.intents.intents import Intents
from plugvisor.store.store import Store


def make_intents() -> Intents:
    """Intents that are kept in memory alone."""
    return Intents(Store(Path("/nonexistent")), remembers=True)


def make_identities(code: str) -> Identities:
    """The identity `admin` alone."""
    return Identities(Store(Path("/nonexistent")), AdminCode(code))
