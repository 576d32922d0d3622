"""Limits by control groups, on a kernel that has them: tests/cgroup/boot-vm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cgroup.conftest import HIERARCHY, NOBODY
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import EXITED, FATAL, RUNNING
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord

MIB = 2**20
ALL = {"memory": 64 * MIB, "cpus": 0.5, "processes": 20, "open_files": 100}
LEAKING = """\
import os, signal, time
print("ready", flush=True)
while not os.path.exists("leak"):
    time.sleep(0.01)
kept = []
while True:
    kept.append(b"x" * 2**20)
"""
"""Eats memory, once there is a file `leak` in its folder."""
LEAKING_CHILD = f"""\
import os, signal
if os.fork():
    signal.pause()
{LEAKING}"""
HIDING = f"""\
import os, resource, signal, sys
if len(sys.argv) > 1:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_RTTIME, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("hidden", os.getpid(), flush=True)
    signal.pause()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-I", "-S", sys.argv[0], "hide"], {{}})
    os._exit(0)
os.wait()
{OBEDIENT}"""
"""Has a child without anything by which supervisord could identify it."""


def find_group(pid: int) -> Path:
    """The group of a process."""
    [line] = [line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")]
    return HIERARCHY / line[4:]


def find_reads(group: Path) -> dict[str, str]:
    """The limits of a group as the kernel has them."""
    return {name: (group / name).read_text().strip() for name in ("memory.max", "cpu.max", "pids.max")}


def find_hidden(supervisord: Supervisord) -> int:
    """The child of the plugin `hiding`."""
    wait_for(lambda: "hidden" in supervisord.read_output("hiding"), "the hidden process")
    return int(supervisord.read_output("hiding").split("hidden ")[1].split()[0])


def check_limited(supervisord: Supervisord, base: Path) -> None:
    """Check that a plugin with limits is in a group of its own with them, and one without is not."""
    supervisord.add("limited", limits=ALL)
    supervisord.add("free")
    limited, free = supervisord.start_ready("limited"), supervisord.start_ready("free")
    group = find_group(limited)
    assert group.is_relative_to(base)
    assert group.name == "limited"
    assert find_reads(group) == {"memory.max": str(64 * MIB), "cpu.max": "50000 100000", "pids.max": "20"}
    assert find_group(free) == find_group(supervisord.pid)
    reported = supervisord.describe("limited")["limits"]
    assert reported == {**ALL, "enforced_by": "cgroup", "watched": [], "unenforced": []}
    assert "limits" not in supervisord.describe("free")
    for name in ("limited", "free"):
        supervisord.stop_plugin(name)


def check_not_limited(supervisord: Supervisord, reason: str) -> None:
    """Check that a plugin is started without a group, and that the log says why."""
    supervisord.start_ready(supervisord.add("limited", limits=ALL))
    reported = supervisord.describe("limited")["limits"]
    assert reported["enforced_by"] == "rlimit"
    assert reported["watched"] == ["memory", "processes"]
    assert reported["unenforced"] == ["cpus"]
    assert f"'limited' (cpus): {reason}" in supervisord.log
    supervisord.stop_plugin("limited")


def test_groups_are_made_within_the_group_of_supervisord(group: Path, start: Callable[..., Supervisord]) -> None:
    supervisord = start()
    supervisord.start_ready(supervisord.add("first"))
    assert list(group.glob("*/")) == []
    assert find_group(supervisord.pid) == group
    check_limited(supervisord, group)
    assert find_group(supervisord.pid).parent == group
    assert supervisord.stop() == 0
    assert list(group.glob("*/")) == []


def test_a_user_with_a_delegated_group_uses_it(group: Path, start: Callable[..., Supervisord]) -> None:
    for path in (group, *(group / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
        os.chown(path, NOBODY, NOBODY)
    check_limited(start(NOBODY), group)


def test_groups_are_made_in_a_container(group: Path, start: Callable[..., Supervisord]) -> None:
    check_limited(start(container="writable"), group)


def test_a_container_with_a_read_only_hierarchy_has_no_groups(group: Path, start: Callable[..., Supervisord]) -> None:
    check_not_limited(start(container="read-only"), "supervisord's control group is not writable")
    assert list(group.glob("*/")) == []


@pytest.mark.usefixtures("outsider")
def test_a_container_with_another_process_has_no_groups(group: Path, start: Callable[..., Supervisord]) -> None:
    check_not_limited(start(container="writable"), "other processes are in supervisord's control group")
    assert list(group.glob("*/")) == []


@pytest.mark.usefixtures("outsider")
def test_root_makes_groups_beside_a_group_with_others(group: Path, start: Callable[..., Supervisord]) -> None:
    before = set(HIERARCHY.glob("*/"))
    supervisord = start()
    check_limited(supervisord, HIERARCHY)
    assert find_group(supervisord.pid) == group
    assert list(group.glob("*/")) == []
    assert len(set(HIERARCHY.glob("*/")) - before) == 1
    assert supervisord.stop() == 0
    assert set(HIERARCHY.glob("*/")) == before


@pytest.mark.usefixtures("outsider")
def test_a_user_in_a_group_with_others_has_no_groups(group: Path, start: Callable[..., Supervisord]) -> None:
    for path in (group, *(group / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
        os.chown(path, NOBODY, NOBODY)
    check_not_limited(start(NOBODY), "other processes are in supervisord's control group")


@pytest.mark.parametrize("code", [LEAKING, LEAKING_CHILD], ids=["itself", "a child"])
@pytest.mark.usefixtures("group")
def test_the_kernel_ends_a_plugin_above_its_memory_limit(start: Callable[..., Supervisord], code: str) -> None:
    supervisord = start()
    name = supervisord.add("leaking", code, limits={"memory": 32 * MIB}, autorestart="true", startsecs=0)
    first = supervisord.start_ready(name)
    leak = supervisord.root / "leak"
    leak.touch()
    reader = supervisord.follow()
    wait_for(lambda: not is_alive(first), "the end of the plugin")
    leak.unlink()
    process = reader.wait_for(name, state=RUNNING, launches=2)
    assert process["last_exit"]["signal"] == "SIGKILL"
    assert process["last_exit"]["reason"] == "memory limit"
    supervisord.rpc("plugins.restart", name)
    assert reader.wait_for(name, state=RUNNING, launches=3)["last_exit"].get("reason") is None


@pytest.mark.usefixtures("group")
def test_a_plugin_has_no_more_processes_than_its_limit(start: Callable[..., Supervisord]) -> None:
    code = f"""\
import os, signal, time
made = 0
try:
    while True:
        if os.fork() == 0:
            signal.pause()
        made += 1
except OSError as error:
    print("made", made, flush=True)
{OBEDIENT}"""
    supervisord = start()
    supervisord.start_ready(supervisord.add("forking", code, limits={"processes": 10}))
    assert "made 9\n" in supervisord.read_output("forking")
    supervisord.stop_plugin("forking")


@pytest.mark.usefixtures("group")
def test_what_hides_from_supervisord_is_found_in_the_group(start: Callable[..., Supervisord]) -> None:
    supervisord = start()
    main = supervisord.start_ready(supervisord.add("hiding", HIDING, limits={"processes": 10}))
    hidden = find_hidden(supervisord)
    assert find_group(hidden) == find_group(main)
    os.kill(main, 9)
    supervisord.wait_until_gone("hiding")
    assert not is_alive(hidden)


@pytest.mark.usefixtures("group")
def test_changed_limits_apply_at_the_next_start_and_a_removed_plugin_has_no_group(
    start: Callable[..., Supervisord],
) -> None:
    supervisord = start()
    name = supervisord.add("limited", limits={"memory": 64 * MIB, "processes": 20})
    group = find_group(supervisord.start_ready(name))
    supervisord.write_plugin(name, limits={"memory": 32 * MIB, "cpus": 0.001})
    assert find_reads(group)["memory.max"] == str(64 * MIB)
    supervisord.rpc("plugins.restart", name)
    supervisord.follow().wait_for(name, state=RUNNING, launches=2)
    assert find_reads(group) == {"memory.max": str(32 * MIB), "cpu.max": "1000 100000", "pids.max": "max"}
    supervisord.remove(name)
    assert not group.exists()


@pytest.mark.usefixtures("group")
def test_a_plugin_that_cannot_be_executed_within_its_limit_is_an_error(start: Callable[..., Supervisord]) -> None:
    supervisord = start()
    name = supervisord.add("tiny", limits={"memory": 100_000}, startsecs=1, startretries=0)
    supervisord.fault("plugins.start", name)
    process = wait_for(lambda: (found := supervisord.describe(name))["state"] in (FATAL, EXITED) and found, "its end")
    assert process["last_exit"]["reason"] == "memory limit"


@pytest.mark.usefixtures("group")
def test_supervisord_that_restarts_itself_uses_its_groups_again(start: Callable[..., Supervisord]) -> None:
    supervisord = start()
    supervisord.start_ready(supervisord.add("limited", limits=ALL))
    supervisord.rpc("supervisor.restart")
    wait_for(lambda: supervisord.answers() and not supervisord.find("limited"), "the restart")
    assert find_group(supervisord.start_ready("limited")).name == "limited"


@pytest.mark.usefixtures("outsider")
def test_what_a_killed_supervisord_has_left_in_its_groups_is_ended(start: Callable[..., Supervisord]) -> None:
    before = set(HIERARCHY.glob("*/"))
    supervisord = start()
    supervisord.start_ready(supervisord.add("hiding", HIDING, limits={"processes": 10}))
    hidden = find_hidden(supervisord)
    supervisord.stop(9)
    supervisord.start()
    assert is_alive(hidden)
    supervisord.start_ready(supervisord.add("limited", limits=ALL))
    wait_for(lambda: not is_alive(hidden), "its end")
    assert supervisord.stop() == 0
    assert set(HIERARCHY.glob("*/")) == before


@pytest.mark.usefixtures("group")
def test_a_plugin_of_another_user_is_in_its_group(start: Callable[..., Supervisord]) -> None:
    supervisord = start()
    arguments = ["/bin/sh", "-c", "id -u; id -G; echo ready; exec sleep 100"]
    main = supervisord.start_ready(supervisord.add("theirs", arguments=arguments, user="nobody", limits=ALL))
    assert supervisord.read_output("theirs") == f"{NOBODY}\n{NOBODY}\nready\n"
    assert find_group(main).name == "theirs"
