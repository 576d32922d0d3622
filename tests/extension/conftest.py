"""A supervisord for each test, or one for a whole file."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.supervisord import make_supervisord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import StreamReader, Supervisord


@pytest.fixture
def own() -> Iterator[Supervisord]:
    """A supervisord of this test's own, not started yet."""
    with make_supervisord() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Supervisord]:
    """One supervisord for a whole file, running; each test adds plugins of its own."""
    with make_supervisord() as made:
        made.start()
        yield made


@pytest.fixture
def add(shared: Supervisord) -> Iterator[Callable[..., str]]:
    """Adds a stopped plugin to the shared supervisord, and removes it in the end; returns its name."""
    names: list[str] = []

    def add_plugin(code: str = OBEDIENT, **options: object) -> str:
        names.append(shared.add(f"plugin-{next(_numbers)}", code, **options))
        return names[-1]

    yield add_plugin
    for name in names:
        shared.remove(name)


@pytest.fixture
def reader(shared: Supervisord) -> Iterator[StreamReader]:
    """A reader of the shared supervisord's state stream."""
    shared.close_readers()
    yield shared.follow()
    shared.close_readers()


_numbers = itertools.count()
