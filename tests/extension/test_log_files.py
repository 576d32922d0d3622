"""Logs that somebody renames, deletes or replaces: what is printed next is in the file that has the log's name."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.patches import log_files
from supervisor.loggers import RotatingFileHandler

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.printer_plugin import PRINTER
from tests.helpers.supervisord import AT_ONCE, FATAL, RUNNING
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord


def test_where_the_log_of_a_process_begins(shared: Supervisord, add: Callable[..., str]) -> None:
    """supervisord has written all of the process before, by then."""
    code = "print('ready', flush=True)\nprint('x' * 100_000)\nraise SystemExit(3)\n"
    name = add(code, startsecs=9, startretries=2, restart=AT_ONCE)
    shared.rpc("plugins.start", name)
    wait_for(lambda: shared.describe(name)["state"] == FATAL)
    log = shared.root / f"{name}.log"
    inode, begin = shared.describe(name)["log_begin"]
    assert inode == log.stat().st_ino
    assert log.read_bytes()[begin:] == b"ready\n" + b"x" * 100_000 + b"\n"
    assert begin == 2 * (log.stat().st_size - begin)


class Printer:
    """A plugin that prints numbered lines, and its log."""

    def __init__(self, supervisord: Supervisord, **options: object) -> None:
        self.supervisord = supervisord
        self.folder = supervisord.root / "log"
        self.folder.mkdir()
        self.log = self.folder / "x.log"
        supervisord.write_plugin("x", PRINTER, stdout_logfile=self.log, **options)
        supervisord.start()
        supervisord.rpc("plugins.start", "x")
        self.number = 0
        self.wait_for_line()

    def print(self, text: str = "") -> str:
        """Have one more line printed; returns it."""
        self.number += 1
        line = text or f"line {self.number}\n"
        with (self.supervisord.root / "printed").open("a") as printed:
            printed.write(line)
        return line

    def wait_for_line(self) -> None:
        """Print until a new line is in the file that has the log's name."""
        first = self.number + 1

        def is_there() -> bool:
            self.print()
            text = self.log.read_text() if self.log.is_file() else ""
            return any(int(number) >= first for number in re.findall(r"^line ([0-9]+)\n", text, re.MULTILINE))

        wait_for(is_there, "a line in the log")


@pytest.fixture
def printer(own: Supervisord) -> Printer:
    return Printer(own)


def delete_folder(log: Path) -> None:
    """Delete the log and its folder."""
    log.unlink()
    log.parent.rmdir()


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "renamed": lambda log: log.rename(log.with_suffix(".old")),
    "deleted": Path.unlink,
    "replaced": lambda log: (log.with_suffix(".new").touch(), log.with_suffix(".new").replace(log)),
    "truncated": lambda log: os.truncate(log, 0),
    "gone with its folder": delete_folder,
    "renamed with its folder": lambda log: log.parent.rename(log.parent.with_name("old")),
}


@pytest.mark.parametrize("options", [{}, {"stdout_logfile_maxbytes": 0}], ids=["rotated by size", "never rotated"])
@pytest.mark.parametrize("what", REPLACEMENTS)
def test_a_log_goes_on(own: Supervisord, what: str, options: dict[str, object]) -> None:
    printer = Printer(own, **options)
    descriptors = own.count_descriptors()
    for _ in range(2):
        REPLACEMENTS[what](printer.log)
        printer.wait_for_line()
        if what == "truncated":
            assert "\0" not in printer.log.read_text(), "a hole"
        for old in printer.folder.glob("*.old"):
            assert "line" in old.read_text()
            old.unlink()
        for folder in printer.folder.parent.glob("old"):
            (folder / "x.log").unlink()
            folder.rmdir()
    wait_for(lambda: own.count_descriptors() <= descriptors, "the old files to be closed")
    assert own.states["x"][0] == RUNNING


def test_a_new_folder_is_like_the_one_before(own: Supervisord) -> None:
    printer = Printer(own)
    group = os.getgid() if os.getuid() else 12345
    os.chown(printer.folder, -1, group)
    printer.folder.chmod(0o2750)
    for replace in (Path.unlink, delete_folder):  # the first shows that the folder was looked at
        replace(printer.log)
        printer.wait_for_line()
    status = printer.folder.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o2750, group)
    assert printer.log.stat().st_gid == group


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")],
    ids=["folder", "fifo", "link"],
)
def test_nothing_is_written_to_what_is_no_file(printer: Printer, make: Callable[[Path], object]) -> None:
    old = printer.log.rename(printer.log.with_suffix(".old"))
    make(printer.log)
    own = printer.supervisord
    complaint = f"supervisord cannot write {printer.log}: "

    def complains() -> bool:
        printer.print()
        return complaint in (own.root / "output").read_text()

    wait_for(complains, "a complaint")
    line = printer.print()
    wait_for(lambda: line in old.read_text(), "it to be written to the file before")
    assert own.answers()
    assert not (printer.folder / "elsewhere").exists()
    if printer.log.is_dir():
        printer.log.rmdir()
    else:
        printer.log.unlink()
    printer.wait_for_line()
    assert (own.root / "output").read_text().count(complaint) == 1


def test_a_link_that_was_there_before(own: Supervisord) -> None:
    target = own.root / "target"
    target.touch()
    own.write_plugin("x", stdout_logfile=own.root / "link.log")
    (own.root / "link.log").symlink_to(target)
    own.start()
    own.rpc("plugins.start", "x")
    wait_for(lambda: target.read_text() == "ready\n", "it to be written through the link")


def test_no_start_waits_for_the_reader_of_a_fifo(own: Supervisord) -> None:
    os.mkfifo(own.root / "fifo")
    own.write_plugin("x", stdout_logfile=own.root / "fifo", startretries=0)
    own.write_plugin("other")
    own.start()
    reader = own.follow()
    assert own.fault("plugins.start", "x") == "SPAWN_ERROR"
    assert "cannot open its log" in reader.wait_for("x", state=FATAL)["spawn_error"]
    own.start_ready("other")


def test_a_start_makes_the_folder_again(own: Supervisord) -> None:
    printer = Printer(own)
    own.stop_plugin("x")
    delete_folder(printer.log)
    own.rpc("plugins.start", "x")
    printer.wait_for_line()


def test_rotation_by_size_begins_anew(own: Supervisord) -> None:
    printer = Printer(own, stdout_logfile_maxbytes=10_000, stdout_logfile_backups=2)
    printer.print("x" * 8000 + "\n")
    wait_for(lambda: printer.log.stat().st_size > 8000, "it to be nearly full")
    printer.log.rename(printer.log.with_suffix(".old"))
    printer.wait_for_line()
    printer.print("y" * 8000 + "\n")
    wait_for(lambda: printer.log.stat().st_size > 8000, "it to be nearly full again")
    assert not (printer.folder / "x.log.1").exists()
    printer.print("z" * 8000 + "\n")
    wait_for((printer.folder / "x.log.1").exists, "the rotation")
    printer.wait_for_line()
    # the file after a rotation can be truncated too
    os.truncate(printer.log, 0)
    printer.wait_for_line()
    assert "\0" not in printer.log.read_text()


@pytest.mark.parametrize("backups", [0, 1, 5])
def test_fewer_files_are_kept_than_before(own: Supervisord, backups: int) -> None:
    """A start removes the others, of plugins alone."""
    printer = Printer(own, stdout_logfile_backups=backups)
    own.stop_plugin("x")
    for number in (*range(1, 8), 101):
        for name in ("x", "other"):
            (printer.folder / f"{name}.log.{number}").write_text(str(number))
    own.rpc("plugins.start", "x")
    kept = {f"x.log.{number}" for number in range(1, backups + 1)} | {"x.log.101"}
    assert {path.name for path in printer.folder.glob("x.log.*")} == kept
    other = printer.folder / "other.log"
    own.write_program("other", stdout_logfile=other, stdout_logfile_maxbytes=1, stdout_logfile_backups=1)
    (own.root / "other.py").write_text("print('x' * 100, flush=True)\n")
    own.ctl("update")

    def is_rotated() -> bool:
        with contextlib.suppress(FileNotFoundError):  # it is just being replaced
            return "x" in (printer.folder / "other.log.1").read_text()
        return False

    wait_for(is_rotated, "the rotation of what is no plugin")
    assert (printer.folder / "other.log.7").read_text() == "7"


@pytest.mark.parametrize("name", ["x.log", "x.log.1", "x.log.2"])
def test_a_folder_in_the_way_of_a_rotation(own: Supervisord, name: str) -> None:
    """It is neither moved nor removed, and the log does not grow without end."""
    printer = Printer(own, stdout_logfile_maxbytes=10_000, stdout_logfile_backups=2)
    [descriptor] = [path for path in Path(f"/proc/{own.pid}/fd").iterdir() if os.readlink(path) == str(printer.log)]
    if name == "x.log":
        printer.log.unlink()
    (printer.folder / name).mkdir()
    inode = (printer.folder / name).stat().st_ino
    sizes = []
    for _ in range(8):
        before = descriptor.stat().st_size
        printer.print("x" * 3_000 + "\n")
        wait_for(lambda before=before: descriptor.stat().st_size != before, "what was printed")
        sizes.append(descriptor.stat().st_size)
    assert max(sizes) < 20_000
    assert sorted(sizes) != sizes, "it was emptied"
    assert (printer.folder / name).stat().st_ino == inode
    own.rpc("plugins.sync")


def test_sigusr2_while_a_log_cannot_be_opened(printer: Printer) -> None:
    """supervisor, as it comes, ends."""
    own = printer.supervisord
    old = printer.log.rename(printer.log.with_suffix(".old"))
    printer.log.mkdir()
    os.kill(own.pid, signal.SIGUSR2)
    wait_for(lambda: "cannot write" in (own.root / "output").read_text(), "a complaint")
    line = printer.print()
    wait_for(lambda: line in old.read_text(), "it to go on")
    printer.log.rmdir()
    os.kill(own.pid, signal.SIGUSR2)
    printer.wait_for_line()


def test_supervisords_own_log(own: Supervisord) -> None:
    own.write_plugin("x", OBEDIENT)
    own.start()
    path = own.root / "supervisord.log"
    path.unlink()

    def log_something() -> bool:
        own.start_ready("x")
        own.stop_plugin("x")
        return path.exists() and "spawned: 'x'" in path.read_text()

    wait_for(log_something, "its log to go on")


def test_a_file_that_cannot_be_written_to_is_left_behind(tmp_path: Path) -> None:
    """Its buffer cannot be written when it is closed: a full disk."""
    handler = RotatingFileHandler(str(tmp_path / "x.log"))
    handler.close()
    handler.stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "ab")
    handler.stream.write(b"lost")
    free = os.dup(0)
    os.close(free)
    log_files._switch_to(handler, log_files.open_log(str(tmp_path / "x.log")))
    handler.stream.write(b"kept")
    handler.close()
    assert (tmp_path / "x.log").read_text() == "kept"
    free_now = os.dup(0)
    os.close(free_now)
    assert free_now <= free, "a descriptor was left open"
