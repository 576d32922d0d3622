"""The commands of checks: run as the plugin, reported once, and nothing of them is left."""

from __future__ import annotations

import itertools
import json
import math
import os
import pwd
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import IGNORES_SIGTERM
from tests.helpers.processes import cpu_seconds, is_alive
from tests.helpers.supervisord import RUNNING, make_supervisord
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import StreamReader, Supervisord

REPORTS = """\
import json, os
with open("told", "w") as file:
    json.dump([os.getcwd(), os.environ["NAME"], os.getpgid(0) == os.getpid(), os.getuid()], file)
raise SystemExit(7)
"""
HANGS = """\
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"hangs-{os.getpid()}", "w").close()
while True:
    signal.pause()
"""
FORKS_AND_HANGS = f"""\
import os, sys
for kind in ("child", "session", "daemon", "erased"):
    if os.fork() == 0:
        if kind != "child":
            os.setsid()
        if kind == "daemon" and os.fork():
            os._exit(0)
        if kind == "erased":
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", {HANGS!r}], {{}})
        break
{HANGS}"""
LEAVES_A_DAEMON = f"""\
import os, time
if os.fork():
    while not any(name.startswith("hangs-") for name in os.listdir()):
        time.sleep(0.01)
    os._exit(0)
os.setsid()
{HANGS}"""
FORKS_WITHOUT_END = """\
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"hangs-{os.getpid()}", "w").close()
until = time.monotonic() + 120  # if the tests are killed
while time.monotonic() < until:
    if os.fork():
        os._exit(0) if os.getpgid(0) != os.getpid() else time.sleep(120)
    os.setsid()
    time.sleep(0.002)
"""
FLOODS = """\
import os
for _ in range(64):
    os.write(1, b"x" * 1024 * 1024)
    os.write(2, b"x" * 1024 * 1024)
"""
SHORT_OF_PROCESSES = """\
import errno, os
from plugvisor.engines.supervisord.extension.commands import commands
from plugvisor.engines.supervisord.extension.rpcinterface import make_rpcinterface
spawn = commands.spawn_launch
def spawn_if_there_are_enough(*arguments):
    if not os.path.exists(os.path.join(os.path.dirname(__file__), "enough")):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
    return spawn(*arguments)
commands.spawn_launch = spawn_if_there_are_enough
"""

_numbers = itertools.count(1)


def run_python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def execute(supervisord: Supervisord, name: str, check: str = "check", seconds: float = DEADLINE_SECONDS) -> int:
    """Begin an attempt; returns its number."""
    number = next(_numbers)
    supervisord.rpc("plugins.execute", name, supervisord.describe(name)["launches"], check, seconds, number)
    return number


def wait_for_result(reader: StreamReader, number: int) -> dict[str, Any]:
    """How an attempt has ended, without the line's own fields."""

    def find() -> list[dict[str, Any]]:
        return [message for message in reader.messages if message.get("number") == number]

    [line] = wait_for(find, f"the end of attempt {number}")
    return {key: value for key, value in line.items() if key not in ("type", "seq", "name", "number")}


def find_hanging(supervisord: Supervisord) -> list[int]:
    """The processes that have said that they hang, and are alive."""
    pids = [int(path.name.partition("-")[2]) for path in supervisord.root.glob("hangs-*")]
    return [pid for pid in pids if is_alive(pid)]


@pytest.fixture(autouse=True)
def nothing_hangs(shared: Supervisord) -> None:
    """Each test begins without the notes of the one before."""
    for path in shared.root.glob("hangs-*"):
        path.unlink()


def test_it_runs_as_its_plugin(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(checks={"check": run_python(REPORTS)}, environment={"NAME": "é\n"})
    shared.start_ready(name)
    assert wait_for_result(reader, execute(shared, name)) == {"code": 7}
    told = json.loads((shared.root / "told").read_text())
    assert told == [str(shared.root), "é\n", True, os.getuid()]
    assert shared.describe(name)["state"] == RUNNING


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (["true"], {"code": 0}),
        (run_python("import os; os.kill(os.getpid(), 9)"), {"signal": "SIGKILL"}),
        (["no-such-program"], {"error": "cannot execute its command: No such file or directory"}),
        (["/"], {"error": "cannot execute its command: Permission denied"}),
        (run_python(FLOODS), {"code": 0}),
    ],
)
def test_results(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader, command: list[str], result: dict[str, Any]
) -> None:
    name = add(checks={"check": command})
    shared.start_ready(name)
    before = shared.count_descriptors()
    for _ in range(3):
        assert wait_for_result(reader, execute(shared, name)) == result
    # supervisord looks at its folders once a second, which takes a descriptor for a moment
    wait_for(lambda: shared.count_descriptors() <= before, "nothing to be leaked")


def test_there_is_no_such_check(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add()
    shared.start_ready(name)
    assert wait_for_result(reader, execute(shared, name))["error"] == "its process was started without this check"


def test_a_shortage_is_not_the_plugins_failure() -> None:
    with make_supervisord("short_of_processes") as own:
        (own.root / "short_of_processes.py").write_text(SHORT_OF_PROCESSES)
        own.write_plugin("echo", checks={"check": ["true"]})
        own.start()
        own.start_ready("echo")
        reader = own.follow()
        launches = own.describe("echo")["launches"]
        assert own.fault("plugins.execute", "echo", launches, "check", 1.0, 1) == "FAILED"
        assert not [message for message in reader.messages if message["type"] == "check"]
        (own.root / "enough").touch()
        assert wait_for_result(reader, execute(own, "echo")) == {"code": 0}


def test_a_launch_that_is_over_is_not_checked(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(checks={"check": ["true"]})
    assert shared.fault("plugins.execute", name, 0, "check", 1.0, 1) == "NOT_RUNNING"
    shared.start_ready(name)
    launches = shared.describe(name)["launches"]
    assert shared.fault("plugins.execute", name, launches + 1, "check", 1.0, 1) == "NOT_RUNNING"
    shared.stop_plugin(name)
    assert shared.fault("plugins.execute", name, launches, "check", 1.0, 1) == "NOT_RUNNING"
    assert shared.fault("plugins.execute", "nobody", 1, "check", 1.0, 1) == "BAD_NAME"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_it_runs_as_its_plugins_user_and_is_killed_all_the_same() -> None:
    with make_supervisord() as own:
        own.root.chmod(0o777)  # it writes there
        hang = "echo > hangs-$$; exec sleep 1000"
        command = ["/bin/sh", "-c", f"sh -c '{hang}' & setsid sh -c '{hang}' & {hang}"]
        arguments = ["/bin/sh", "-c", "echo ready; exec sleep 1000"]
        own.write_plugin("theirs", arguments=arguments, checks={"check": command}, user="nobody")
        own.start()
        own.start_ready("theirs")
        reader = own.follow()
        execute(own, "theirs")
        pids = wait_for(lambda: len(found := find_hanging(own)) == 3 and found, "all of it to hang")
        assert {os.stat(f"/proc/{pid}").st_uid for pid in pids} == {pwd.getpwnam("nobody").pw_uid}
        number = execute(own, "theirs", seconds=1)  # which ends the one before, too
        assert wait_for_result(reader, number) == {"timed_out": True}
        wait_for(lambda: not find_hanging(own), "its end")


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 0, 1e9, "1"])
def test_what_is_no_time_harms_nobody(shared: Supervisord, add: Callable[..., str], seconds: object) -> None:
    name = add(checks={"check": ["true"]})
    shared.start_ready(name)
    launches = shared.describe(name)["launches"]
    assert shared.fault("plugins.execute", name, launches, "check", seconds, 1) == "INCORRECT_PARAMETERS"
    assert shared.fault("plugins.execute", name, launches, "check", 1.0, "x") == "INCORRECT_PARAMETERS"
    assert shared.fault("plugins.execute", name, launches, ["check"], 1.0, 1) == "INCORRECT_PARAMETERS"
    assert shared.describe(name)["state"] == RUNNING


@pytest.mark.parametrize(("code", "processes"), [(HANGS, 1), (FORKS_AND_HANGS, 5), (FORKS_WITHOUT_END, 1)])
def test_it_is_killed_with_its_tree_at_the_timeout(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader, code: str, processes: int
) -> None:
    name = add(checks={"check": run_python(code)})
    shared.start_ready(name)
    for seconds in (0.6, 3, 15, DEADLINE_SECONDS):
        number = execute(shared, name, seconds=seconds)
        assert wait_for_result(reader, number) == {"timed_out": True}
        wait_for(lambda: not find_hanging(shared) and not shared.find(f"{name}.check"), "its end")
        notes = list(shared.root.glob("hangs-*"))
        if len(notes) == processes:
            break
        for note in notes:  # on a busy machine they began too late to have all said so
            note.unlink()
    assert len(notes) == processes
    process = shared.describe(name)
    assert process["state"] == RUNNING
    assert not process["orphans"]
    assert wait_for_result(reader, execute(shared, name, seconds=seconds)) == {"timed_out": True}
    wait_for(lambda: not find_hanging(shared) and not shared.find(f"{name}.check"), "its end")


def test_what_it_leaves_behind_is_ended(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(checks={"check": run_python(LEAVES_A_DAEMON)})
    shared.start_ready(name)
    assert wait_for_result(reader, execute(shared, name)) == {"code": 0}
    assert list(shared.root.glob("hangs-*"))
    wait_for(lambda: not find_hanging(shared), "the daemon's end")
    assert not [line for line in reader.messages if line.get("process", {}).get("orphans")]


def test_a_second_attempt_ends_the_first(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(checks={"check": run_python(FORKS_AND_HANGS)})
    shared.start_ready(name)
    first = execute(shared, name)
    wait_for(lambda: len(find_hanging(shared)) == 5, "the first")
    pids = find_hanging(shared)
    second = execute(shared, name, seconds=1)
    assert wait_for_result(reader, second) == {"timed_out": True}
    assert not [pid for pid in pids if is_alive(pid)]
    assert not [message for message in reader.messages if message.get("number") == first], "it said nothing"


def test_checks_of_a_plugin_run_side_by_side(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    name = add(checks={"one": run_python(HANGS), "two": ["true"]})
    shared.start_ready(name)
    execute(shared, name, "one")
    assert wait_for_result(reader, execute(shared, name, "two")) == {"code": 0}
    wait_for(lambda: find_hanging(shared), "the other one still runs")
    shared.stop_plugin(name)
    wait_for(lambda: not find_hanging(shared), "its end")


def test_it_ends_with_its_plugin(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    """And neither the plugin's stop nor its next start waits for it."""
    name = add(checks={"check": run_python(FORKS_AND_HANGS)})
    pid = shared.start_ready(name)
    number = execute(shared, name)
    wait_for(lambda: len(find_hanging(shared)) == 5, "all of it to hang")
    os.kill(pid, signal.SIGKILL)
    reader.wait_for(name, pid=0, orphans=False)
    wait_for(lambda: not find_hanging(shared), "its end")
    assert not [message for message in reader.messages if message.get("number") == number], "it said nothing"
    assert shared.start_ready(name) != pid


def test_a_removed_plugin_has_no_check(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(checks={"check": run_python(HANGS)})
    pid = shared.start_ready(name)
    execute(shared, name)
    os.kill(pid, signal.SIGKILL)
    shared.wait_until_gone(name)
    shared.rpc("plugins.remove", name)
    wait_for(lambda: not find_hanging(shared), "its end")


def test_it_does_not_outlive_supervisord(own: Supervisord) -> None:
    own.write_plugin("slow", IGNORES_SIGTERM, checks={"check": run_python(FORKS_AND_HANGS)}, stopwaitsecs=1)
    own.start()
    own.start_ready("slow")
    execute(own, "slow")
    wait_for(lambda: len(find_hanging(own)) == 5, "all of it to hang")
    assert own.stop() == 0
    assert not find_hanging(own)


def test_the_next_supervisord_ends_it(own: Supervisord) -> None:
    own.write_plugin("echo", checks={"check": run_python(HANGS)})
    own.start()
    own.start_ready("echo")
    execute(own, "echo")
    wait_for(lambda: find_hanging(own), "it to hang")
    own.stop(signal.SIGKILL)
    assert find_hanging(own)
    own.start()
    assert not find_hanging(own)


def test_supervisord_sleeps_while_a_command_runs(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(checks={"check": run_python(HANGS)})
    shared.start_ready(name)
    execute(shared, name, seconds=2)
    wait_for(lambda: find_hanging(shared), "it to hang")
    before = cpu_seconds(shared.pid)
    wait_for(lambda: not find_hanging(shared), "its end")
    assert cpu_seconds(shared.pid) - before < 0.3
