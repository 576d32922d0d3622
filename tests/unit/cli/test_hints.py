"""What an error suggests, as a command."""

from __future__ import annotations

import pytest
from plugvisor.cli.connection.hints import name_commands
from plugvisor.errors import PluginNotFound


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            str(PluginNotFound("web")),
            "there is no plugin 'web'; `plugvisor ls` lists them, `plugvisor refresh` finds new ones",
        ),
        (
            "cannot start 'web': it was disabled by 'ops'; POST /plugin/web/enable lifts that",
            "cannot start 'web': it was disabled by 'ops'; `plugvisor enable web` lifts that",
        ),
        (
            "'admin' cannot be removed; POST /identities/admin/rotate makes another code",
            "'admin' cannot be removed; `plugvisor identity rotate admin` makes another code",
        ),
        (
            "there is no identity 'x'; GET /identities lists them",
            "there is no identity 'x'; `plugvisor identity list` lists them",
        ),
        ("answered 503 to GET /plugins", "answered 503 to GET /plugins"),
    ],
)
def test_requests_are_replaced_by_commands(words: str, shown: str) -> None:
    assert name_commands(words) == shown
