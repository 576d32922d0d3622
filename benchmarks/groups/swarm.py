"""A swarm of three nodes: starts, updates, reads and the cost of watching; `swarm_faults` has what befalls it."""

from __future__ import annotations

import resource
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.groups.swarm_faults import measure_faults
from benchmarks.machine import read_cpu_seconds
from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately, time_call
from benchmarks.systems.swarm import COMMAND, THREE, SwarmSystem, run_swarm
from tests.helpers.swarm.lab import explain_absence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

ROUNDS = 10
SECONDS = 40.0
READS = 200
REST_SECONDS = 20.0
PAUSE_SECONDS = 0.003
GOAL_START_MS, GOAL_PAGE_MS, GOAL_UPDATE_SECONDS = 1000.0, 50.0, 5.0

PLUGVISOR, BARE, SCALED = "plugvisor", "a container, created and started", "a service, scaled from 0 to 1"
UPDATED = "docker service update --force"
CURL = "curl: 3 calls of the Engine API every second"


def measure_swarm(testbed: Testbed) -> Iterator[Result]:
    """All of it; nothing where there can be no swarm."""
    if problem := explain_absence():
        print(f"the swarm is not measured: {problem}", flush=True)
        return
    with run_swarm(testbed.plugins) as system:
        yield from _measure_starts(system, testbed.plugins)
        yield from _measure_update(system, testbed.plugins)
        yield from _measure_page(system, testbed.plugins)
        yield from _measure_rest(system, testbed.plugins)
        yield from measure_faults(system, testbed.plugins)


def _measure_starts(system: SwarmSystem, plugins: int) -> Iterator[Result]:
    reference = _ReferenceService(system)
    methods = {
        PLUGVISOR: partial(_start_and_stop, system),
        BARE: partial(_start_container, system),
        SCALED: reference.scale_up_and_down,
    }
    measured = run_alternately(methods, ROUNDS, SECONDS)
    own, bare, scaled = (measured[name]["start"] for name in methods)
    for name, values in ((BARE, bare), (SCALED, scaled)):
        yield Result("swarm: start over HTTP until it runs", plugins, "ms", Sample.of(own), name, Sample.of(values))
    above = Sample.of([value - Sample.of(bare).median for value in own])
    yield Result(
        "swarm: start until it runs, above a container's own time", plugins, "ms", above, goal=Goal(GOAL_START_MS)
    )
    stops = Sample.of(measured[PLUGVISOR]["stop"]), Sample.of(measured[SCALED]["stop"])
    yield Result("swarm: stop over HTTP until it is gone", plugins, "ms", stops[0], SCALED, stops[1])


def _start_and_stop(system: SwarmSystem) -> dict[str, float]:
    name = system.names[-1]
    started = time_call(lambda: system.api.post(f"/plugin/{name}/start"))
    return {"start": started, "stop": time_call(lambda: system.api.post(f"/plugin/{name}/stop"))}


def _start_container(system: SwarmSystem) -> dict[str, float]:
    container = ""

    def start() -> None:
        nonlocal container
        host = {"Init": True, "NetworkMode": "host"}
        body = {
            "Image": system.image,
            "Entrypoint": list(COMMAND),
            "HostConfig": host,
            "Healthcheck": {"Test": ["NONE"]},
        }
        container = system.engine.call("POST", "/containers/create", body)["Id"]
        system.engine.call("POST", f"/containers/{container}/start")

    milliseconds = time_call(start)
    system.engine.call("DELETE", f"/containers/{container}", force="true")
    return {"start": milliseconds}


class _ReferenceService:
    """A service that Plugvisor knows nothing of, of the same image."""

    def __init__(self, system: SwarmSystem) -> None:
        self._system = system
        container = {"Image": system.image, "Command": list(COMMAND), "Init": True, "Healthcheck": {"Test": ["NONE"]}}
        self._spec: dict[str, Any] = {
            "Name": "reference",
            "TaskTemplate": {"ContainerSpec": container, "Networks": [{"Target": "host"}]},
            "Mode": {"Replicated": {"Replicas": 0}},
            "EndpointSpec": {"Mode": "dnsrr"},
        }
        system.engine.call("POST", "/services/create", self._spec)

    def scale_up_and_down(self) -> dict[str, float]:
        """From the update to 1 until its task runs, and to 0 until there is none; milliseconds."""
        return {"start": time_call(partial(self._scale, 1)), "stop": time_call(partial(self._scale, 0))}

    def _scale(self, replicas: int) -> None:
        engine = self._system.engine
        version = engine.call("GET", "/services/reference")["Version"]["Index"]
        spec = self._spec | {"Mode": {"Replicated": {"Replicas": replicas}}}
        engine.call("POST", "/services/reference/update", spec, version=version)
        self._system.wait_until(partial(self._has, replicas), "the reference to be scaled", PAUSE_SECONDS)

    def _has(self, replicas: int) -> bool:
        tasks = self._system.engine.call("GET", "/tasks", filters={"service": ["reference"]})
        live = [task for task in tasks if task["Status"]["State"] in ("running", "starting", "preparing", "assigned")]
        running = [task for task in live if task["Status"]["State"] == "running"]
        return len(running) == replicas and (bool(replicas) or not tasks)


def _measure_update(system: SwarmSystem, plugins: int) -> Iterator[Result]:
    system.api.post(f"/plugin/{THREE}/start")
    system.wait_until(lambda: _count_running(system) == 3, "three replicas to run")
    system.stack.docker("service", "scale", "reference=3")
    seconds, references = [], []
    for number in range(3):
        before = {task["ID"] for task in system.read_tasks(f"plugvisor-{THREE}")}
        system.write(THREE, "replicas = 3", CHANGED=str(number))
        began = time.perf_counter()
        system.api.post(f"/plugin/{THREE}/reload", may_wait=True)
        system.wait_until(
            lambda before=before: _count_running(system, before) == 3,  # type: ignore[misc]
            "three new replicas",
            PAUSE_SECONDS,
        )
        seconds.append(time.perf_counter() - began)
        command = ("service", "update", "--force", "--update-parallelism", "0", "--quiet", "reference")
        references.append(time_call(lambda command=command: system.stack.docker(*command)) / 1000)  # type: ignore[misc]
    system.stack.docker("service", "rm", "reference")
    yield Result(
        "swarm: a changed plugin, from its reload until three replicas of it run",
        plugins,
        "s",
        Sample.of(seconds),
        UPDATED,
        Sample.of(references),
        goal=Goal(GOAL_UPDATE_SECONDS),
    )


def _count_running(system: SwarmSystem, before: set[str] | frozenset[str] = frozenset()) -> int:
    tasks = system.read_tasks(f"plugvisor-{THREE}")
    return sum(task["Status"]["State"] == "running" and task["ID"] not in before for task in tasks)


def _measure_page(system: SwarmSystem, plugins: int) -> Iterator[Result]:
    milliseconds = [time_call(lambda: system.api.get("/plugins")) for _ in range(READS)]
    services = [time_call(lambda: system.engine.call("GET", "/services")) for _ in range(READS // 10)]
    yield Result(
        "swarm: GET /plugins",
        plugins,
        "ms",
        Sample.of(milliseconds),
        "GET /services of the Engine API",
        Sample.of(services),
        goal=Goal(GOAL_PAGE_MS),
    )


def _measure_rest(system: SwarmSystem, plugins: int) -> Iterator[Result]:
    pid = system.stack.service_pid
    system.wait_until(lambda: _is_at_rest(system), "everything to be at rest")
    before = read_cpu_seconds(pid)
    time.sleep(REST_SECONDS)
    own = (read_cpu_seconds(pid) - before) / REST_SECONDS * 100
    curl = _run_curl(system) / REST_SECONDS * 100
    yield Result(
        "swarm: the service's CPU when nothing happens", plugins, "%", Sample(own, None, 1), CURL, Sample(curl, None, 1)
    )


def _is_at_rest(system: SwarmSystem) -> bool:
    return all(status["status"] in ("running", "stopped") for status in system.api.read_statuses().values())


def _run_curl(system: SwarmSystem) -> float:
    """The seconds of CPU time that curl needs to ask as often as the service does."""

    def read_used() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before, deadline = read_used(), time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        for path in ("services", "tasks", "nodes"):
            socket = str(system.lab.nodes[0].socket)
            command = ["curl", "--silent", "--output", "/dev/null", "--unix-socket", socket, f"http://x/v1.41/{path}"]
            subprocess.run(command, check=True)
        time.sleep(max(0.0, 1 - (time.monotonic() - deadline + REST_SECONDS) % 1))
    return read_used() - before
