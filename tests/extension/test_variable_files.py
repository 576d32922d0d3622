"""Variables whose values are read from files at each start, by a process of the plugin's user."""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.extension.test_check_commands import REPORTS
from tests.extension.test_spawn import DUMP, run_dump
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import list_children
from tests.helpers.supervisord import BACKOFF, FATAL, RUNNING, STARTING, STOPPED, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord

LONGEST = 128 * 1024 - 1 - len("KEY=")
"""Of the value of a variable named KEY."""
CANNOT = "cannot read the file of the variable 'KEY': "


def write_value(shared: Supervisord, data: bytes) -> str:
    path = shared.root / f"value-{len(list(shared.root.glob('value-*')))}"
    path.write_bytes(data)
    return str(path)


def wait_for_reason(shared: Supervisord, name: str) -> str:
    """Wait until a plugin could not be started; returns why."""
    process: dict[str, Any] = wait_for(
        lambda: (now := shared.describe(name))["state"] in (BACKOFF, FATAL) and now, "the failed start"
    )
    assert process["pid"] == 0
    assert not process["start_pending"]
    return str(process["spawn_error"])


# -- what the plugin has


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"s3cret\n", "s3cret"),
        (b"s3cret", "s3cret"),
        (b"", ""),
        (b"\n", ""),
        (b"two\nlines\n\n", "two\nlines\n"),
        (b" \xe9\xff; \"$HOME\" '%s'=\r\n", os.fsdecode(b" \xe9\xff; \"$HOME\" '%s'=\r")),
        ("密码\n".encode(), "密码"),
        (b"x" * LONGEST + b"\n", "x" * LONGEST),
    ],
    ids=["a line", "no line break", "empty", "a line break", "lines", "latin-1", "chinese", "longest"],
)
def test_a_value_byte_for_byte(shared: Supervisord, add: Callable[..., str], data: bytes, value: str) -> None:
    files = {"KEY": write_value(shared, data)}
    environment = run_dump(shared, add(DUMP, environment={"A": "b"}, environment_files=files))["environment"]
    assert {name: environment[name] for name in ("A", "KEY", "PATH")} == {
        "A": "b", "KEY": value, "PATH": os.environ["PATH"],
    }  # fmt: skip
    assert set(environment) <= {"A", "KEY", "PATH", "PLUGVISOR_PLUGIN", "LC_CTYPE"}, "nothing of the reading program's"


@pytest.mark.parametrize("limits", [{}, {"open_files": 7}], ids=["no limits", "few files"])
def test_all_else_is_as_without(shared: Supervisord, add: Callable[..., str], limits: dict[str, float]) -> None:
    """The process, its group, its tag, its descriptors, its signals and its arguments."""
    arguments = [sys.executable, "-I", "-S", str(shared.root / "exact.py"), os.fsdecode(b"\xff"), "", "two words"]
    shared.write_plugin("exact", DUMP)
    name = add(arguments=arguments, environment_files={"KEY": write_value(shared, b"x")}, limits=limits)
    what = run_dump(shared, name)
    assert what["arguments"] == arguments[4:]
    assert what["directory"] == str(shared.root)
    assert what["pid"] == what["group"]
    assert set(what["descriptors"]) == {"0", "1", "2"}
    blocked, ignored = [int(line.split()[1], 16) for line in what["signals"]]
    assert blocked == 0
    assert ignored & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0
    assert what["environment"]["PLUGVISOR_PLUGIN"].startswith(f"{shared.root}:{name}:")
    assert not what["timer"], "the deadline of the reading is over"


def test_a_closed_pipe_ends_it(shared: Supervisord, add: Callable[..., str]) -> None:
    files = {"KEY": write_value(shared, b"x")}
    name = add(arguments=["/bin/sh", "-c", "cat /proc/self/status; echo ready"], environment_files=files)
    shared.start_ready(name)
    [ignored] = [line.split()[1] for line in shared.read_output(name).splitlines() if line.startswith("SigIgn")]
    assert int(ignored, 16) == 0


def test_the_process_tag_cannot_be_given(shared: Supervisord, add: Callable[..., str]) -> None:
    files = {"PLUGVISOR_PLUGIN": write_value(shared, b"/elsewhere:other:1")}
    name = add(DUMP, environment_files=files)
    assert f":{name}:" in run_dump(shared, name)["environment"]["PLUGVISOR_PLUGIN"]


def test_it_is_read_at_each_start(shared: Supervisord, add: Callable[..., str]) -> None:
    path = write_value(shared, b"first")
    name = add(DUMP, environment_files={"KEY": path})
    assert run_dump(shared, name)["environment"]["KEY"] == "first"
    shared.wait_until_gone(name)
    replacement = Path(write_value(shared, b"second"))
    replacement.rename(path)
    assert run_dump(shared, name)["environment"]["KEY"] == "second"


def test_a_link_is_followed(shared: Supervisord, add: Callable[..., str]) -> None:
    """As those of Kubernetes are."""
    link = shared.root / "link"
    link.symlink_to(write_value(shared, b"linked"))
    name = add(DUMP, environment_files={"KEY": str(link)})
    assert run_dump(shared, name)["environment"]["KEY"] == "linked"


def test_a_check_has_it(shared: Supervisord, reader: Any, add: Callable[..., str]) -> None:
    folder = shared.root / "checked"
    folder.mkdir()
    check = {"probe": [sys.executable, "-I", "-S", "-c", REPORTS]}
    files = {"NAME": write_value(shared, b"a value")}
    name = add(OBEDIENT, directory=str(folder), checks=check, environment_files=files)
    shared.start_ready(name)
    shared.rpc("plugins.execute", name, shared.describe(name)["launches"], "probe", 10.0, 7)
    wait_for(lambda: [line for line in reader.messages if line["type"] == "check"], "the end of the check")
    assert [line["code"] for line in reader.messages if line["type"] == "check"] == [7]
    assert json.loads((folder / "told").read_text())[1] == "a value"


def test_startsecs_begin_when_it_is_executed(shared: Supervisord, reader: Any, add: Callable[..., str]) -> None:
    """With 0 it is RUNNING at once, and not before."""
    name = add(OBEDIENT, startsecs=0, environment_files={"KEY": write_value(shared, b"x")})
    shared.start_ready(name)
    reader.wait_for(name, state=RUNNING)
    lines = [line["process"] for line in reader.messages if line["type"] == "process"]
    mine = [(line["state"], line["start_pending"]) for line in lines if line["name"] == name and line["pid"]]
    assert mine[0] == (STARTING, True)
    assert {(RUNNING, True), (STARTING, False)}.isdisjoint(mine)


# -- what keeps it from starting


def make_fifo(root: Path) -> str:
    os.mkfifo(root / "fifo")
    return str(root / "fifo")


def make_loop(root: Path) -> str:
    (root / "loop").symlink_to(root / "loop")
    return str(root / "loop")


def make_large(root: Path) -> str:
    (root / "large").write_bytes(b"x" * 10_000_000)
    return str(root / "large")


def make_too_long(root: Path) -> str:
    (root / "too-long").write_bytes(b"x" * (LONGEST + 1))
    return str(root / "too-long")


UNUSABLE: dict[str, tuple[Callable[[Path], str], str]] = {
    "missing": (lambda root: f"{root}/missing", "No such file or directory"),
    "a folder": (str, "it is no regular file"),
    "a FIFO": (make_fifo, "it is no regular file"),
    "a device": (lambda _: "/dev/zero", "it is no regular file"),
    "a terminal": (lambda _: "/dev/tty", "No such device or address"),
    "links in a circle": (make_loop, "Too many levels of symbolic links"),
    "10 MB": (make_large, "it is longer than a variable can be"),
    "a byte too much": (make_too_long, "it is longer than a variable can be"),
    "NUL": (lambda _: "/proc/self/environ", "it has a NUL character"),
    "below a file": (lambda _: "/etc/passwd/x", "Not a directory"),
    "too long a name": (lambda root: f"{root}/{'x' * 300}", "File name too long"),
    "its memory": (lambda _: "/proc/self/mem", "Input/output error"),
}


@pytest.mark.parametrize("startsecs", [0, 1])
@pytest.mark.parametrize("what", UNUSABLE)
def test_a_file_that_cannot_be_used(
    own_root: Path, shared: Supervisord, add: Callable[..., str], what: str, startsecs: int
) -> None:
    make, words = UNUSABLE[what]
    name = add(OBEDIENT, environment_files={"KEY": make(own_root)}, startretries=0, startsecs=startsecs)
    before = shared.count_descriptors()
    shared.rpc("plugins.start", name)
    assert wait_for_reason(shared, name) == CANNOT + words
    wait_for(lambda: shared.describe(name)["state"] == FATAL, "it to be given up")
    assert shared.describe(name)["last_exit"] is None, "the plugin was never executed"
    assert shared.read_output(name) == ""
    assert str(own_root) not in shared.log
    wait_for(lambda: shared.count_descriptors() <= before, "its descriptors to be closed")


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A folder for files of this test's own."""
    return tmp_path


def test_it_starts_as_soon_as_the_file_is_there(shared: Supervisord, add: Callable[..., str]) -> None:
    path = shared.root / "late"
    name = add(environment_files={"KEY": str(path)}, startretries=1000, restart={"delay": 0.05, "factor": 1.0})
    shared.rpc("plugins.start", name)
    assert wait_for_reason(shared, name) == f"{CANNOT}No such file or directory"
    path.write_text("here")
    wait_for(lambda: shared.describe(name)["state"] == RUNNING, "the plugin")


def test_it_starts_once_it_has_no_files_any_more(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(environment_files={"KEY": "/nowhere"}, startretries=0, startsecs=1)
    shared.rpc("plugins.start", name)
    wait_for(lambda: shared.describe(name)["state"] == FATAL, "it to be given up")
    shared.write_plugin(name, startsecs=1)
    shared.start_ready(name)
    wait_for(lambda: shared.describe(name)["state"] == RUNNING, "startsecs to be over")


def test_the_program_is_missing(shared: Supervisord, add: Callable[..., str]) -> None:
    files = {"KEY": write_value(shared, b"x")}
    name = add(arguments=["/nowhere/to/be/found", "a secret"], environment_files=files, startretries=0)
    shared.rpc("plugins.start", name)
    assert wait_for_reason(shared, name) == "cannot execute its command: No such file or directory"


def test_the_folder_is_missing(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(directory="/nowhere", environment_files={"KEY": write_value(shared, b"x")}, startretries=0)
    assert shared.fault("plugins.start", name) == "SPAWN_ERROR"
    assert wait_for_reason(shared, name) == "cannot enter its folder: No such file or directory"


def test_a_value_that_exec_does_not_take(shared: Supervisord, add: Callable[..., str]) -> None:
    path = write_value(shared, b"x" * 100_000)
    name = add(environment_files={f"KEY{number}": path for number in range(100)}, startretries=0)
    shared.rpc("plugins.start", name)
    assert wait_for_reason(shared, name) == "cannot execute its command: Argument list too long"


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_the_plugins_user_reads_it() -> None:
    """A plugin's author names a file of root's, or of nobody's."""
    nobody = pwd.getpwnam("nobody")
    with make_supervisord() as own:
        own.root.chmod(0o755)
        roots, theirs = own.root / "roots", own.root / "theirs"
        for path in (roots, theirs):
            path.write_text("value")
            path.chmod(0o400)
        os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
        arguments = ["/bin/sh", "-c", 'echo "$KEY"; echo ready']
        for name, path in (("a", roots), ("b", Path("/etc/shadow")), ("c", Path("/proc/1/environ")), ("d", theirs)):
            files = {"KEY": str(path)}
            own.write_plugin(name, arguments=arguments, user="nobody", environment_files=files, startretries=0)
        own.start()
        for name in "abc":
            own.rpc("plugins.start", name)
            assert wait_for_reason(own, name) == f"{CANNOT}Permission denied"
        own.start_ready("d")
        assert own.read_output("d") == "value\nready\n"


def test_a_file_that_holds_it_up(shared: Supervisord, add: Callable[..., str]) -> None:
    """Frozen while it reads, as by a disk that does not answer: supervisord goes on, and a stop ends it."""
    path = write_value(shared, b"x")
    files = {f"KEY{number}": path for number in range(20_000)}
    name = add(environment_files=files, startsecs=0, stopwaitsecs=0)
    shared.start_ready(add())

    def freeze() -> int:
        shared.fault("plugins.start", name)
        for pid in list_children(shared.pid):
            if b"variable_files.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGSTOP)
                if b"variable_files.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
                os.kill(pid, signal.SIGCONT)
        shared.stop_plugin(name)
        return 0

    pid = wait_for(freeze, "the program that reads")
    process = shared.describe(name)
    assert (process["state"], process["pid"], process["start_pending"]) == (STARTING, pid, True)
    shared.start_ready(add())  # supervisord does what it is asked
    assert shared.describe(name)["state"] == STARTING
    shared.stop_plugin(name)
    assert shared.describe(name)["state"] == STOPPED
