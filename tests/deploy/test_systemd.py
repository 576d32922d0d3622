"""The unit for systemd, as systemd's own tools see it; tests/deploy/boot-vm runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = ROOT / "deploy" / "systemd" / "plugvisor.service"
USERS_UNIT = ROOT / "deploy" / "systemd" / "user" / "plugvisor.service"
MOST_EXPOSURE = 4.0


@pytest.fixture
def analyze(tmp_path: Path) -> Callable[..., str]:
    """Runs systemd-analyze on the unit, whose commands are those of this environment; returns all that it prints."""

    def analyze(*arguments: str, unit: Path = UNIT, more: str = "") -> str:
        installed = str(Path(sys.executable).parent)
        text = re.sub("=(/opt/plugvisor|%h/plugvisor/.venv)/bin/", f"={installed}/", unit.read_text())
        (tmp_path / UNIT.name).write_text(text + more)
        finished = subprocess.run(
            [find_program("systemd-analyze", DEPLOY), *arguments, str(tmp_path / UNIT.name)],
            env={"PATH": "/usr/bin:/bin", "SYSTEMD_COLORS": "0", "XDG_RUNTIME_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return finished.stdout

    return analyze


def test_systemd_has_nothing_to_say_about_it(analyze: Callable[..., str]) -> None:
    assert analyze("verify") == ""
    assert "Unknown key" in analyze("verify", more="[Service]\nDelegat=yes\n")


def test_a_users_own_unit(analyze: Callable[..., str]) -> None:
    assert analyze("verify", "--user", unit=USERS_UNIT) == ""
    assert "Unknown key" in analyze("verify", "--user", unit=USERS_UNIT, more="[Service]\nDelegat=yes\n")


def test_its_exposure_is_low(analyze: Callable[..., str]) -> None:
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true"))
    assert found
    assert float(found[1]) < MOST_EXPOSURE


def test_it_has_the_folders_of_two_users() -> None:
    """systemd changes the owner of everything in a folder at each start if the folder's is not as it expects."""
    unit = UNIT.read_text().splitlines()
    for line in ("User=root", "Group=plugvisor", "RuntimeDirectoryMode=0711", "LogsDirectoryMode=2750"):
        assert line in unit
    for line in ("StateDirectoryMode=2770", "Delegate=yes", "KillMode=mixed", "NotifyAccess=main"):
        assert line in unit
