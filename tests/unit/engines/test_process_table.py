"""The process table: it follows the state stream, and shows nothing that may be old."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord import process_table as module
from plugvisor.engines.supervisord.extension.reporter import HEARTBEAT_SECONDS
from plugvisor.engines.supervisord.process_table import SILENCE_SECONDS, UNREACHABLE, ProcessTable
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, ProcessState

from tests.helpers.fake_supervisor import FakeSupervisor, run_fake_supervisor
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RUNNING, STOPPING, STOPPED = ProcessState.RUNNING, ProcessState.STOPPING, ProcessState.STOPPED


def run(
    scenario: Callable[[ProcessTable, FakeSupervisor], Awaitable[None]], silence_seconds: float = DEADLINE_SECONDS
) -> None:
    """Run a scenario with a table that follows a fake supervisord, in which `echo` runs with the pid 1."""

    async def followed() -> None:
        async with run_fake_supervisor() as fake:
            fake.set("echo", state=20, pid=1)
            table = ProcessTable(fake.stream_path, silence_seconds)
            await table.open(patience_seconds=20)
            try:
                await scenario(table, fake)
            finally:
                await table.close()

    run_scenario(followed())


def is_away(table: ProcessTable) -> bool:
    """Whether there is nothing to read."""
    try:
        table.read()
    except SupervisorUnavailable:
        assert not table.is_live
        return True
    return False


# -- following


def test_it_follows_every_kind_of_line() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        assert (table.get("echo").state, table.get("echo").pid, table.get("other")) == (RUNNING, 1, NEVER_ADDED)
        heard: list[str | None] = []
        table.on_change.append(heard.append)
        await table.reach(fake.set("other", state=10, pid=2, restarts=3))
        assert (table.get("other").pid, table.get("other").restarts) == (2, 3)
        fake.set("echo", state=40)
        await table.reach(fake.remove("other"))
        assert (table.get("echo").state, table.read().keys()) == (STOPPING, {"echo"})
        version = table.version
        fake.write("snapshot", processes=[{"name": "third", "state": 0}])
        await table.reach(fake.sequence)
        assert table.read().keys() == {"third"}
        assert table.version > version
        assert heard == ["other", "echo", "other", None]

    run(scenario)


def test_programs_that_are_no_plugins_are_only_named() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        await table.reach(fake.set("other", state=20, pid=2, is_foreign=True))
        assert (table.read().keys(), table.foreign) == ({"echo"}, {"other"})
        fake.break_stream()
        await wait_until(lambda: is_away(table))
        await wait_until(lambda: table.is_live)
        assert (table.read().keys(), table.foreign) == ({"echo"}, {"other"})
        await table.reach(fake.set("other", is_foreign=False))
        await table.reach(fake.set("echo", is_foreign=True))
        assert (table.read().keys(), table.foreign) == ({"other"}, {"echo"})
        await table.reach(fake.remove("echo"))
        assert (table.read().keys(), table.foreign) == ({"other"}, set())

    run(scenario)


def test_a_heartbeat_changes_nothing() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        version = table.version
        fake.write_raw(fake.make_line("heartbeat"))
        await table.reach(fake.set("other", state=0))
        assert (table.version, table.get("echo").pid) == (version + 1, 1)

    run(scenario)


def test_a_listener_that_raises_keeps_nothing_from_the_others() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        heard: list[str | None] = []
        table.on_change += [lambda _: 1 / 0, heard.append]
        await table.reach(fake.set("echo", state=40))
        await table.reach(fake.set("echo", state=0, pid=0))
        assert (heard, table.get("echo").state) == (["echo", "echo"], STOPPED)

    run(scenario)


@pytest.mark.parametrize("is_started_anew", [False, True])
def test_after_a_break_it_begins_anew_with_a_snapshot(is_started_anew: bool) -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        version = table.version
        fake.break_stream()
        await wait_until(lambda: is_away(table))
        assert table.version > version
        with pytest.raises(SupervisorUnavailable, match="cannot be reached: is it running"):
            table.get("echo")
        fake.sequence = 0 if is_started_anew else 100
        fake.set("other", state=20, pid=3)
        await wait_until(lambda: table.is_live)
        assert table.read().keys() == {"echo", "other"}
        await table.reach(fake.set("other", state=40))
        assert table.get("other").state is STOPPING

    run(scenario)


BROKEN = [
    *(b"nonsense\n", b"{}\n", b"[]\n", b"null\n", b"5\n", b'{"type": "process", "seq": 2}\n', b"\xff\xfe\n", b"\n"),
    *(
        b'{"type": "process", "seq": 2, "process": {"name": "echo", %s}}\n' % fields
        for fields in (b'"state": 12345', b'"pid": 1', b'"state": 20, "restarts": "many"')
    ),
    b'{"type": "snapshot", "seq": 2, "processes": null}\n',
    # no date, and no number for JSON
    b'{"type": "snapshot", "seq": 2, "processes": [{"name": "a", "state": 30, "retry_at": 1e300}]}\n',
    b'{"type": "snapshot", "seq": 2, "processes": [{"name": "a", "state": 20, "pid": 1, "started": -1e300}]}\n',
    b'{"type": "snapshot", "seq": 2, "processes": [{"name": "a", "state": 20, "pid": 36893488147419103232}]}\n',
    b'{"type": "sn',  # and then nothing but the end
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_ends_the_connection(line: bytes) -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        fake.first_line = b""  # no snapshot
        fake.write_raw(line)
        if not line.endswith(b"\n"):
            fake.break_stream()
        await wait_until(lambda: len(fake.streams) == 2)
        assert is_away(table)
        fake.write_raw(fake.make_snapshot())
        await wait_until(lambda: table.is_live)

    run(scenario)


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("a defect"), MemoryError()])
def test_whatever_fails_in_the_reader_is_logged_and_ends_in_a_reconnect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    receive = ProcessTable._receive
    failures = [error]

    def fail_once(table: ProcessTable, line: bytes) -> None:
        if b"removed" in line and failures:
            raise failures.pop()
        receive(table, line)

    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        fake.write_raw(b'{"type": "removed", "seq": 99, "name": "echo"}\n')
        await wait_until(lambda: len(fake.streams) == 2)
        await wait_until(lambda: table.is_live)
        assert table.get("echo").pid == 1

    monkeypatch.setattr(ProcessTable, "_receive", fail_once)
    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert [record for record in caplog.records if "the state stream" in record.message]


def test_a_stream_that_is_always_broken_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        fake.first_line = b"nonsense\n"
        fake.break_stream()
        await wait_until(lambda: len(fake.streams) == 4)

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert len(caplog.records) == 1


def test_before_the_snapshot_nothing_is_shown() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        fake.first_line = fake.make_line("process", process=fake.processes["echo"]) + fake.make_line("heartbeat")
        fake.break_stream()
        await wait_until(lambda: len(fake.streams) == 2)
        for _ in range(5):
            fake.write("heartbeat")
            await let_tasks_run()
            assert is_away(table)

    run(scenario)


# -- a stream that is not to be trusted


def test_silence_is_noticed_and_ends() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        heard: list[str | None] = []
        fake.is_silent = True
        await wait_until(lambda: is_away(table))
        with pytest.raises(SupervisorUnavailable, match="stopped or very busy"):
            table.get("echo")
        assert len(fake.streams) == 1, "the connection is kept"
        version = table.version
        table.on_change.append(heard.append)
        fake.is_silent = False
        await wait_until(lambda: table.is_live)
        assert table.version != version, "what was rendered before the silence holds no more"
        assert heard[0] is None

    run(scenario, silence_seconds=0.5)


def test_silence_is_announced_once_and_so_is_its_end() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        heard: list[tuple[str | None, bool]] = []
        table.on_change.append(lambda name: heard.append((name, table.is_live)))
        for _ in range(2):
            fake.is_silent = True
            await wait_until(lambda: heard)
            fake.is_silent = False
            await wait_until(lambda: table.is_live)
            assert heard == [(None, False), (None, True)]
            heard.clear()

    run(scenario, silence_seconds=0.5)


def test_the_first_line_after_a_silence_may_change_everything() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        fake.is_silent = True
        await wait_until(lambda: is_away(table))
        heard: list[str | None] = []
        table.on_change.append(heard.append)
        fake.set("echo", state=40)
        await wait_until(lambda: heard)
        assert heard == [None]

    run(scenario, silence_seconds=0.5)


def test_supervisord_writes_more_often_than_silence_is_long() -> None:
    assert HEARTBEAT_SECONDS * 2 < SILENCE_SECONDS


def test_a_supervisord_that_was_sent_sigstop_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        is_stopped = True
        # the fake is this very process, which cannot stop itself
        monkeypatch.setattr(table._stop_watch, "is_stopped", lambda: is_stopped)
        await wait_until(lambda: is_away(table))
        await table.reach(fake.sequence)
        is_stopped = False
        await wait_until(lambda: table.is_live)

    run(scenario)


def test_why_there_is_nothing_to_read_is_forgotten_when_there_is() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        table.problem = "this supervisord lacks the extension"
        fake.first_line = b""
        fake.break_stream()
        await wait_until(lambda: is_away(table))
        with pytest.raises(SupervisorUnavailable, match="lacks the extension"):
            table.read()
        await wait_until(lambda: len(fake.streams) == 2)
        fake.write_raw(fake.make_snapshot())
        await wait_until(lambda: table.is_live)
        assert table.problem == UNREACHABLE

    run(scenario)


def test_opening_goes_on_without_a_supervisord() -> None:
    async def scenario() -> None:
        table = ProcessTable("/nonexistent/state.sock")
        await table.open(patience_seconds=0.05)
        assert is_away(table)
        await table.close()

    run_scenario(scenario())


# -- waiting


def test_waiters_of_every_kind_are_woken() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        def wait(name: str, state: ProcessState, seconds: float = 20) -> asyncio.Task[Any]:
            return asyncio.create_task(table.wait_for(name, lambda process: process.state is state, seconds))

        stopped, again, other = wait("echo", STOPPED), wait("echo", STOPPED), wait("other", RUNNING)
        reached = asyncio.create_task(table.reach(fake.sequence + 2))
        already = wait("echo", RUNNING)
        assert (await already).pid == 1
        fake.set("echo", state=40)
        await table.reach(fake.sequence)
        await let_tasks_run()
        assert not any(task.done() for task in (stopped, again, other, reached))
        fake.set("echo", state=0, pid=0)
        assert [(await task).state for task in (stopped, again)] == [STOPPED] * 2
        await reached
        await let_tasks_run()
        assert not other.done()
        fake.set("other", state=20, pid=2)
        assert (await other).pid == 2
        assert not table._waiters._futures

    run(scenario)


def test_a_condition_may_be_met_by_a_snapshot_or_a_removal() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        gone = asyncio.create_task(table.wait_for("echo", lambda process: process == NEVER_ADDED, 20))
        added = asyncio.create_task(table.wait_for("other", lambda process: process.pid == 2, 20))
        await let_tasks_run()
        fake.remove("echo")
        assert await gone == NEVER_ADDED
        fake.break_stream()
        fake.set("other", state=20, pid=2)
        assert (await added).state is RUNNING

    run(scenario)


def test_a_waiter_that_is_cancelled_leaves_the_others() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        tasks = [asyncio.create_task(table.wait_for("echo", lambda p: p.state is STOPPED, 20)) for _ in range(3)]
        await let_tasks_run()
        tasks[1].cancel()
        await let_tasks_run()
        fake.set("echo", state=0, pid=0)
        assert [(await tasks[number]).state for number in (0, 2)] == [STOPPED] * 2
        assert tasks[1].cancelled()
        assert not table._waiters._futures

    run(scenario)


def test_when_the_time_is_over_the_process_is_returned_as_it_is() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        for seconds in (-1.0, 0.0, 0.05):
            process = await table.wait_for("echo", lambda process: process.state is STOPPED, seconds)
            assert process.state is RUNNING

    run(scenario)


def test_a_short_break_is_waited_through() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        waiter = asyncio.create_task(table.wait_for("echo", lambda process: process.state is STOPPED, 20))
        await let_tasks_run()
        fake.break_stream()
        await wait_until(lambda: is_away(table))
        await wait_until(lambda: table.is_live)
        fake.set("echo", state=0, pid=0)
        assert (await waiter).state is STOPPED

    run(scenario)


@pytest.mark.parametrize("how", ["silent", "broken", "no time left"])
def test_waiting_ends_when_there_is_nothing_to_wait_for(how: str) -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        seconds = 0.1 if how == "no time left" else 20
        fake.first_line = b""
        if how == "broken":
            fake.break_stream()
        fake.is_silent = True
        if how == "no time left":
            await wait_until(lambda: is_away(table))
        with pytest.raises(SupervisorUnavailable):
            await table.wait_for("echo", lambda process: process.state is STOPPED, seconds)

    run(scenario, silence_seconds=0.5)


@pytest.mark.parametrize("how", ["silent", "broken"])
def test_reaching_a_change_that_never_comes_ends(how: str) -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        fake.first_line, fake.is_silent = b"", True
        waiter = asyncio.create_task(table.reach(fake.sequence + 1))
        await let_tasks_run()
        if how == "broken":
            fake.break_stream()
        await waiter
        assert is_away(table)

    run(scenario, silence_seconds=0.5)


def test_reaching_a_change_of_a_supervisord_that_has_begun_anew_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REACH_SECONDS", 0.2)

    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        await table.reach(fake.sequence + 1000)
        assert table.is_live

    run(scenario)


def test_the_newest_change_is_reached_without_waiting() -> None:
    async def scenario(table: ProcessTable, fake: FakeSupervisor) -> None:
        for number in range(100):
            await table.reach(fake.set("echo", restarts=number))
            assert table.get("echo").restarts == number

    run(scenario)
