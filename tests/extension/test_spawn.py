"""What a plugin's process starts with, and what is reported if it does not start."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.engines.supervisord.extension.processes.spawn import describe_spawn_error

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.supervisord import BACKOFF, FATAL, RUNNING, STOPPED, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord

DUMP = """\
import json, os, signal, sys
timer = signal.getitimer(signal.ITIMER_REAL)[0]
descriptors = {number: os.readlink(f"/proc/self/fd/{number}") for number in map(int, os.listdir("/proc/self/fd"))
               if os.path.lexists(f"/proc/self/fd/{number}")}
what = {
    "arguments": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd(), "group": os.getpgid(0),
    "pid": os.getpid(), "user": os.getuid(), "groups": [os.getgid(), *os.getgroups()], "descriptors": descriptors,
    "timer": timer, "signals": [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn"))],
}
print(json.dumps(what), flush=True)
sys.stderr.write("ready\\n")
"""
BYTES = st.binary(max_size=20).map(lambda data: os.fsdecode(data.replace(b"\0", b"0")))
NAMES = st.binary(min_size=1, max_size=20).map(lambda data: os.fsdecode(data.translate(None, b"\0=")) or "A")
PORTABLE = {"PATH", "PLUGVISOR_PLUGIN", "LC_CTYPE", "__CF_USER_TEXT_ENCODING"}  # which Python and the extension add


def run_dump(shared: Supervisord, name: str) -> dict[str, Any]:
    """Run a plugin that prints what it was started with."""
    before = shared.read_output(name)
    shared.rpc("plugins.start", name)
    wait_for(lambda: shared.read_output(name).removeprefix(before).endswith("ready\n"), "its output")
    what: dict[str, Any] = json.loads(shared.read_output(name).removeprefix(before).removesuffix("ready\n"))
    return what


# -- what it has


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(BYTES, max_size=4), environment=st.dictionaries(NAMES, BYTES, max_size=4))
def test_arguments_and_environment_byte_for_byte(
    shared: Supervisord, arguments: list[str], environment: dict[str, str]
) -> None:
    for name in PORTABLE:
        environment.pop(name, None)
    shared.write_plugin("exact", DUMP)
    shared.write_plugin(
        "exact",
        DUMP,
        arguments=[sys.executable, "-I", "-S", str(shared.root / "exact.py"), *arguments],
        environment=environment,
    )
    what = run_dump(shared, "exact")
    assert what["arguments"] == arguments
    assert {name: value for name, value in what["environment"].items() if name not in PORTABLE} == environment
    shared.wait_until_gone("exact")


@pytest.mark.parametrize("limits", [{}, {"open_files": 500}], ids=["no limits", "limits"])
def test_directory_group_signals_and_descriptors(
    shared: Supervisord, add: Callable[..., str], limits: dict[str, float]
) -> None:
    folder = shared.root / "a folder\nof its own"
    folder.mkdir(exist_ok=True)
    what = run_dump(shared, add(DUMP, directory=str(folder), limits=limits))
    assert what["directory"] == str(folder)
    assert what["group"] == what["pid"]
    blocked, ignored = [int(line.split()[1], 16) for line in what["signals"]]
    assert blocked == 0
    assert not ignored & 1 << signal.SIGTERM - 1
    # Python itself, which this plugin runs, ignores SIGPIPE
    assert ignored & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0
    assert set(what["descriptors"]) == {"0", "1", "2"}
    assert what["descriptors"]["1"] == what["descriptors"]["2"]


def test_a_closed_pipe_ends_it(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(arguments=["/bin/sh", "-c", "cat /proc/self/status; echo ready"])
    shared.start_ready(name)
    [ignored] = [line.split()[1] for line in shared.read_output(name).splitlines() if line.startswith("SigIgn")]
    assert int(ignored, 16) == 0


def test_it_inherits_what_the_launch_file_names(shared: Supervisord, add: Callable[..., str]) -> None:
    environment = run_dump(shared, add(DUMP, environment={"A": "b"}))["environment"]
    assert environment["PATH"] == os.environ["PATH"]
    assert set(environment) <= {"A", *PORTABLE}, "nothing of supervisord's own"


def test_the_process_tag_cannot_be_given(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(DUMP, environment={"PLUGVISOR_PLUGIN": "/elsewhere:other:1"})
    run_dir, plugin_id, launch = run_dump(shared, name)["environment"]["PLUGVISOR_PLUGIN"].rsplit(":", 2)
    assert (run_dir, plugin_id) == (str(shared.root), name)
    assert launch.endswith("-1")


def test_no_value_of_the_environment_is_in_a_command_line(shared: Supervisord, add: Callable[..., str]) -> None:
    """Whatever is running while plugins start and stop, at any moment."""
    secret = "f4c1a3e2-secret"
    names = [add(environment={"API_KEY": secret}) for _ in range(3)]
    done, seen, looks = threading.Event(), [], 0

    def watch() -> None:
        nonlocal looks
        while not done.is_set():
            looks += 1
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.extend([text] if secret in (text := process.read_text(errors="replace")) else [])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(4):
            for name in names:
                shared.start_ready(name)
            for name in names:
                shared.stop_plugin(name)
    finally:
        done.set()
        thread.join()
    assert looks > 3
    assert seen == []


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("limits", [{}, {"open_files": 500}], ids=["no limits", "limits"])
def test_as_another_user(limits: dict[str, float]) -> None:
    nobody = pwd.getpwnam("nobody")
    with make_supervisord() as own:
        arguments = ["/bin/sh", "-c", "id -u; id -G; echo ready"]
        own.write_plugin("theirs", arguments=arguments, user="nobody", limits=limits)
        own.start()
        own.start_ready("theirs")
        assert own.read_output("theirs") == f"{nobody.pw_uid}\n{nobody.pw_gid}\nready\n"


# -- what keeps it from starting


def reason(shared: Supervisord, name: str) -> str:
    """Start a plugin that cannot be started; returns why."""
    assert shared.fault("plugins.start", name) == "SPAWN_ERROR"
    process = shared.describe(name)
    assert process["state"] in (BACKOFF, FATAL)
    assert process["pid"] == 0
    assert process["retry_at"] is None or process["state"] == BACKOFF
    return str(process["spawn_error"])


NOT_EXECUTED = {
    "missing": (["/nowhere/to/be/found"], "cannot execute its command: No such file or directory"),
    "not on PATH": (["no-such-command-anywhere"], "cannot execute its command: No such file or directory"),
    "a folder": (["/etc"], "cannot execute its command: Permission denied"),
    "no program": (["/etc/passwd"], "cannot execute its command: Permission denied"),
    "too long": (["/bin/echo", "x" * 200_000], "cannot execute its command: Argument list too long"),
    "empty": ([""], "cannot execute its command: Permission denied"),
}


@pytest.mark.parametrize("what", NOT_EXECUTED)
def test_its_command_is_not_executed(shared: Supervisord, add: Callable[..., str], what: str) -> None:
    arguments, text = NOT_EXECUTED[what]
    name = add(arguments=[*arguments, "a secret"], startretries=0)
    assert reason(shared, name) == text
    wait_for(lambda: shared.describe(name)["state"] == FATAL, "it to be given up")
    assert arguments[0] not in shared.ctl("tail", name) or arguments == [""]


def test_no_program_for_this_machine(shared: Supervisord, add: Callable[..., str]) -> None:
    path = shared.root / "garbage"
    path.write_bytes(b"\x7fELF garbage")
    path.chmod(0o755)
    assert reason(shared, add(arguments=[str(path)])) == "cannot execute its command: Exec format error"


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_no_permission() -> None:
    with make_supervisord() as own:
        program = own.root / "program"  # in a folder of root's alone
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        own.write_plugin("hidden", arguments=[str(program)], user="nobody")
        own.start()
        assert reason(own, "hidden") == "cannot execute its command: Permission denied"


@pytest.mark.parametrize("kind", ["gone", "a file"])
def test_its_folder_is_no_folder(shared: Supervisord, add: Callable[..., str], kind: str) -> None:
    path = shared.root / "no-folder"
    path.unlink(missing_ok=True)
    if kind == "a file":
        path.write_text("")
    text = reason(shared, add(directory=str(path)))
    assert text == f"cannot enter its folder: {'No such file or directory' if kind == 'gone' else 'Not a directory'}"


def test_its_log_cannot_be_opened(shared: Supervisord, add: Callable[..., str]) -> None:
    path = shared.root / "a-folder.log"
    path.mkdir(exist_ok=True)
    assert reason(shared, add(stdout_logfile=path)) == "cannot open its log: Is a directory"


DAMAGED = {
    "empty": b"",
    "script only": b"#!/bin/sh\n",
    "no JSON": b"#!/bin/sh\n{",
    "not text": b"#!/bin/sh\n{\xff}",
    "another form": b'#!/bin/sh\n{"arguments": ["x"]}',
    "no arguments": b'#!/bin/sh\n{"directory": "/", "arguments": [], "environment": {}, "inherited": []}',
    "a number": b'#!/bin/sh\n{"directory": "/", "arguments": ["x", 1], "environment": {}, "inherited": []}',
    "a list": b'#!/bin/sh\n{"directory": "/", "arguments": ["x"], "environment": [], "inherited": []}',
    "NUL": b'#!/bin/sh\n{"directory": "/", "arguments": ["x\\u0000"], "environment": {}, "inherited": []}',
    "no bytes": b'#!/bin/sh\n{"directory": "/", "arguments": ["\\ud800"], "environment": {}, "inherited": []}',
    "a name with =": b'#!/bin/sh\n{"directory": "/", "arguments": ["x"], "environment": {"A=B": ""}, "inherited": []}',
    "no name": b'#!/bin/sh\n{"directory": "/", "arguments": ["x"], "environment": {"": ""}, "inherited": []}',
    "deep": b"#!/bin/sh\n{" + b'"a":[' * 100_000,
}


@pytest.mark.parametrize("what", DAMAGED)
def test_its_launch_file_is_damaged(shared: Supervisord, add: Callable[..., str], what: str) -> None:
    name = add()
    path = shared.root / "launch" / f"{name}.sh"
    good = path.read_bytes()
    path.write_bytes(DAMAGED[what])
    assert reason(shared, name) == "its launch file is damaged; a reload writes it again"
    path.write_bytes(good)
    shared.start_ready(name)


def test_its_launch_file_is_missing(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    (shared.root / "launch" / f"{name}.sh").unlink()
    words = "its launch file cannot be read: No such file or directory"
    assert reason(shared, name) == words
    assert f"spawnerr: {name}: {words}" in shared.log


@pytest.mark.parametrize("kind", ["fifo", "endless", "folder"])
def test_something_else_in_place_of_its_launch_file(shared: Supervisord, add: Callable[..., str], kind: str) -> None:
    """Whoever writes launch files cannot make supervisord wait or grow."""
    name = add()
    path = shared.root / "launch" / f"{name}.sh"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert reason(shared, name).startswith("its launch file")
    assert shared.read_resident_kilobytes() < 200_000
    if kind == "folder":
        path.rmdir()


def test_too_many_open_files(shared: Supervisord, add: Callable[..., str]) -> None:
    names = [add() for _ in range(4)]
    limits = resource.prlimit(shared.pid, resource.RLIMIT_NOFILE)
    in_use = shared.count_descriptors()
    try:
        resource.prlimit(shared.pid, resource.RLIMIT_NOFILE, ((in_use + 2) * 8 // 7, limits[1]))
        results = [shared.fault("plugins.start", name) for name in names]
    finally:
        resource.prlimit(shared.pid, resource.RLIMIT_NOFILE, limits)
    assert results[-1] == "SPAWN_ERROR"
    assert shared.describe(names[-1])["spawn_error"] in ("too many open files", "")
    # it is tried again by itself
    wait_for(lambda: shared.describe(names[-1])["state"] == RUNNING, "another try")
    for name in names:
        shared.stop_plugin(name)
    wait_for(lambda: shared.count_descriptors() <= in_use + 1, "what was opened in vain to be closed")


@pytest.mark.parametrize(
    ("number", "text"), [(errno.EAGAIN, "too many processes"), (errno.ENFILE, "too many open files")]
)
def test_shortages_of_the_machine_have_words_of_their_own(number: int, text: str) -> None:
    assert describe_spawn_error(OSError(number, os.strerror(number)), "/folder") == text


def test_a_stop_right_after_a_start_is_obeyed(shared: Supervisord, add: Callable[..., str]) -> None:
    """The signal comes after exec, whose handlers are the defaults: it is never swallowed."""
    name = add(arguments=["/bin/sleep", "1000"], stopwaitsecs=60)
    for _ in range(50):
        shared.rpc("plugins.start", name)
        shared.stop_plugin(name)
    assert "SIGKILL" not in shared.log.partition(f"spawned: '{name}'")[2]
    assert shared.states[name] == (STOPPED, 0)


def test_output_goes_to_its_log(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(f"import sys\nsys.stderr.write('first\\n')\nprint('x' * 1_000_000)\n{OBEDIENT}")
    shared.start_ready(name)
    assert shared.read_output(name) == "first\n" + "x" * 1_000_000 + "\nready\n"
