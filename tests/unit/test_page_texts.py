"""The page's texts: each in both languages, for every word that the service sends."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from plugvisor.api.http.static import PAGE_DIR
from plugvisor.api.operation_notes import find_verb
from plugvisor.api.routes import ROUTES
from plugvisor.models.lifecycle import LogOptions, Watch, WatchState

from tests.helpers.page import Appearance


def test_every_verb_of_the_journal_has_a_text() -> None:
    routes = {(route.method, route.path) for route in ROUTES if route.method in ("POST", "PUT", "DELETE")}
    verbs = {find_verb(method, path) for method, path in routes} | {"recover", "suspend", "resumed"}
    for verb in sorted(verbs):
        assert Appearance("zh").text(verb) != Appearance("en").text(verb), verb


@pytest.mark.parametrize("state", [*get_args(WatchState), "paused", "off"])
def test_every_state_of_the_watch_has_a_text(state: str) -> None:
    assert Appearance("zh").text(f"watch_{state}") != Appearance("en").text(f"watch_{state}")


def test_the_page_knows_what_a_manifest_leaves_out() -> None:
    script = (PAGE_DIR / "facts.js").read_text()
    found = re.search(r"LOGS = \{ max_size: (\d+) \* 2 \*\* 20, backups: (\d+) \}", script)
    assert found is not None
    assert LogOptions() == LogOptions(int(found[1]) * 2**20, int(found[2]))
    assert f"DEBOUNCE_SECONDS = {Watch().debounce};" in script
