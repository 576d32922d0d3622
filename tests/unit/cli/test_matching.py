"""Which plugins the words of a command line mean."""

from __future__ import annotations

import pytest
from plugvisor.cli.plugins.matching import match_ids
from plugvisor.errors import CommandRejected

KNOWN = ["api", "web-1", "web-2", "Worker"]


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (["api"], ["api"]),
        (["web-2", "api", "web-2"], ["api", "web-2"]),
        (["web-*"], ["web-1", "web-2"]),
        (["*"], KNOWN),
        (["web-?", "web-1"], ["web-1", "web-2"]),
        (["*-1", "A*", "api"], None),
        ([], []),
    ],
)
def test_ids_in_the_order_of_the_list_each_once(patterns: list[str], ids: list[str] | None) -> None:
    if ids is None:
        with pytest.raises(CommandRejected, match=r"^no plugin fits 'A\*'; `plugvisor ls` lists them$"):
            match_ids(patterns, KNOWN)
    else:
        assert match_ids(patterns, KNOWN) == ids


@pytest.mark.parametrize(
    ("misspelt", "words"),
    [
        ("web-11", "there is no plugin 'web-11'; did you mean 'web-1'? `plugvisor refresh` finds new ones"),
        ("worker", "there is no plugin 'worker'; did you mean 'Worker'? `plugvisor refresh` finds new ones"),
        ("[aw]pi", "there is no plugin '[aw]pi'; did you mean 'api'? `plugvisor refresh` finds new ones"),
        ("\x1b[2J", "there is no plugin '\\x1b[2J'; `plugvisor ls` lists them, `plugvisor refresh` finds new ones"),
        ("", "there is no plugin ''; `plugvisor ls` lists them, `plugvisor refresh` finds new ones"),
    ],
)
def test_an_unknown_id(misspelt: str, words: str) -> None:
    with pytest.raises(CommandRejected) as caught:
        match_ids(["api", misspelt], KNOWN)
    assert (str(caught.value), caught.value.status) == (words, 404)
