"""Usage of process trees, measured on real processes; and when the sampler measures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from plugvisor.errors import SupervisorUnavailable
from plugvisor.metrics import process_list, process_tree
from plugvisor.metrics import sampler as sampling
from plugvisor.metrics.history import KEPT_SAMPLES, UsageHistory
from plugvisor.metrics.process_list import ProcessList, ProcList, PsutilList, read_total_memory
from plugvisor.metrics.process_tree import ProcessTreeMeter, Usage
from plugvisor.metrics.sampler import Sampler

from tests.helpers.processes import is_alive
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

READY = "print('ready', flush=True)\n"
IDLE = READY + "import signal\nsignal.pause()\n"
BUSY_CHILD = "import os, signal\npid = os.fork()\nif pid == 0:\n    while True: pass\n" + IDLE
SPENDING = """\
import os, sys, time
def spend(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
print('ready', flush=True)
for line in sys.stdin:
    if os.fork() == 0:
        spend(float(line))
        os._exit(0)
    os.wait()
    print('ready', flush=True)
"""
"""For each line, spends that much CPU time in a child, and prints `ready` when the child has ended."""


class Started:
    """A process started by a test in a session of its own, with its children."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def spend(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.wait_until_ready()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start() -> Iterator[Callable[[str], Started]]:
    started: list[Started] = []

    def start_one(code: str) -> Started:
        started.append(Started(code))
        return started[-1]

    yield start_one
    for one in started:
        one.kill()


def count_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def test_a_process_tree_is_summed(start: Callable[[str], Started]) -> None:
    alone, parent = start(IDLE), start(BUSY_CHILD)
    meter = ProcessTreeMeter()
    roots = {"alone": alone.pid, "parent": parent.pid}
    meter.measure(roots)
    [child] = psutil.Process(parent.pid).children()
    spent = count_seconds(child)
    wait_for(lambda: count_seconds(child) - spent > 0.5)
    usages = meter.measure(roots)
    assert usages["parent"].pid == parent.pid
    assert (usages["alone"].threads, usages["parent"].threads) == (1, 2)
    assert usages["parent"].cpu_percent > 1
    assert usages["alone"].cpu_percent < 1 < meter.cpu_seconds["parent"] * 100
    assert meter.cpu_seconds["parent"] >= 0.4
    assert usages["parent"].memory_bytes > psutil.Process(parent.pid).memory_info().rss


def test_a_child_that_has_ended_is_counted_once(start: Callable[[str], Started]) -> None:
    spender = start(SPENDING)
    meter = ProcessTreeMeter()
    meter.measure({"spender": spender.pid})
    began = meter.cpu_seconds["spender"]
    for round_ in range(1, 4):
        spender.spend(0.3)
        meter.measure({"spender": spender.pid})
        assert 0.25 * round_ <= meter.cpu_seconds["spender"] - began < 0.5 * round_ + 0.2


def test_a_child_that_was_seen_and_then_waited_for_is_counted_once(start: Callable[[str], Started]) -> None:
    spender = start(SPENDING)
    meter = ProcessTreeMeter()
    meter.measure({"spender": spender.pid})
    assert spender.process.stdin is not None
    spender.process.stdin.write("1.0\n")
    spender.process.stdin.flush()
    wait_for(lambda: psutil.Process(spender.pid).children())
    [child] = psutil.Process(spender.pid).children()
    while is_alive(child.pid):
        meter.measure({"spender": spender.pid})
    spender.wait_until_ready()
    meter.measure({"spender": spender.pid})
    assert 0.9 <= meter.cpu_seconds["spender"] < 1.6


def test_cpu_time_before_the_first_measurement_makes_no_peak(start: Callable[[str], Started]) -> None:
    spender = start(SPENDING)
    spender.spend(1.0)
    meter = ProcessTreeMeter()
    meter.measure({})
    time.sleep(0.02)  # a moment over which a second of CPU time would be thousands of percent
    usages = meter.measure({"spender": spender.pid})
    assert usages["spender"].cpu_percent < 200
    assert meter.cpu_seconds["spender"] >= 0.9


def test_processes_that_are_gone_are_left_out(start: Callable[[str], Started]) -> None:
    gone, here = start(IDLE), start(IDLE)
    meter = ProcessTreeMeter()
    assert meter.measure({"gone": gone.pid, "here": here.pid, "never": 2**22 + 1, "zero": 0}).keys() == {"gone", "here"}
    gone.kill()
    assert meter.measure({"gone": gone.pid, "here": here.pid}).keys() == {"here"}
    assert "gone" in meter.cpu_seconds
    meter.keep(["here"])
    assert meter.cpu_seconds.keys() == {"here"}


@pytest.mark.parametrize("listing", [ProcList, PsutilList])
def test_an_unreadable_process_is_left_out(
    listing: type[ProcessList], start: Callable[[str], Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = start(BUSY_CHILD)
    [child] = psutil.Process(parent.pid).children()
    read = listing.read
    monkeypatch.setattr(process_tree, "list_processes", listing)
    assert ProcessTreeMeter().measure({"parent": parent.pid})["parent"].threads == 2
    monkeypatch.setattr(listing, "read", lambda self, pid: None if pid == child.pid else read(self, pid))
    assert ProcessTreeMeter().measure({"parent": parent.pid})["parent"].threads == 1


def test_the_memory_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProcessTreeMeter().total_memory_bytes == psutil.virtual_memory().total
    monkeypatch.setattr(process_list, "_HAS_PROC", False)
    assert read_total_memory() == pytest.approx(psutil.virtual_memory().total, rel=0.1)


def test_both_lists_have_the_same(start: Callable[[str], Started]) -> None:
    spender, threaded = (
        start(SPENDING),
        start(f"import threading\nthreading.Thread(target=lambda: input()).start()\n{IDLE}"),
    )
    spender.spend(0.2)
    by_proc, by_psutil = ProcList(), PsutilList()
    for process in (spender, threaded):
        assert by_proc.parents[process.pid] == by_psutil.parents[process.pid] == os.getpid()
        used, other = by_proc.read(process.pid), by_psutil.read(process.pid)
        assert used is not None
        assert other is not None
        assert used[1:] == pytest.approx(other[1:])
    assert used.threads == 2
    used = by_proc.read(spender.pid)
    assert used is not None
    assert used.waited_seconds >= 0.15


@pytest.mark.parametrize("listing", [ProcList, PsutilList])
def test_what_ends_while_it_is_listed_is_left_out(
    listing: type[ProcessList], start: Callable[[str], Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = start(IDLE)
    pids = [*psutil.pids(), 2**22 + 1]
    gone.kill()
    monkeypatch.setattr(os, "listdir", lambda _folder: ["self", *map(str, pids)])
    monkeypatch.setattr(psutil, "pids", lambda: pids)
    processes = listing()
    assert os.getpid() in processes.parents
    for pid in (gone.pid, 2**22 + 1):
        assert pid not in processes.parents
        assert processes.read(pid) is None


def test_a_command_may_have_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to(sys.executable)
    process = subprocess.Popen([odd, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert ProcList().parents[process.pid] == os.getpid()
        assert ") R 1 (" in Path(f"/proc/{process.pid}/comm").read_text()
    finally:
        process.communicate(b"\n")


def test_processes_that_come_and_go_break_nothing(start: Callable[[str], Started]) -> None:
    forker = start("import os\n" + READY + "while True:\n    if os.fork() == 0: os._exit(0)\n    os.wait()\n")
    meter = ProcessTreeMeter()
    seconds = 0.0
    for _ in range(20):
        usage = meter.measure({"forker": forker.pid})["forker"]
        assert usage.cpu_percent >= 0
        assert meter.cpu_seconds["forker"] >= seconds
        seconds = meter.cpu_seconds["forker"]


def test_a_history_is_bounded() -> None:
    history = UsageHistory()
    assert list(history) == []
    for number in range(KEPT_SAMPLES + 10):
        history.append(float(number), Usage(2**31, 12.5, 2**40 + number, 3))
    assert len(list(history)) == KEPT_SAMPLES
    assert next(iter(history)) == (10.0, Usage(2**31, 12.5, 2**40 + 10, 3))


# -- when it is measured


class FakeEngine:
    """Stands in for an engine: the main processes, and how often they were read."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {"me": os.getpid()}
        self.read_count = 0
        self.is_unavailable = False

    async def __call__(self) -> dict[str, int]:
        self.read_count += 1
        if self.is_unavailable:
            raise SupervisorUnavailable("unavailable")
        return dict(self.pids)


def run(scenario: Callable[[Sampler, FakeEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = FakeEngine()
        sampler = Sampler(engine)
        sampler.keep(["me", "other"])
        try:
            await scenario(sampler, engine)
        finally:
            await sampler.close()

    asyncio.run(main())


def test_concurrent_reads_share_one_sample() -> None:
    async def scenario(sampler: Sampler, engine: FakeEngine) -> None:
        assert engine.read_count == 0  # there was no request
        first, *others = await asyncio.gather(*(sampler.read() for _ in range(50)))
        assert {sample.at for sample in others} == {first.at}
        assert first.usages["me"].pid == os.getpid()
        assert len(list(sampler.list_history("me"))) == 1
        assert (await sampler.read()).at == first.at

    run(scenario)


def test_the_first_interval_contains_its_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, pauses = asyncio.sleep, list[float]()

    async def note_and_sleep(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(seconds)

    async def scenario(sampler: Sampler, _engine: FakeEngine) -> None:
        measure = sampler._meter.measure

        def measure_slowly(pids: dict[str, int]) -> dict[str, Usage]:
            usages = measure(pids)
            time.sleep(0.02)
            return usages

        sampler._meter.measure = measure_slowly  # type: ignore[method-assign,assignment]
        monkeypatch.setattr(sampling, "FIRST_INTERVAL_SECONDS", 0.01)
        monkeypatch.setattr(asyncio, "sleep", note_and_sleep)
        assert (await sampler.read()).usages.keys() == {"me"}
        assert pauses
        assert not any(pauses), "there is no time left to wait for"

    run(scenario)


def test_sampling_continues_for_a_while_and_then_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(sampling, "CPU_SHARE", 100.0)
    monkeypatch.setattr(sampling, "LINGER_SECONDS", 1.0)

    async def scenario(sampler: Sampler, engine: FakeEngine) -> None:
        sampler._interval_seconds = 0.01
        await sampler.read()
        assert sampler._sampling is not None
        async with asyncio.timeout(30):
            await sampler._sampling  # it ends by itself
        count = len(list(sampler.list_history("me")))
        assert count >= 2
        reads = engine.read_count
        await asyncio.sleep(0.2)
        assert (engine.read_count, len(list(sampler.list_history("me")))) == (reads, count)
        await sampler.read()  # sampling starts again
        assert len(list(sampler.list_history("me"))) > count

    run(scenario)


def test_a_new_process_is_sampled_at_once_and_an_ended_one_is_not_returned(start: Callable[[str], Started]) -> None:
    other = start(IDLE)

    async def scenario(sampler: Sampler, engine: FakeEngine) -> None:
        await sampler.read()
        await asyncio.sleep(sampling.FIRST_INTERVAL_SECONDS)
        engine.pids["other"] = other.pid
        assert (await sampler.read()).usages.keys() == {"me", "other"}
        del engine.pids["other"]
        assert (await sampler.read()).usages.keys() == {"me"}
        engine.pids["other"] = os.getppid()  # restarted: the sample is of another process
        assert "other" not in (await sampler.read()).usages
        sampler.keep(["me"])
        assert list(sampler.list_history("other")) == []
        assert list(sampler.list_history("me")) != []

    run(scenario)


def test_a_process_that_ends_during_the_measurement_is_left_out() -> None:
    async def scenario(sampler: Sampler, engine: FakeEngine) -> None:
        measure = sampler._meter.measure

        def measure_and_end(pids: dict[str, int]) -> dict[str, Usage]:
            engine.pids = {}
            return measure(pids)

        sampler._meter.measure = measure_and_end  # type: ignore[method-assign,assignment]
        assert (await sampler.read()).usages == {}
        assert list(sampler.list_history("me")) == []

    run(scenario)


def test_an_unavailable_supervisord_raises() -> None:
    async def scenario(sampler: Sampler, engine: FakeEngine) -> None:
        engine.is_unavailable = True
        with pytest.raises(SupervisorUnavailable):
            await sampler.read()
        engine.is_unavailable = False
        assert (await sampler.read()).usages.keys() == {"me"}

    run(scenario)


def test_sampling_uses_at_most_its_share() -> None:
    async def scenario(sampler: Sampler, _engine: FakeEngine) -> None:
        sampler._measure = lambda _pids: ({}, 3.0)  # type: ignore[method-assign,assignment] # seconds of CPU time
        await sampler.read()
        assert sampler._interval_seconds == 3.0 / sampling.CPU_SHARE

    run(scenario)
