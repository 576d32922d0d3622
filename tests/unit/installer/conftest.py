"""What the tests of the installer share."""

from __future__ import annotations

import os

import pytest
from plugvisor.installer.folder import install_folder


@pytest.fixture
def nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk, which would take most of the time."""
    monkeypatch.setattr(install_folder, "store", lambda _folder: None)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
