"""Limits of plugins: how the API reports them, and what becomes of a plugin that exceeds one."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

MIB = 2**20
LEAKING = """\
import os, signal, time
print("ready", flush=True)
while not os.path.exists("leak"):
    time.sleep(0.01)
os.unlink("leak")
print("leaks", time.monotonic(), flush=True)
kept = b"x" * 100 * 2**20
signal.pause()
"""
LEAKING_CHILD = f"""\
import os, signal
if os.fork():
    signal.pause()
{LEAKING}"""
FORKING = f"""\
import os, signal, time
print("ready", flush=True)
while not os.path.exists("fork"):
    time.sleep(0.01)
for _ in range(9):
    if os.fork() == 0:
        signal.pause()
{OBEDIENT}"""
LIMITED = 'auto_start = false\nsupervisor.startsecs = 0\nlimits.memory = "64M"\n'


def test_a_plugin_above_its_memory_limit_is_restarted(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    name = add(LEAKING, runtime=LIMITED)
    check_restarted(shared, name)


def test_the_memory_of_children_counts(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    name = add(LEAKING_CHILD, runtime=LIMITED)
    check_restarted(shared, name)


def check_restarted(shared: PlugvisorStack, name: str) -> None:
    """Have a plugin exceed its limit, and check what is reported of that."""
    first = shared.start_running(name)
    assert shared.status(name)["limits"] in (
        {"memory": 64 * MIB, "enforced_by": "watch", "watched": ["memory"], "unenforced": []},
        {"memory": 64 * MIB, "enforced_by": "cgroup", "unenforced": []},
    )
    leak = shared.plugins_dir / name / "leak"
    leak.touch()
    wait_for(lambda: "leaks" in shared.read_log(name), "the leak")
    leaked_at = float(shared.read_log(name).split("leaks ")[1].split()[0])
    details = set()

    def look() -> bool:
        answer = shared.status(name)
        details.add(answer.get("detail", ""))
        return answer["status"] == "running" and answer["pid"] != first

    wait_for(look, "the restart")
    took_seconds = time.monotonic() - leaked_at
    answer = shared.status(name)
    assert answer["last_exit"]["reason"] == "memory limit"
    assert answer["restarts"] == 1
    assert any("it used more than its memory limit of 64 MiB" in detail for detail in details), details
    assert took_seconds < 10  # 2 on an idle machine
    shared.post(f"/plugin/{name}/stop")


def test_a_plugin_with_more_processes_than_its_limit_is_ended(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    runtime = 'auto_start = false\nsupervisor.startsecs = 0\nsupervisor.autorestart = "false"\nlimits.processes = 8'
    name = add(FORKING, runtime=runtime)
    shared.start_running(name)
    if shared.status(name)["limits"]["enforced_by"] == "cgroup":
        pytest.skip("the kernel gives it no more processes")
    (shared.plugins_dir / name / "fork").touch()
    answer = shared.wait_for_status(name, "error")
    assert answer["last_exit"]["reason"] == "processes limit"
    assert answer["detail"].startswith("it was ended: it had more processes and threads than its limit of 8")


def test_open_files_are_limited_from_the_beginning(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    code = f"import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)\n{OBEDIENT}"
    before = resource.prlimit(shared.supervisord_pid, resource.RLIMIT_NOFILE)
    name = add(code, runtime="auto_start = false\nlimits.open_files = 77")
    shared.start_running(name)
    assert "(77, 77)\n" in shared.read_log(name)
    assert shared.status(name)["limits"] == {"open_files": 77, "enforced_by": "rlimit", "unenforced": []}
    assert resource.prlimit(shared.supervisord_pid, resource.RLIMIT_NOFILE) == before
    metrics = shared.http.get("/metrics", headers={"Authorization": "Bearer an-admin-code-for-tests"}).text
    assert f'plugvisor_plugin_open_files_limit{{plugin_id="{name}"}} 77.0' in metrics
    shared.post(f"/plugin/{name}/stop")


def test_a_limit_of_cpus_that_nothing_enforces_is_reported(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    name = add(runtime="auto_start = false\nlimits.cpus = 0.5")
    shared.start_running(name)
    limits = shared.status(name)["limits"]
    assert limits["cpus"] == 0.5
    log = (shared.log_dir / "_supervisord.log").read_text()
    if limits["enforced_by"] == "none":
        assert limits["unenforced"] == ["cpus"]
        assert f"nothing enforces a limit of '{name}' (cpus): " in log
    else:
        assert limits == {"cpus": 0.5, "enforced_by": "cgroup", "unenforced": []}
    shared.post(f"/plugin/{name}/stop")
