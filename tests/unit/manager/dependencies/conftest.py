"""What the scheduler could not do is tried again soon."""

from __future__ import annotations

import pytest
from plugvisor.manager.dependencies import scheduler as module


@pytest.fixture(autouse=True)
def retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
