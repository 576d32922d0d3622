"""The warning of an install folder that nothing can be installed in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.startup.plugins_folder import describe_install_obstacle
from plugvisor.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def describe(folder: Path | None) -> str:
    return describe_install_obstacle(Settings.from_env({"PLUGVISOR_INSTALL_DIR": str(folder or "")}))


def test_there_is_nothing_to_warn_of(tmp_path: Path) -> None:
    assert describe(None) == ""
    assert describe(tmp_path) == ""


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert describe(folder) == (
        f"no plugin can be installed in {str(folder)!r}: the install folder cannot be used: No such file or directory; "
        "create it, or set PLUGVISOR_INSTALL_DIR to a folder that can be written to"
    )


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "the install folder is no folder; set PLUGVISOR_INSTALL_DIR" in describe(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written to; set PLUGVISOR_INSTALL_DIR" in describe(tmp_path)
