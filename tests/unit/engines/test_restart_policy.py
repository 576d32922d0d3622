"""The restart policy, with a clock that the test sets."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from plugvisor.engines.supervisord.extension.processes.flapping import Flapping
from plugvisor.engines.supervisord.extension.processes.restart_policy import RestartPolicy, RestartValues
from plugvisor.models.lifecycle import Restart

if TYPE_CHECKING:
    from collections.abc import Iterator


class Program:
    """A program that runs, ends and is restarted as its policy says, on a clock of its own."""

    def __init__(self, **values: float) -> None:
        self.now = 1000.0
        self.policy = RestartPolicy(lambda: self.now)
        self.policy.values = RestartValues(**values)

    def run(self, seconds: float) -> float | None:
        """Run and end, and be restarted after the delay; returns that, or None if it is not restarted."""
        self.now += seconds
        delay = self.policy.find_delay(seconds)
        if delay is not None:
            self.now += delay
            self.policy.note_restart()
        return delay

    def crash(self, run_seconds: float) -> Iterator[float]:
        """Crash again and again; the time of each restart, from the first start."""
        began = self.now
        while self.run(run_seconds) is not None:
            yield self.now - began


def test_its_defaults_are_the_manifests() -> None:
    assert RestartValues()._asdict() == msgspec.structs.asdict(Restart())
    assert RestartValues(**msgspec.to_builtins(Restart(delay=3, max_restarts=2))) == RestartValues(3, max_restarts=2)


@pytest.mark.parametrize("run_seconds", [0, 0.02, 1, 5])
def test_a_crash_loop_by_default(run_seconds: float) -> None:
    """At most 20 restarts in the first 5 minutes; a supervisord without Plugvisor makes 300 and more."""
    restarts = list(itertools.takewhile(lambda seconds: seconds < 300, Program().crash(run_seconds)))
    assert 5 <= len(restarts) <= 20


def test_the_delays() -> None:
    program = Program()
    assert [program.run(1) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("values", "delays"),
    [
        ({"delay": 0}, [0, 0, 0]),
        ({"delay": 3, "factor": 1}, [3, 3, 3]),
        ({"delay": 50}, [30, 30, 30]),
        ({"delay": 1, "factor": 100, "max_delay": 86_400}, [1, 100, 10_000, 86_400]),
        ({"reset_after": 0}, [0.5, 0.5, 0.5]),
    ],
)
def test_the_delays_of_other_values(values: dict[str, float], delays: list[float]) -> None:
    program = Program(**values)
    assert [program.run(1) for _ in delays] == delays


def test_one_that_has_run_for_long_begins_anew() -> None:
    program = Program()
    assert [program.run(seconds) for seconds in (1, 1, 59.9, 60, 1, 3600)] == [0.5, 1, 2, 0.5, 1, 0.5]


def test_a_start_by_somebody_begins_anew() -> None:
    program = Program(max_restarts=2)
    for _ in range(2):
        assert [program.run(1) for _ in range(3)] == [0.5, 1, None]
        program.policy.begin_anew()


def test_the_number_of_restarts() -> None:
    program = Program(delay=1, factor=1, max_restarts=3, window=10)
    assert [program.run(0) for _ in range(5)] == [1, 1, 1, None, None]
    assert program.policy.describe_end() == "it was restarted 3 times within 10 seconds"


@pytest.mark.parametrize(("run_seconds", "is_endless"), [(3.4, True), (2.2, False)])
def test_the_restarts_within_the_window_alone_count(run_seconds: float, is_endless: bool) -> None:
    """Four restarts are three intervals apart, each of a run and a delay of one second."""
    program = Program(delay=1, factor=1, max_restarts=3, window=10)
    assert (len(list(itertools.islice(program.crash(run_seconds), 50))) == 50) is is_endless


def test_new_values_apply_to_the_next_end() -> None:
    program = Program()
    assert program.run(1) == 0.5
    program.policy.values = RestartValues(max_delay=0.25)
    assert program.run(1) == 0.25


@pytest.mark.parametrize("bad", [{"dalay": 1}, {"delay": 1, "restart": 2}])
def test_unknown_values(bad: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        RestartValues(**bad)


@pytest.mark.parametrize(("runs", "is_flapping"), [([1, 29, 29], True), ([1, 31, 31], False), ([1, 1], False)])
def test_flapping_counts_the_time_in_which_it_runs(runs: list[float], is_flapping: bool) -> None:
    flapping = Flapping()
    for seconds in runs:
        flapping.note_restart(seconds)
    assert flapping.is_present is is_flapping
    assert not flapping.end_if_over(59)
    assert flapping.end_if_over(60) is is_flapping
    assert not flapping.is_present
