"""`plugvisor health` in a container of a swarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugvisor.cli import health
from plugvisor.cli.main import main

if TYPE_CHECKING:
    from plugvisor.settings import Settings


@pytest.mark.parametrize(
    ("engine", "status", "exit_status"),
    [("swarm", 503, 0), ("swarm", 500, 1), ("supervisord", 503, 1), ("supervisord", 200, 0), ("swarm", 200, 0)],
)
def test_an_answer_is_enough_on_a_swarm(
    engine: str, status: int, exit_status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(_settings: Settings, _path: str) -> tuple[int, str]:
        return status, '{"detail": "no manager of the swarm answers"}'

    monkeypatch.setattr(health, "ask", ask)
    monkeypatch.setenv("PLUGVISOR_ENGINE", engine)
    assert main(["health"]) == exit_status
    if status != 200:
        printed = capsys.readouterr()
        assert "no manager of the swarm answers" in printed.out + printed.err
