"""What several tests of a lone supervisord need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import OBEDIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.supervisord.lone import Lone


@pytest.fixture
def add_program(lone: Lone) -> Iterator[Callable[..., str]]:
    """Adds a stopped program and removes it in the end."""
    names = []

    def add(name: str, code: str = OBEDIENT, **options: object) -> str:
        lone.add(name, code, **options)
        assert lone.rpc("plugins.replace", name) is True
        names.append(name)
        return name

    yield add
    for name in names:
        (lone.root / "conf.d" / f"{name}.conf").unlink(missing_ok=True)
        while lone.fault("plugins.remove", name) == "STILL_RUNNING":
            lone.fault("supervisor.stopProcess", name)
