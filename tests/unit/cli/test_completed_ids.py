"""The ids that a shell is offered."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.parsing.completion import complete_ids

if TYPE_CHECKING:
    from tests.helpers.scripted_server import ScriptedServer


def complete(server: ScriptedServer, body: bytes) -> list[str]:
    server.answers = [(200, body)]
    return complete_ids(Namespace(url=None, token=None))


def test_ids_that_would_control_a_terminal_are_left_out(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugvisor.cli.parsing.completion.LONGEST_SECONDS", 20.0)
    ids = ["web-1", "x\x1b]52;c;QQ==\x07", "x\ny", "x\u202e", {"id": "x"}, 7, None, "web-2"]
    plugins = [{"id": one} for one in ids]
    assert complete(server, json.dumps({"plugins": plugins}).encode()) == ["web-1", "web-2"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"plugins": [[]]}', b"[" * 100_000])
def test_an_answer_of_another_shape_offers_nothing(server: ScriptedServer, body: bytes) -> None:
    assert complete(server, body) == []
