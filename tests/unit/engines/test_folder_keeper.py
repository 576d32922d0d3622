"""How supervisord looks after the run folder; `tests/stack/test_emptied_run_folder.py` shows that it is restored."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from plugvisor.engines.supervisord.extension import folder_keeper
from plugvisor.engines.supervisord.extension.folder_keeper import FolderKeeper
from plugvisor.engines.supervisord.extension.folders import open_folder
from supervisor.states import SupervisorStates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Setup:
    """A keeper of a folder, and what it opens."""

    def __init__(self, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.problems: list[str] = []
        self.opened: list[str] = []
        options = SimpleNamespace(
            mood=SupervisorStates.RUNNING,
            childlogdir=str(run_dir / "log"),
            httpservers=[],
            pidfile=str(run_dir / "supervisord.pid"),
            logger=SimpleNamespace(critical=self.problems.append),
        )
        stream = SimpleNamespace(path=str(run_dir), listen_again=lambda: None)
        self.keeper = FolderKeeper(SimpleNamespace(options=options), str(run_dir), cast("Any", stream), None)
        monkeypatch.setattr(folder_keeper, "CHECK_SECONDS", 0.0)
        monkeypatch.setattr(folder_keeper, "open_folder", self._open_folder)

    def look(self) -> list[str]:
        """Look at the folder; returns which folders were opened."""
        self.opened.clear()
        self.keeper.check()
        return sorted(self.opened)

    def _open_folder(self, path: Path) -> int:
        self.opened.append(path.name)
        return open_folder(path)


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    made = Setup(tmp_path / "run", monkeypatch)
    yield made
    made.keeper.close()


def test_a_folder_that_is_in_order_is_not_opened_again(setup: Setup) -> None:
    assert setup.look() == ["conf.d", "launch", "log", "run"]
    assert setup.look() == []


def test_one_that_is_another_or_has_changed_is_opened_again(setup: Setup, tmp_path: Path) -> None:
    setup.look()
    (tmp_path / "run" / "launch").rmdir()
    assert setup.look() == ["launch"]
    assert (tmp_path / "run" / "launch").stat().st_mode & 0o777 == 0o700
    (tmp_path / "run" / "conf.d").chmod(0o755)
    assert setup.look() == ["conf.d"]
    assert setup.look() == []
    (tmp_path / "run" / "log").rename(tmp_path / "other")
    (tmp_path / "run" / "log").mkdir(0o700)
    assert setup.look() == ["log"]


def test_one_that_another_user_could_replace_is_opened_at_each_look(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "launch").mkdir(0o700)
    setup.look()
    (tmp_path / "run" / "launch").rmdir()
    (tmp_path / "run" / "launch").symlink_to(tmp_path / "open" / "launch")
    assert setup.look() == setup.look() == ["launch"]
    assert "everyone can replace" in "".join(setup.problems)
