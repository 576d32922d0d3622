"""Workers beside each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from plugvisor.installer.folder import staging as module
from plugvisor.installer.folder.staging import Staging

if TYPE_CHECKING:
    from pathlib import Path

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
