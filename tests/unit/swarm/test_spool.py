"""Logs of tasks become one file, in which each line is once, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.swarm.docker.frames import STDERR, SYSTEM_ERROR
from plugvisor.engines.swarm.logs import log_writer, plugin_log, spool, task_reader
from plugvisor.engines.swarm.logs.spool import Spool
from plugvisor.models.lifecycle import LogOptions

from tests.helpers.fake_task_logs import FakeLogTable, FakeTaskLogs, make_time
from tests.helpers.scenarios import in_loop, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


class Logs:
    """A spool over a fake Engine, and the file that it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = FakeTaskLogs()
        self.table = FakeLogTable()
        self.spool = self.restart()

    def restart(self) -> Spool:
        """As a new service."""
        self.spool = Spool(self.engine, self.table, self.folder)  # type: ignore[arg-type]
        return self.spool

    def read(self) -> bytes:
        """The current file."""
        path = self.folder / "echo.log"
        return path.read_bytes() if path.exists() else b""


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    logs = Logs(tmp_path / "log")
    logs.engine.add_task("t1")
    return logs


# -- once


@in_loop
async def test_each_bring_appends_what_is_new(logs: Logs) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    await logs.spool.bring("echo")
    await logs.engine.write("t1", b"two\n", make_time(9))
    await logs.spool.bring("echo")
    assert logs.read() == b"one\ntwo\n"


@in_loop
async def test_lines_of_one_time_are_neither_lost_nor_doubled(logs: Logs) -> None:
    for number in range(3):
        await logs.engine.write("t1", b"%d\n" % number, make_time(5))
    await logs.spool.bring("echo")
    for number in range(3, 6):
        await logs.engine.write("t1", b"%d\n" % number, make_time(5))
    await logs.spool.bring("echo")
    assert logs.read() == b"0\n1\n2\n3\n4\n5\n"


@in_loop
async def test_standard_error_may_come_later_than_what_was_printed_after_it(logs: Logs) -> None:
    await logs.engine.write("t1", b"out\n", make_time(5.1))
    await logs.spool.bring("echo")
    await logs.engine.write("t1", b"error\n", make_time(5), STDERR)
    await logs.spool.bring("echo")
    assert logs.read() == b"out\nerror\n"


@in_loop
async def test_a_clock_that_is_set_back_doubles_nothing(logs: Logs) -> None:
    for number, seconds in enumerate((5, 6, 5.5, 7, 6.5)):
        await logs.engine.write("t1", b"%d\n" % number, make_time(seconds))
    await logs.spool.bring("echo")
    await logs.spool.bring("echo")
    await logs.engine.write("t1", b"5\n", make_time(8))
    await logs.spool.bring("echo")
    assert logs.read() == b"0\n1\n2\n3\n4\n5\n"


@in_loop
async def test_a_new_service_goes_on_where_the_old_one_was(logs: Logs) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    await logs.engine.write("t1", b"two\n", make_time(2))
    await logs.restart().bring("echo")
    assert logs.read() == b"one\ntwo\n"


@in_loop
async def test_what_was_written_in_part_by_a_service_that_was_killed_is_written_again(logs: Logs) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    await logs.engine.write("t1", b"two\n", make_time(2))
    await logs.spool.bring("echo")
    for size in range(4, 8):  # as many bytes of "one\ntwo\n" were written
        os.truncate(logs.folder / "echo.log", size)
        await logs.restart().bring("echo")
        assert logs.read() == b"one\ntwo\n"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"before": 1}'])
@in_loop
async def test_without_the_positions_the_log_goes_on_from_when_it_was_written(logs: Logs, damage: str) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    when = plugin_log.read_seconds(make_time(2))
    os.utime(logs.folder / "echo.log", (when, when))
    (logs.folder / ".echo.positions").write_text(damage)
    await logs.engine.write("t1", b"two\n", make_time(3))
    await logs.restart().bring("echo")
    assert logs.read() == b"one\ntwo\n"


@in_loop
async def test_a_log_that_was_removed_is_begun_anew_without_what_was_in_it(logs: Logs) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    (logs.folder / "echo.log").unlink()
    await logs.engine.write("t1", b"two\n", make_time(2))
    await logs.restart().bring("echo")
    assert logs.read() == b"two\n"


@in_loop
async def test_what_was_left_out_is_said(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_reader, "FEW_PIECES", 2)
    monkeypatch.setattr(task_reader, "MOST_PIECES", 4)
    for number in range(10):
        await logs.engine.write("t1", b"%d\n" % number, make_time(number))
        if number in (1, 4):  # three more are too many for the first answer
            await logs.spool.bring("echo")
    await logs.spool.bring("echo")
    assert logs.read() == b"0\n1\n2\n3\n4\n" + plugin_log.LEFT_OUT + b"6\n7\n8\n9\n"


# -- what plugins print


@in_loop
async def test_a_line_in_pieces_is_put_together(logs: Logs) -> None:
    for text in (b"a" * 16384, b"b" * 16384, b"c\n"):
        await logs.engine.write("t1", text, make_time(1))
        await logs.spool.bring("echo")
    assert logs.read() == b"a" * 16384 + b"b" * 16384 + b"c\n"


@in_loop
async def test_a_line_without_an_end_is_ended_by_that_of_another_stream(logs: Logs) -> None:
    await logs.engine.write("t1", b"begun", make_time(1))
    await logs.spool.bring("echo")
    await logs.engine.write("t1", b"error\n", make_time(2), STDERR)
    await logs.restart().bring("echo")
    assert logs.read() == b"begun\nerror\n"


@in_loop
async def test_the_content_is_not_changed(logs: Logs) -> None:
    content = b"\0 \xff\xfe \x1b[31m 2026-11-30T12:00:00.000000000Z \r\n"
    await logs.engine.write("t1", content, make_time(1))
    await logs.spool.bring("echo")
    assert logs.read() == content


@in_loop
async def test_each_line_of_several_replicas_says_whose_it_is(logs: Logs) -> None:
    logs.engine.add_task("t2", slot=2)
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.engine.write("t2", b"two\n", make_time(1))
    await logs.spool.bring("echo")
    assert sorted(logs.read().splitlines()) == [b"[1@node1] one", b"[2@node1] two"]


@in_loop
async def test_tasks_that_have_ended_come_first_and_are_read_once(logs: Logs) -> None:
    logs.engine.set_state("t1", "failed")
    logs.engine.add_task("t2")
    await logs.engine.write("t2", b"second\n", make_time(1))
    await logs.engine.write("t1", b"first\n", make_time(2))
    await logs.spool.bring("echo")
    logs.engine.calls.clear()
    await logs.restart().bring("echo")
    await logs.spool.bring("echo")
    assert logs.read() == b"first\nsecond\n"
    assert len(logs.engine.calls) == 2  # of the task that runs


@in_loop
async def test_why_an_engine_cannot_read_a_log_is_no_line_of_it(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        await logs.engine.write("t1", b"Error grabbing logs\n", make_time(1), SYSTEM_ERROR)
    await logs.spool.bring("echo")
    await logs.spool.bring("echo")
    assert logs.read() == b""
    assert caplog.text.count("Error grabbing logs") == 1


# -- faults


@in_loop
async def test_a_task_that_says_nothing_holds_up_no_other(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_reader, "SILENCE_SECONDS", 0.2)
    logs.engine.add_task("t2", slot=2)
    logs.engine.silent.add("t1")
    await logs.engine.write("t2", b"two\n", make_time(1))
    await logs.spool.bring("echo")
    assert logs.read() == b"[2@node1] two\n"


@in_loop
async def test_nothing_is_asked_while_no_manager_answers_or_there_is_no_service(logs: Logs) -> None:
    await logs.spool.bring("other")
    logs.table.is_live = False
    await logs.spool.bring("echo")
    assert not logs.engine.calls


@in_loop
async def test_a_full_disk_loses_nothing_and_is_said_once(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    write = os.write

    def write_a_byte(descriptor: int, data: Any) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:1])

    await logs.engine.write("t1", b"two\n", make_time(2))
    with monkeypatch.context() as patch:
        patch.setattr(log_writer.os, "write", write_a_byte)
        await logs.spool.bring("echo")
        await logs.spool.bring("echo")
    assert logs.read() == b"one\n"
    assert caplog.text.count("No space left") == 1
    await logs.spool.bring("echo")
    assert logs.read() == b"one\ntwo\n"


@in_loop
async def test_a_log_folder_that_was_removed_is_made_again(logs: Logs) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    for path in logs.folder.iterdir():
        path.unlink()
    logs.folder.rmdir()
    await logs.engine.write("t1", b"two\n", make_time(2))
    await logs.spool.bring("echo")
    assert logs.read() == b"two\n"


@in_loop
async def test_nothing_is_written_through_a_link_or_into_a_pipe(logs: Logs, tmp_path: Path) -> None:
    logs.folder.mkdir()
    (tmp_path / "other").write_bytes(b"")
    (logs.folder / "echo.log").symlink_to(tmp_path / "other")
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    (logs.folder / "echo.log").unlink()
    os.mkfifo(logs.folder / "echo.log")
    await logs.spool.bring("echo")
    assert (tmp_path / "other").read_bytes() == b""


@pytest.mark.parametrize(
    ("backups", "kept"),
    [(0, [b"5"]), (1, [b"5", b"4"]), (3, [b"5", b"4", b"3", b"2"]), (100, [b"5", b"4", b"3", b"2", b"1", b"0"])],
)
@in_loop
async def test_a_log_is_rotated_as_supervisords(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, backups: int, kept: list[bytes]
) -> None:
    monkeypatch.setattr(spool, "read_log_options", lambda _: LogOptions(max_size=4, backups=backups))
    for number in range(6):
        await logs.engine.write("t1", b"%d\n\n\n\n" % number, make_time(number))
        await logs.restart().bring("echo")
    files = {path.name: path.read_bytes()[:1] for path in logs.folder.glob("echo.log*")}
    assert files == dict(zip(("echo.log", *(f"echo.log.{number}" for number in range(1, 6))), kept, strict=False))
    backups = 1
    await logs.engine.write("t1", b"6\n\n\n\n", make_time(6))
    await logs.restart().bring("echo")
    assert {path.name for path in logs.folder.glob("echo.log*")} <= {"echo.log", "echo.log.1"}, "the others are removed"


# -- following


@in_loop
async def test_what_is_printed_is_appended_while_somebody_follows(logs: Logs) -> None:
    async with logs.spool.following("echo"), logs.spool.following("echo"):
        await wait_until(lambda: logs.engine.open_count == 1)
        await logs.engine.write("t1", b"one\n", make_time(1))
        await wait_until(lambda: logs.read() == b"one\n")
        await logs.spool.bring("echo")
        await logs.engine.write("t1", b"two\n", make_time(2))
        await wait_until(lambda: logs.read() == b"one\ntwo\n")
        assert logs.engine.open_count == 1
    await wait_until(lambda: logs.engine.open_count == 0)
    assert not logs.table.on_change


@in_loop
async def test_the_next_task_is_followed_and_the_last_is_read_to_its_end(logs: Logs) -> None:
    async with logs.spool.following("echo"):
        await wait_until(lambda: logs.engine.open_count == 1)
        await logs.engine.write("t1", b"one\n", make_time(1))
        logs.engine.set_state("t1", "failed")
        logs.engine.add_task("t2")
        await logs.engine.write("t2", b"two\n", make_time(2))
        logs.table.change()
        await wait_until(lambda: logs.read() == b"one\ntwo\n")
        await wait_until(lambda: logs.engine.open_count == 1)
        await logs.engine.write("t2", b"three\n", make_time(3))
        await wait_until(lambda: logs.read().endswith(b"three\n"))
    await logs.spool.close()


@in_loop
async def test_a_connection_that_has_died_unnoticed_is_made_again(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugvisor.engines.swarm.logs.follower.REREAD_SECONDS", 0.1)
    monkeypatch.setattr("plugvisor.engines.swarm.logs.follower.CHECK_SECONDS", 0.05)
    async with logs.spool.following("echo"):
        await wait_until(lambda: logs.engine.open_count == 1)
        await logs.engine.write("t1", b"one\n", make_time(1), is_noticed=False)
        await wait_until(lambda: logs.read() == b"one\n")
    await logs.spool.close()


@in_loop
async def test_a_flood_is_cut(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_reader, "_FLOOD_PIECES", 10)
    monkeypatch.setattr(task_reader, "MOST_PIECES", 5)
    monkeypatch.setattr("plugvisor.engines.swarm.logs.follower.FLOOD_PAUSE_SECONDS", 0.0)
    async with logs.spool.following("echo"):
        await wait_until(lambda: logs.engine.open_count == 1)
        for number in range(40):
            await logs.engine.write("t1", b"%d\n" % number, make_time(number))
        await wait_until(lambda: logs.read().endswith(b"39\n"))
    lines = logs.read().splitlines()
    assert len(lines) == len(set(lines))
    await logs.spool.close()


@in_loop
async def test_what_is_being_written_when_nobody_follows_any_more_is_written_once(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_writing, may_write = threading.Event(), threading.Event()
    append = log_writer.LogWriter.append

    def wait_and_append(*args: Any) -> None:
        is_writing.set()
        assert may_write.wait(DEADLINE_SECONDS)
        append(*args)

    monkeypatch.setattr(log_writer.LogWriter, "append", wait_and_append)
    async with logs.spool.following("echo"):
        await logs.engine.write("t1", b"one\n", make_time(1))
        await wait_until(is_writing.is_set)
    may_write.set()
    await logs.spool.bring("echo")
    assert logs.read() == b"one\n"


@in_loop
async def test_positions_hold_no_more_than_the_swarm_remembers(logs: Logs) -> None:
    await logs.engine.write("t1", b"one\n", make_time(1))
    await logs.spool.bring("echo")
    del logs.engine.tasks["t1"]
    logs.engine.add_task("t2")
    await logs.engine.write("t2", b"two\n", make_time(1))
    await logs.spool.bring("echo")
    assert json.loads((logs.folder / ".echo.positions").read_text())["after"].keys() == {"t2"}
