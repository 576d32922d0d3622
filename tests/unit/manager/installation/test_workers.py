"""What must be done in the install folder is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import NotInstalled, OperationInterrupted, StorageFull
from plugvisor.manager.installation import workers as module
from plugvisor.manager.installation.workers import persist

from tests.helpers.scenarios import run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.004)


def fail_with(*errors: Exception) -> tuple[Callable[[], Awaitable[None]], list[Exception]]:
    """What raises these errors, one after the other, and then succeeds; and those that are left."""
    left = list(errors)

    async def act() -> None:
        if left:
            raise left.pop(0)

    return act, left


def test_what_fails_for_a_while_is_done_in_the_end_and_said_once() -> None:
    act, left = fail_with(StorageFull("it is full"), OperationInterrupted("it is gone"), StorageFull("it is full"))
    said: list[str] = []
    run_scenario(persist(act, said.append))
    assert (left, said) == ([], ["it is full; trying again"])


def test_what_would_fail_again_is_not_tried_again() -> None:
    act, left = fail_with(NotInstalled("it was put there by hand"), StorageFull("it is full"))
    with pytest.raises(NotInstalled):
        run_scenario(persist(act, lambda _: None))
    assert len(left) == 1


def test_it_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERSIST_SECONDS", 0.05)

    async def fail() -> None:
        raise StorageFull("it is full")

    with pytest.raises(StorageFull):
        run_scenario(persist(fail, lambda _: None))
