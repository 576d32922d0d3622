"""When watching is suspended, and when it resumes."""

from __future__ import annotations

import pytest
from plugvisor.manager.watch.suspicion import MOST_IN_ANY_CASE, Suspicion

FILE = frozenset({"a"})


def reload_at(suspicion: Suspicion, *times: float, by_person: bool = False, takes: float = 0.0) -> list[bool]:
    """Reload for a change at each of some times; returns which of the reloads were made."""
    made = []
    for time in times:
        made.append(suspicion.admits(FILE, time, by_person=by_person))
        if made[-1]:
            suspicion.note_end(time + takes)
    return made


def test_the_fourth_within_ten_seconds_suspends() -> None:
    assert reload_at(Suspicion(), 100, 101, 102, 103) == [True, True, True, False]


def test_slower_reloads_go_on() -> None:
    assert all(reload_at(Suspicion(), *range(100, 200, 4)))


def test_the_time_that_reloads_take_does_not_count() -> None:
    assert reload_at(Suspicion(), 100, 131, 162, 193, takes=30) == [True, True, True, False]


def test_a_pause_begins_anew() -> None:
    suspicion = Suspicion()
    assert all(reload_at(suspicion, 100, 101, 102))
    assert reload_at(suspicion, 112.5, 113, 114, 115) == [True, True, True, False]
    assert suspicion.suspects == {"a"}


def test_a_persons_save_begins_anew() -> None:
    suspicion = Suspicion()
    assert all(reload_at(suspicion, 100, 101, 102))
    assert reload_at(suspicion, 103, by_person=True) == [True]
    assert all(reload_at(suspicion, 104, 105, 106))


def test_no_person_saves_so_often() -> None:
    times = [100 + number / 2 for number in range(MOST_IN_ANY_CASE + 1)]
    made = reload_at(Suspicion(), *times, by_person=True)
    assert made == [True] * MOST_IN_ANY_CASE + [False]


@pytest.mark.parametrize(
    ("path", "by_person", "ends"), [("a", False, False), ("b", False, True), ("new", False, False), ("a", True, True)]
)
def test_what_ends_a_suspension(path: str, by_person: bool, ends: bool) -> None:
    suspicion = Suspicion()
    reload_at(suspicion, 100, 101, 102, 103)
    suspicion.suspend(103)
    assert not suspicion.ends_by(["b"], 103, by_person=False), "it is not known yet whether the plugin has made it"
    suspicion.note_known({"a", "b"})
    assert suspicion.ends_by({path}, 104, by_person=by_person) == ends
    suspicion.resume()
    assert not suspicion.is_suspended
    assert reload_at(suspicion, 104, 105, 106, 107) == [True, True, True, False]


def end_suspensions(suspicion: Suspicion, count: int) -> list[float]:
    """How long it takes each time until what looks like a person's save ends a suspension."""
    now, found = 100.0, []
    for _ in range(count):
        while suspicion.admits(FILE, now, by_person=True):
            suspicion.note_end(now)
            now += 0.5
        suspicion.suspend(now)
        suspicion.note_known(FILE)
        suspended_at = now
        while not suspicion.ends_by(FILE, now, by_person=True):
            now += 1
        found.append(now - suspended_at)
        suspicion.resume(now)
    return found


def test_a_plugin_that_looks_like_a_person_is_suspended_for_longer_and_longer() -> None:
    assert end_suspensions(Suspicion(), 9) == [0, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_start_by_a_person_forgets_saves() -> None:
    suspicion = Suspicion()
    end_suspensions(suspicion, 4)
    suspicion.resume()
    assert end_suspensions(suspicion, 2) == [0, 10]
