"""What the tests of the installer share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.folder import install_folder

from tests.helpers.environments import Builder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk, which would take most of the time."""
    monkeypatch.setattr(install_folder, "store", lambda _folder: None)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    for name in os.environ:
        if name.startswith("UV_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("HOME", str(tmp_path))
    # the interpreter of the tests and no other, so that no search finds what is on this machine
    binaries = tmp_path / "bin"
    binaries.mkdir()
    binaries.joinpath("python3").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PATH", str(binaries))
    return Builder(tmp_path)
