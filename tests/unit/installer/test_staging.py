"""Workers beside each other, and after each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.installer.folder import staging as module
from plugvisor.installer.folder.staging import Staging

from tests.helpers.install_folders import make_version, name_version, open_install_folder

if TYPE_CHECKING:
    import pytest


def test_a_recovery_waits_until_it_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.open(tmp_path, os.O_RDONLY)
    one, other = Staging(root), Staging(root)
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.1)
    assert other.descriptor
    assert not one.wait_alone()
    os.close(other.descriptor)
    monkeypatch.setattr(module, "OTHERS_SECONDS", 5.0)
    assert one.wait_alone()
    for descriptor in (one.descriptor, root):
        os.close(descriptor)


def test_what_a_worker_that_was_killed_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Unless another one is alive, whose it could be."""
    with open_install_folder(tmp_path) as killed:
        name, path = killed.stage()
        make_version(Path(path), 1)
        killed.place(name, "echo", name_version(1))
        with open_install_folder(tmp_path) as beside:
            beside.stage()
            beside.close()
        assert (tmp_path / "echo" / "versions" / name_version(1)).exists()
        killed.stage()
    assert len(list(tmp_path.glob(".staging/*/*"))) == 2
    with open_install_folder(tmp_path) as after:
        after.stage()
        assert not (tmp_path / "echo").exists()
        assert len(list(tmp_path.glob(".staging/*"))) == 1
        after.close()
    assert not list(tmp_path.glob(".staging/*"))
