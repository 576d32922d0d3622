"""Beside an operator's own programs, in the operator's own supervisord: nothing of theirs is touched."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

_CONFIGURATION = """\
[supervisord]
nodaemon=true
logfile={root}/own.log
pidfile={root}/own.pid
childlogdir={root}
[unix_http_server]
file={run}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:plugins]
supervisor.rpcinterface_factory=plugvisor.engines.supervisord.extension.rpcinterface:make_rpcinterface
stream={run}/state.sock
programs={run}/conf.d
[program:web]
command=/bin/sleep 1001
numprocs=1
[program:member]
command=/bin/sleep 1002
[group:grp]
programs=member
[eventlistener:ears]
command=/bin/sleep 1003
events=TICK_3600
[fcgi-program:fast]
command=/bin/sleep 1004
socket=unix://{root}/fast.sock
[include]
files={include}
"""
OPERATORS = {"web:web": "1001", "grp:member": "1002", "ears:ears": "1003", "fast:fast": "1004", "late:late": "1005"}
TAKEN = ("web", "member", "grp", "ears", "fast", "late")


@pytest.fixture(params=["plugins first", "plugins last"])
def own(plugvisor: PlugvisorStack, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """An operator's supervisord, and the service beside it, with plugins whose ids the operator has used."""
    included = [f"{plugvisor.run_dir}/conf.d/*.conf", f"{plugvisor.root}/mine/*.conf"]
    if request.param == "plugins last":
        included.reverse()
    (plugvisor.root / "mine").mkdir()
    (plugvisor.root / "mine" / "late.conf").write_text("[program:late]\ncommand=/bin/sleep 1005\n")
    (plugvisor.root / "own.conf").write_text(
        _CONFIGURATION.format(root=plugvisor.root, run=plugvisor.run_dir, include=" ".join(included))
    )
    for plugin_id in (*TAKEN, "fine"):
        plugvisor.write_plugin(plugin_id)
    assert plugvisor.command("render").returncode == 0, "it cannot know of that supervisord"
    process = start(plugvisor)
    serve = plugvisor.spawn("serve")
    try:
        wait_for(plugvisor.is_ready, "the service")
        yield process
    finally:
        for ending in (serve, process):
            ending.terminate()
            ending.wait(DEADLINE_SECONDS)


def start(plugvisor: PlugvisorStack) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(plugvisor.root / "own.conf")]
    with (plugvisor.root / "own.out").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=plugvisor.environ)


def read_pids(plugvisor: PlugvisorStack) -> dict[str, int]:
    """The process of each of the operator's programs; checks that it is theirs."""
    infos = {f"{info['group']}:{info['name']}": info["pid"] for info in plugvisor.rpc("getAllProcessInfo")}
    assert infos.keys() == OPERATORS.keys() | {"fine:fine"}, infos
    for name, argument in OPERATORS.items():
        assert read_arguments(infos[name]) == ["/bin/sleep", argument], name
    return {name: infos[name] for name in OPERATORS}


def read_arguments(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    return []


def all_run(plugvisor: PlugvisorStack) -> bool:
    with contextlib.suppress(Exception):
        infos = {info["name"]: info["pid"] for info in plugvisor.rpc("getAllProcessInfo")}
        return len(infos) == len(OPERATORS) + 1 and all(
            read_arguments(infos[name.partition(":")[2]]) == ["/bin/sleep", argument]
            for name, argument in OPERATORS.items()
        )
    return False


def test_an_id_that_is_taken_is_an_invalid_manifest(plugvisor: PlugvisorStack, own: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: all_run(plugvisor), "the operator's programs")
    pids = read_pids(plugvisor)
    for plugin_id in TAKEN:
        for verb in ("start", "reload"):
            response = plugvisor.post(f"/plugin/{plugin_id}/{verb}")
            assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest"), response.text
            assert "no plugin; choose another id" in response.json()["detail"]
        assert plugvisor.post(f"/plugin/{plugin_id}/stop").json()["code"] == "not_running"
    assert plugvisor.post("/plugins/refresh").json()["invalid"] == sorted(TAKEN)
    for verb in ("stop", "start", "reload"):
        plugvisor.post(f"/plugins/{verb}", json={})
    plugvisor.wait_for_status("fine", "running")
    assert "ERROR" not in plugvisor.ctl("reread")
    plugvisor.ctl("update")
    assert read_pids(plugvisor) == pids
    for plugin_id in TAKEN:
        (plugvisor.plugins_dir / plugin_id / "plugin.toml").unlink()
        (plugvisor.plugins_dir / plugin_id).rename(plugvisor.root / f"gone-{plugin_id}")
    assert plugvisor.post("/plugins/refresh").json()["removed"] == sorted(TAKEN)
    plugvisor.ctl("update")
    assert read_pids(plugvisor) == pids


def test_a_restart_of_that_supervisord(plugvisor: PlugvisorStack, own: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: all_run(plugvisor), "the operator's programs")
    before = read_pids(plugvisor)
    plugvisor.ctl("reload")  # begins anew in the same process, once those of before have ended
    wait_for(lambda: not any(map(read_arguments, before.values())), "the end of the operator's programs")
    wait_for(lambda: all_run(plugvisor), "the operator's programs, once more")
    read_pids(plugvisor)

    def find_invalid() -> object:
        return plugvisor.post("/plugins/refresh").json().get("invalid")

    wait_for(lambda: find_invalid() == sorted(TAKEN), "the service, with that supervisord")


def test_an_operator_takes_a_name_later(plugvisor: PlugvisorStack, own: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: all_run(plugvisor), "the operator's programs")
    plugvisor.write_plugin("new")
    (plugvisor.root / "mine" / "new.conf").write_text("[program:new]\ncommand=/bin/sleep 1006\nautostart=false\n")
    plugvisor.ctl("reread")
    assert plugvisor.post("/plugins/refresh").json()["invalid"] == sorted((*TAKEN, "new"))
    (plugvisor.root / "mine" / "new.conf").unlink()
    plugvisor.ctl("reread")
    wait_for(lambda: plugvisor.post("/plugins/refresh").json()["added"] == ["new"], "the name to be free")
    assert plugvisor.post("/plugin/new/start").status_code == 200


def test_the_doctor_knows_the_service(plugvisor: PlugvisorStack, own: subprocess.Popen[bytes]) -> None:
    """Though supervisord does not have its socket, as it has with `plugvisor up`."""
    done = plugvisor.command("doctor", HOME=str(plugvisor.root))
    assert f"ok       address: the service answers at {plugvisor.url}\n" in done.stdout, done.stdout
    assert f"ok       run folder: supervisord runs: process {own.pid}\n" in done.stdout, done.stdout
