"""The commands that are about supervisord, where there is none."""

from __future__ import annotations

import pytest
from plugvisor.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["ctl", "status"], "docker service ls --filter label=plugvisor.id"),
        (["run", "web"], "docker service logs plugvisor-ID"),
        (["render"], "POST /plugins/refresh"),
    ],
)
def test_a_command_of_one_machine_says_what_to_use_on_a_swarm(
    arguments: list[str], advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLUGVISOR_ENGINE", "swarm")
    assert main(arguments) == 2
    assert advice in capsys.readouterr().err
