"""What escapes from a plugin is found and ended, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from plugvisor.engines.supervisord.extension import orphans as strays
from plugvisor.engines.supervisord.extension.orphans import Census, Member
from tests.supervisord.cast import CAST
from tests.supervisord.test_faults import HESITANT, service_pid
from tests.supervisord.witness import Seen, Table

from tests.conftest import OBEDIENT, is_alive, make_plugvisor, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Plugvisor

FOR_EVER = "while True:\n    signal.pause()\n"
ESCAPING = CAST["escaping"].code.removesuffix(FOR_EVER) + f"print('ready', flush=True)\n{FOR_EVER}"
FAMILY = 3
"""A main process, and two in sessions of their own whose parent is gone; one of them is deaf."""
AT_ONCE = "auto_start = false\n[plugin_runtime.supervisor]\nstartsecs = 0\nautorestart = true"


def read_family(plugvisor: Plugvisor, plugin_id: str) -> list[Seen]:
    return [seen for seen in Table(plugvisor.run_dir, set()).read() if seen.plugin_id == plugin_id]


def start_family(plugvisor: Plugvisor, plugin_id: str) -> list[int]:
    """Start a plugin of `ESCAPING`; returns its processes, the main one first."""
    main = plugvisor.start_running(plugin_id)
    wait_for(lambda: len(read_family(plugvisor, plugin_id)) >= FAMILY, "its family")
    return [main, *(seen.pid for seen in read_family(plugvisor, plugin_id) if seen.pid != main)]


@pytest.fixture
def escaping(plugvisor: Plugvisor) -> Plugvisor:
    """A Plugvisor, up, with one plugin that forks children which escape."""
    plugvisor.write_plugin("x", ESCAPING, runtime=AT_ONCE)
    plugvisor.up()
    return plugvisor


# -- a stop


def test_a_stop_sweeps(shared: Plugvisor, add: Callable[..., str]) -> None:
    plugin_id = add(ESCAPING, runtime=AT_ONCE)
    family = start_family(shared, plugin_id)
    response = shared.post(f"/plugin/{plugin_id}/stop")
    assert response.status_code == 200
    assert not [pid for pid in family if is_alive(pid)], "at the very moment of the answer"

    def read_lines() -> list[str]:
        log = shared.service_log if shared.stock else shared.read_log("_supervisord")
        return [line for line in log.splitlines() if f"ended what '{plugin_id}' had left behind" in line]

    [line] = wait_for(read_lines, "its line in the log")
    assert all(f"{pid} (SIG" in line for pid in family[1:])
    assert str(family[0]) not in line
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["code"] == "not_running"


def test_a_stop_of_one_that_leaves_nothing_behind_is_quick(plugvisor: Plugvisor) -> None:
    plugvisor.write_plugin("x", OBEDIENT, runtime=AT_ONCE)
    plugvisor.up()
    times = []
    for _ in range(10):
        plugvisor.start_running("x")
        began = time.monotonic()
        assert plugvisor.post("/plugin/x/stop").status_code == 200
        times.append(time.monotonic() - began)
    assert min(times) < strays.TERM_SECONDS / 2
    assert "had left behind" not in plugvisor.read_log("_supervisord")


def test_a_reload_sweeps_in_between(shared: Plugvisor, add: Callable[..., str]) -> None:
    plugin_id = add(ESCAPING, runtime=AT_ONCE)
    family = start_family(shared, plugin_id)
    response = shared.post(f"/plugin/{plugin_id}/reload")
    assert response.status_code == 200, response.text
    assert not [pid for pid in family if is_alive(pid)]
    wait_for(lambda: len(read_family(shared, plugin_id)) == FAMILY)
    # a stock supervisord leaves at its end what has escaped
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200


def test_a_stop_of_what_has_ended_by_itself_sweeps(shared: Plugvisor, add: Callable[..., str]) -> None:
    plugin_id = add(ESCAPING, runtime=AT_ONCE.replace("autorestart = true", "autorestart = false"))
    main, *children = start_family(shared, plugin_id)
    os.kill(main, signal.SIGKILL)
    shared.wait_for_status(plugin_id, "error")
    shared.post(f"/plugin/{plugin_id}/stop")
    assert not [pid for pid in children if is_alive(pid)]


def test_supervisorctl_stop_sweeps(escaping: Plugvisor) -> None:
    family = start_family(escaping, "x")
    escaping.ctl("stop", "x")
    wait_for(lambda: not [pid for pid in family if is_alive(pid)], "the end of all", seconds=10)


# -- an end by itself


def test_nothing_of_the_life_before_is_left_beside_the_next(escaping: Plugvisor) -> None:
    family = start_family(escaping, "x")
    os.kill(family[0], signal.SIGKILL)
    wait_for(lambda: escaping.status("x").get("pid") not in (None, family[0]), "the next")
    wait_for(lambda: len(read_family(escaping, "x")) == FAMILY, "its family alone")
    assert not [pid for pid in family if is_alive(pid)]


# -- the end of everything


def test_a_shutdown_sweeps(escaping: Plugvisor) -> None:
    family = start_family(escaping, "x")
    began = time.monotonic()
    escaping.down()
    assert not [pid for pid in family if is_alive(pid)]
    assert time.monotonic() - began < 6


def test_what_a_killed_supervisord_leaves_is_ended_before_anything_starts(plugvisor: Plugvisor) -> None:
    plugvisor.write_plugin("x", ESCAPING, runtime=AT_ONCE.replace("false", "true", 1))
    plugvisor.up()
    wait_for(lambda: len(read_family(plugvisor, "x")) == FAMILY, "its family")
    family = [seen.pid for seen in read_family(plugvisor, "x")]
    service = service_pid(plugvisor)
    assert plugvisor.process
    plugvisor.process.kill()
    plugvisor.process.wait()
    wait_for(lambda: not is_alive(service), "the end of the service")
    assert all(is_alive(pid) for pid in family)
    plugvisor.up()
    assert not [pid for pid in family if is_alive(pid)]
    assert "ended what an earlier supervisord had left running of x: " in plugvisor.output_path.read_text()
    wait_for(lambda: len(read_family(plugvisor, "x")) == FAMILY, "the next family, and no other")


# -- whose it is


def test_two_plugvisors_never_touch_each_other(escaping: Plugvisor) -> None:
    with make_plugvisor() as other:
        other.write_plugin("x", ESCAPING, runtime=AT_ONCE)
        other.up()
        theirs = start_family(other, "x")
        ours = start_family(escaping, "x")
        assert escaping.post("/plugin/x/stop").status_code == 200
        assert not [pid for pid in ours if is_alive(pid)]
        escaping.down()
        escaping.up()
        assert all(is_alive(pid) for pid in theirs)


def test_a_manifest_cannot_take_the_mark_away(escaping: Plugvisor) -> None:
    runtime = f"{AT_ONCE}\n[plugin_runtime.environment]\nPLUGVISOR_PLUGIN = '/elsewhere:y:1'"
    escaping.write_plugin("x", ESCAPING, runtime=runtime)
    family = start_family(escaping, "x")
    assert escaping.post("/plugin/x/stop").status_code == 200
    assert not [pid for pid in family if is_alive(pid)]


# -- a census


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A marked process, and one that it has started without its environment."""
    code = "import os, subprocess, sys\nsubprocess.run(['sleep', '60'], env={'A': 'b'})"
    environ = {"PATH": os.environ["PATH"], "PLUGVISOR_PLUGIN": f"{tmp_path}:x:17"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ)
    wait_for(lambda: len(Census(str(tmp_path)).take_now()) == 2, "both")
    yield process
    for member in Census(str(tmp_path)).take_now():
        strays.send_signal(member, signal.SIGKILL)
    process.wait()


def test_who_has_lost_the_mark_is_found_by_its_parent(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    members = Census(str(tmp_path)).take_now()
    assert [(member.plugin_id, member.main_pid) for member in members] == [("x", 17)] * 2
    assert marked.pid in [member.pid for member in members]


def test_an_orphan_that_was_seen_before_is_still_known(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    census = Census(str(tmp_path))
    [child] = [member for member in census.take_now() if member.pid != marked.pid]
    marked.kill()
    marked.wait()
    assert census.take_now() == [child]


def test_another_folder_is_another_plugvisor(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert Census(str(tmp_path / "other")).take_now() == []
    (tmp_path / "alias").symlink_to(tmp_path)
    assert len(Census(str(tmp_path / "alias")).take_now()) == 2, "the same under another name"


def test_a_number_that_is_used_again_is_somebody_else(marked: subprocess.Popen[bytes]) -> None:
    member = Member(marked.pid, started=1, plugin_id="x", main_pid=17)
    assert not strays.is_alive(member)
    assert not strays.send_signal(member, signal.SIGKILL)
    assert marked.poll() is None


def test_a_census_pauses(marked: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "SLICE_SECONDS", 0.0)
    census = Census(str(tmp_path))
    assert len(list(census.take())) > 5
    assert marked.pid in [member.pid for member in census.members]


# -- the service is killed in the middle


def begin_and_kill(plugvisor: Plugvisor, path: str) -> None:
    """Ask for something that stops `slow`, and kill the service as soon as it is being stopped."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(plugvisor.post, path)
        wait_for(lambda: "asked to stop" in plugvisor.read_log("slow"), "the stop")
        pid = service_pid(plugvisor)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            answer.result()
        wait_for(lambda: not is_alive(pid), "its end")


@pytest.fixture(params=["extended", "stock"])
def slow(request: pytest.FixtureRequest) -> Iterator[Plugvisor]:
    """A Plugvisor, up, with a plugin that runs and takes as long to stop as the test lets it."""
    with make_plugvisor(stock=request.param == "stock") as plugvisor:
        plugvisor.write_plugin("slow", HESITANT, runtime="auto_start = false")
        plugvisor.up()
        plugvisor.start_running("slow")
        yield plugvisor
        (plugvisor.plugins_dir / "slow" / "go").touch()


def test_a_reload_is_completed(slow: Plugvisor) -> None:
    begin_and_kill(slow, "/plugin/slow/reload")
    (slow.plugins_dir / "slow" / "go").touch()
    wait_for(lambda: slow.read_log("slow").count("ready") == 2, "it to be started again")
    wait_for(slow.is_ready)
    slow.wait_for_status("slow", "running")
    assert not list((slow.run_dir / "owed").iterdir())


def test_a_later_stop_wins_over_a_reload(slow: Plugvisor) -> None:
    begin_and_kill(slow, "/plugin/slow/reload")
    (slow.plugins_dir / "slow" / "go").touch()
    wait_for(lambda: slow.read_log("slow").count("ready") == 2, "it to be started again")
    wait_for(slow.is_ready)
    assert slow.post("/plugin/slow/stop").status_code == 200
    os.kill(service_pid(slow), signal.SIGKILL)
    wait_for(slow.is_ready)
    assert slow.status("slow")["status"] == "stopped"
    assert slow.read_log("slow").count("ready") == 2


def test_a_stop_is_not_lost(slow: Plugvisor) -> None:
    begin_and_kill(slow, "/plugin/slow/stop")
    wait_for(slow.is_ready)
    assert slow.status("slow")["status"] == "stopping"
    (slow.plugins_dir / "slow" / "go").touch()
    slow.wait_for_status("slow", "stopped")
    assert slow.read_log("slow").count("ready") == 1


def test_a_start_by_somebody_else_settles_what_was_owed(slow: Plugvisor) -> None:
    begin_and_kill(slow, "/plugin/slow/reload")
    pid = wait_for(lambda: service_pid(slow), "the service to be started")
    os.kill(pid, signal.SIGSTOP)  # it is back, but has not yet looked
    (slow.plugins_dir / "slow" / "go").touch()
    wait_for(lambda: slow.rpc("getProcessInfo", "slow")["statename"] == "STOPPED")
    if (slow.run_dir / "owed" / "slow").exists():
        before = slow.rpc("getProcessInfo", "slow")["start"]
        wait_for(lambda: time.time() > before + 2, "another second: supervisord counts in those")
        slow.ctl("start", "slow")
        slow.ctl("stop", "slow")
        started = slow.read_log("slow").count("ready")
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: not (slow.run_dir / "owed" / "slow").exists(), "the service to have looked")
        assert slow.rpc("getProcessInfo", "slow")["statename"] == "STOPPED"
        assert slow.read_log("slow").count("ready") == started
    else:
        os.kill(pid, signal.SIGCONT)
