"""What process families use, measured on real processes; and when a sampler measures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from plugvisor.errors import SupervisorUnavailable
from plugvisor.metrics import sampler as sampling
from plugvisor.metrics.history import KEPT_SAMPLES, UsageHistory
from plugvisor.metrics.process_tree import FamilyMeter, Usage
from plugvisor.metrics.sampler import Sampler

from tests.conftest import is_alive, wait_for

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
"""Spends so much CPU time in a child that has ended when it says that it is ready."""


class Started:
    """A process of this test's own, in a session of its own, and what it started."""

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


def test_a_family_is_summed(start: Callable[[str], Started]) -> None:
    alone, family = start(IDLE), start(BUSY_CHILD)
    meter = FamilyMeter()
    roots = {"alone": alone.pid, "family": family.pid}
    meter.measure(roots)
    [child] = psutil.Process(family.pid).children()
    spent = count_seconds(child)
    wait_for(lambda: count_seconds(child) - spent > 0.5)
    usages = meter.measure(roots)
    assert usages["family"].pid == family.pid
    assert (usages["alone"].threads, usages["family"].threads) == (1, 2)
    assert usages["family"].cpu_percent > 1
    assert usages["alone"].cpu_percent < 1 < meter.cpu_seconds["family"] * 100
    assert meter.cpu_seconds["family"] >= 0.4
    assert usages["family"].memory_bytes > psutil.Process(family.pid).memory_info().rss


def test_a_child_that_has_ended_is_counted_once(start: Callable[[str], Started]) -> None:
    spender = start(SPENDING)
    meter = FamilyMeter()
    meter.measure({"spender": spender.pid})
    began = meter.cpu_seconds["spender"]
    for round_ in range(1, 4):
        spender.spend(0.3)
        meter.measure({"spender": spender.pid})
        assert 0.25 * round_ <= meter.cpu_seconds["spender"] - began < 0.5 * round_ + 0.2


def test_a_child_that_was_seen_and_then_waited_for_is_counted_once(start: Callable[[str], Started]) -> None:
    spender = start(SPENDING)
    meter = FamilyMeter()
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


def test_what_was_used_before_it_was_known_makes_no_peak(start: Callable[[str], Started]) -> None:
    spender = start(SPENDING)
    spender.spend(1.0)
    meter = FamilyMeter()
    meter.measure({})
    time.sleep(0.02)  # a moment over which a second of CPU time would be thousands of percent
    usages = meter.measure({"spender": spender.pid})
    assert usages["spender"].cpu_percent < 200
    assert meter.cpu_seconds["spender"] >= 0.9


def test_what_is_gone_is_left_out(start: Callable[[str], Started]) -> None:
    gone, here = start(IDLE), start(IDLE)
    meter = FamilyMeter()
    assert meter.measure({"gone": gone.pid, "here": here.pid, "never": 2**22 + 1, "zero": 0}).keys() == {"gone", "here"}
    gone.kill()
    assert meter.measure({"gone": gone.pid, "here": here.pid}).keys() == {"here"}
    assert "gone" in meter.cpu_seconds
    meter.keep(["here"])
    assert meter.cpu_seconds.keys() == {"here"}


def test_a_process_that_may_not_be_read_is_left_out(
    start: Callable[[str], Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = start(BUSY_CHILD)
    [child] = psutil.Process(family.pid).children()
    read = psutil.Process.num_threads

    def refuse(process: psutil.Process) -> object:
        if process.pid == child.pid:
            raise psutil.AccessDenied(process.pid)
        return read(process)

    monkeypatch.setattr(psutil.Process, "num_threads", refuse)
    assert FamilyMeter().measure({"family": family.pid})["family"].threads == 1


def test_processes_that_come_and_go_break_nothing(start: Callable[[str], Started]) -> None:
    forker = start("import os\n" + READY + "while True:\n    if os.fork() == 0: os._exit(0)\n    os.wait()\n")
    meter = FamilyMeter()
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


class Found:
    """What supervisord tells of, and how often it was asked."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {"me": os.getpid()}
        self.asked = 0
        self.is_away = False

    async def __call__(self) -> dict[str, int]:
        self.asked += 1
        if self.is_away:
            raise SupervisorUnavailable("away")
        return dict(self.pids)


def run(scenario: Callable[[Sampler, Found], Awaitable[None]]) -> None:
    async def go() -> None:
        found = Found()
        sampler = Sampler(found)
        sampler.keep(["me", "other"])
        try:
            await scenario(sampler, found)
        finally:
            await sampler.close()

    asyncio.run(go())


def test_everyone_shares_one_sample() -> None:
    async def scenario(sampler: Sampler, found: Found) -> None:
        assert found.asked == 0  # nobody has asked
        first, *others = await asyncio.gather(*(sampler.read() for _ in range(50)))
        assert {sample.at for sample in others} == {first.at}
        assert first.usages["me"].pid == os.getpid()
        assert len(list(sampler.list_history("me"))) == 1
        assert (await sampler.read()).at == first.at

    run(scenario)


def test_it_goes_on_for_a_while_and_then_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(sampling, "CPU_SHARE", 100.0)
    monkeypatch.setattr(sampling, "LINGER_SECONDS", 1.0)

    async def scenario(sampler: Sampler, found: Found) -> None:
        sampler._interval_seconds = 0.01
        await sampler.read()
        assert sampler._sampling is not None
        async with asyncio.timeout(30):
            await sampler._sampling  # it ends by itself
        count = len(list(sampler.list_history("me")))
        assert count >= 2
        asked = found.asked
        await asyncio.sleep(0.2)
        assert (found.asked, len(list(sampler.list_history("me")))) == (asked, count)
        await sampler.read()  # it wakes
        assert len(list(sampler.list_history("me"))) > count

    run(scenario)


def test_a_new_process_is_sampled_at_once_and_an_old_one_is_not_shown(start: Callable[[str], Started]) -> None:
    other = start(IDLE)

    async def scenario(sampler: Sampler, found: Found) -> None:
        await sampler.read()
        await asyncio.sleep(sampling.FIRST_INTERVAL_SECONDS)
        found.pids["other"] = other.pid
        assert (await sampler.read()).usages.keys() == {"me", "other"}
        del found.pids["other"]
        assert (await sampler.read()).usages.keys() == {"me"}
        found.pids["other"] = os.getppid()  # started anew: the sample is of another process
        assert "other" not in (await sampler.read()).usages
        sampler.keep(["me"])
        assert list(sampler.list_history("other")) == []
        assert list(sampler.list_history("me")) != []

    run(scenario)


def test_what_ended_while_it_was_measured_is_left_out() -> None:
    async def scenario(sampler: Sampler, found: Found) -> None:
        measure = sampler._meter.measure

        def measure_and_lose(pids: dict[str, int]) -> dict[str, Usage]:
            found.pids = {}
            return measure(pids)

        sampler._meter.measure = measure_and_lose  # type: ignore[method-assign,assignment]
        assert (await sampler.read()).usages == {}
        assert list(sampler.list_history("me")) == []

    run(scenario)


def test_supervisord_may_be_away() -> None:
    async def scenario(sampler: Sampler, found: Found) -> None:
        found.is_away = True
        with pytest.raises(SupervisorUnavailable):
            await sampler.read()
        found.is_away = False
        assert (await sampler.read()).usages.keys() == {"me"}

    run(scenario)


def test_sampling_takes_no_more_than_its_share() -> None:
    async def scenario(sampler: Sampler, _found: Found) -> None:
        sampler._measure = lambda _pids: ({}, 3.0)  # type: ignore[method-assign,assignment] # seconds of CPU time
        await sampler.read()
        assert sampler._interval_seconds == 3.0 / sampling.CPU_SHARE

    run(scenario)
