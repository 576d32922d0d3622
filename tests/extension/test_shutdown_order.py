"""The order in which plugins are stopped when supervisord ends: one after those that depend on it."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord.extension.shutdown import sort_dependents

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import BACKOFF, EXITED, RUNNING, STARTING
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.helpers.supervisord import Supervisord

REPORTING = """\
import json, os, signal, sys, time
def write(what):
    os.write(1, json.dumps([what, time.monotonic()]).encode() + b"\\n")
def stop(*_):
    write("signal")
    if not IS_STUBBORN:
        time.sleep(SECONDS)
        write("end")
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Writes when it is asked to stop and when it ends, on the clock that all processes share."""


def write_reporting(
    supervisord: Supervisord, name: str, depends_on: list[str], seconds: float = 0.0, **options: object
) -> None:
    """Write a plugin that takes this long to stop; it never stops if that is negative."""
    code = f"IS_STUBBORN, SECONDS = {seconds < 0}, {abs(seconds)}\n{REPORTING}"
    supervisord.write_plugin(name, code, depends_on=depends_on, **options)


def read_times(supervisord: Supervisord, name: str) -> dict[str, float]:
    """When a plugin was asked to stop and when it has ended."""
    lines = supervisord.read_output(name).splitlines()
    return dict(json.loads(line) for line in lines if line.startswith("["))


def start_all(supervisord: Supervisord, graph: Mapping[str, list[str]]) -> None:
    """Start plugins that were written, whatever they depend on."""
    supervisord.start()
    for name in graph:
        supervisord.rpc("plugins.start", name)
    wait_for(lambda: all(supervisord.count_ready(name) for name in graph), "all to be ready")


def end_by_ctl(supervisord: Supervisord) -> None:
    supervisord.ctl("shutdown")
    assert supervisord.process is not None
    supervisord.process.wait(DEADLINE_SECONDS)


def end_by_reload(supervisord: Supervisord) -> None:
    supervisord.ctl("reload")
    wait_for(lambda: supervisord.log.count("supervisord started with pid") == 2)
    supervisord.rpc.close()
    wait_for(supervisord.answers)


ENDS: dict[str, Callable[[Supervisord], Any]] = {
    "SIGTERM": lambda supervisord: supervisord.stop(signal.SIGTERM),
    "SIGINT": lambda supervisord: supervisord.stop(signal.SIGINT),
    "ctl shutdown": end_by_ctl,
    "ctl reload": end_by_reload,
}


@pytest.mark.parametrize("how", ENDS)
def test_a_chain_is_stopped_from_its_end(own: Supervisord, how: str) -> None:
    """The priorities are those that would have supervisord stop the first one first."""
    graph = {"base": [], "middle": ["base"], "top": ["middle"]}
    for number, (name, depends_on) in enumerate(graph.items()):
        write_reporting(own, name, depends_on, 0.1, priority=9 - number)
    start_all(own, graph)
    ENDS[how](own)
    base, middle, top = (read_times(own, name) for name in graph)
    assert top["end"] <= middle["signal"]
    assert middle["end"] <= base["signal"]


def test_a_diamond_takes_as_long_as_its_slowest_chain(own: Supervisord) -> None:
    """One side is slow, the other one stubborn; what has no part in it is stopped at once."""
    graph = {"base": [], "slow": ["base"], "stubborn": ["base"], "top": ["slow", "stubborn"], "alone": []}
    seconds = {"slow": 1.5, "stubborn": -1.0, "top": 0.5, "alone": 0.1}
    for name, depends_on in graph.items():
        write_reporting(own, name, depends_on, seconds.get(name, 0.0), stopwaitsecs=1 if name == "stubborn" else 20)
    (own.root / "foreign.py").write_text(f"IS_STUBBORN, SECONDS = False, 0.1\n{REPORTING}")
    own.write_program("foreign")
    start_all(own, graph)
    wait_for(lambda: own.count_ready("foreign"))
    assert own.stop() == 0
    times = {name: read_times(own, name) for name in (*graph, "foreign")}
    for name in ("alone", "foreign"):
        assert times[name]["signal"] < times["top"]["end"], name
    for name in ("slow", "stubborn"):
        assert times["top"]["end"] <= times[name]["signal"], name
    # both sides at once: neither waits for the other's end
    assert times["slow"]["signal"] < times["stubborn"]["signal"] + 1
    assert times["stubborn"]["signal"] < times["slow"]["end"]
    assert times["slow"]["end"] <= times["base"]["signal"]
    assert own.log.count("with SIGKILL") == 1


def test_a_cycle_holds_up_nobody(own: Supervisord) -> None:
    graph = {"base": [], "a": ["c", "base"], "b": ["a"], "c": ["b"], "own": ["own"], "top": ["a"]}
    for name, depends_on in graph.items():
        write_reporting(own, name, depends_on, 0.1)
    start_all(own, graph)
    assert own.stop() == 0
    times = {name: read_times(own, name) for name in graph}
    assert times["a"]["end"] <= times["base"]["signal"]
    assert times["top"]["end"] <= times["a"]["signal"]
    assert "SIGKILL" not in own.log


def test_one_is_not_stopped_before_the_orphans_of_its_dependents(own: Supervisord) -> None:
    (own.root / "orphan.py").write_text(f"IS_STUBBORN, SECONDS = False, 0.3\n{REPORTING}")
    code = f"""\
import subprocess, sys
with open("orphan.log", "w") as log:
    subprocess.Popen([sys.executable, "orphan.py"], stdout=log, start_new_session=True)
{OBEDIENT}"""
    write_reporting(own, "base", [])
    own.write_plugin("top", code, depends_on=["base"])
    start_all(own, {"base": [], "top": []})
    wait_for(lambda: own.count_ready("orphan"))
    assert own.stop() == 0
    assert read_times(own, "orphan")["end"] <= read_times(own, "base")["signal"]


def test_those_that_end_by_themselves_or_keep_failing_hold_up_nobody(own: Supervisord) -> None:
    """`held` fails to start while its dependent is still stopping; `failing` waits for its next try."""
    write_reporting(own, "base", [])
    failing = "import time\nprint('ready', flush=True)\ntime.sleep(0.2)\nraise SystemExit(3)\n"
    own.write_plugin("held", OBEDIENT, depends_on=["base"], startsecs=60)
    own.write_plugin("failing", failing, depends_on=["base"], startsecs=60, startretries=99, restart={"delay": 100})
    own.write_plugin("gone", failing, depends_on=["base"])
    write_reporting(own, "top", ["held", "failing", "gone"], 1.0)
    start_all(own, {"base": [], "held": [], "failing": [], "gone": [], "top": []})
    wait_for(lambda: [own.states[name][0] for name in ("failing", "gone", "held")] == [BACKOFF, EXITED, STARTING])
    pid = own.states["held"][1]
    assert own.process is not None
    own.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "signal" in read_times(own, "top"))
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)
    assert own.process.wait(DEADLINE_SECONDS) == 0
    assert read_times(own, "top")["end"] <= read_times(own, "base")["signal"]
    assert "Traceback" not in own.log


def test_it_is_the_launch_that_counts(own: Supervisord) -> None:
    """What a plugin depends on may be another thing in its file by now."""
    write_reporting(own, "a", ["b"], 0.2)
    write_reporting(own, "b", [], 0.2)
    start_all(own, {"a": [], "b": []})
    write_reporting(own, "a", [], 0.2)
    write_reporting(own, "b", ["a"], 0.2)
    assert own.stop() == 0
    assert read_times(own, "a")["end"] <= read_times(own, "b")["signal"]


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_asked_to_stop_before_its_dependents_have_ended(own: Supervisord, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"p{number:02}" for number in range(12)]
    chance.shuffle(names)
    graph = {name: chance.sample(names[:place], min(place, chance.randrange(4))) for place, name in enumerate(names)}
    for name, depends_on in graph.items():
        write_reporting(own, name, depends_on, chance.choice([0, 0, 0.1, 0.2, -1]), stopwaitsecs=1)
    start_all(own, graph)
    assert all(own.states[name][0] == RUNNING for name in names)
    assert own.stop() == 0
    times = {name: read_times(own, name) for name in names}
    for name, depends_on in graph.items():
        # a stubborn one is killed a second after it was asked
        ended = times[name].get("end", times[name]["signal"] + 0.9)
        for dependency in depends_on:
            assert ended <= times[dependency]["signal"], f"{dependency} was asked before {name} had ended: {graph}"


def test_any_number_of_cycles_is_resolved_soon() -> None:
    names = [str(number) for number in range(300)]
    began = time.process_time()
    order = sort_dependents({name: set(names) for name in names})
    found = []
    while ready := order.get_ready():
        found += ready
        order.done(*ready)
    assert sorted(found) == sorted(names)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("seed", range(20))
def test_without_a_cycle_no_dependency_is_ignored(seed: int) -> None:
    chance = random.Random(seed)
    names = [str(number) for number in range(30)]
    graph = {name: set(chance.sample(names[:place], min(place, 4))) for place, name in enumerate(names) if place % 5}
    order = sort_dependents(dict(chance.sample(list(graph.items()), len(graph))))
    found: list[str] = []
    while ready := order.get_ready():
        assert all(graph.get(name, set()) <= set(found) for name in ready)
        found += ready
        order.done(*ready)
    assert set(found) == {*graph, *(name for dependents in graph.values() for name in dependents)}
