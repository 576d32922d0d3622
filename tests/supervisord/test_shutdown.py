"""The end, and `supervisorctl reload`: every program stops at once, and nothing of the time before is left."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import OBEDIENT, is_alive, wait_for
from tests.supervisord.lone import RUNNING, STOPPED, make_lone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Plugvisor
    from tests.supervisord.lone import Lone

SLOW = OBEDIENT.replace("import ", "import time, ").replace(
    "sys.exit(0)", "(print('told', flush=True), time.sleep(0.5), print('gone', flush=True), sys.exit(0))"
)
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()\n"
MANY = 20


@pytest.fixture
def lone() -> Iterator[Lone]:
    with make_lone() as made:
        yield made


def test_all_of_them_stop_together(lone: Lone) -> None:
    names = [f"slow{number}" for number in range(MANY)]
    for name in names:
        lone.add(name, SLOW, priority=len(name))
    lone.start()
    wait_for(lambda: all(lone.count_ready(name) for name in names))
    follower = lone.follow()
    pids = [pid for _, pid in lone.states.values()]
    began = time.monotonic()
    assert lone.stop() == 0
    assert time.monotonic() - began < 5, f"{MANY} that take half a second each, and not one after the other"
    assert not any(is_alive(pid) for pid in pids)
    for name in names:
        assert (lone.root / f"{name}.log").read_text() == "ready\ntold\ngone\n"
    wait_for(lambda: follower.is_closed)


def test_a_deaf_one_costs_its_own_time_and_no_more(lone: Lone) -> None:
    for number in range(5):
        lone.add(f"deaf{number}", DEAF, stopwaitsecs=2)
        lone.add(f"crashing{number}", "raise SystemExit(3)\n", autorestart="true", startsecs=5, startretries=99)
    lone.add("looping", "import time\ntime.sleep(0.05)\nraise SystemExit(3)\n", autorestart="true")
    lone.start()
    wait_for(lambda: all(lone.count_ready(f"deaf{number}") for number in range(5)))
    began = time.monotonic()
    assert lone.stop() == 0
    assert 1.9 < time.monotonic() - began < 5


def test_the_service_is_not_waited_for_by_the_plugins(plugvisor: Plugvisor) -> None:
    for number in range(MANY):
        plugvisor.write_plugin(f"slow{number}", SLOW, runtime="supervisor.startsecs = 0")
    plugvisor.up()
    wait_for(lambda: all("ready" in plugvisor.read_log(f"slow{number}") for number in range(MANY)))
    assert plugvisor.process is not None
    began = time.monotonic()
    plugvisor.process.send_signal(signal.SIGTERM)
    assert plugvisor.process.wait(20) == 0
    assert time.monotonic() - began < 6
    for number in range(MANY):
        assert plugvisor.read_log(f"slow{number}") == "ready\ntold\ngone\n"
    assert "Traceback" not in plugvisor.service_log


def test_a_reload_begins_anew_and_leaks_nothing(lone: Lone) -> None:
    lone.add("kept", OBEDIENT, autorestart="true")
    lone.add("idle", autostart="false")
    lone.start()
    assert lone.process is not None
    counts = []
    for round_ in range(1, 5):
        wait_for(lambda round_=round_: lone.count_ready("kept") == round_)
        follower = lone.follow()
        told = follower.wait_for("kept", state=RUNNING, restarts=0)
        os.kill(told["pid"], signal.SIGKILL)
        follower.wait_for("kept", seconds=2, restarts=1)
        pid = follower.wait_for("kept", state=RUNNING)["pid"]
        wait_for(lambda round_=round_: lone.count_ready("kept") == round_ + 1)
        (lone.root / "kept.log").write_text("ready\n" * round_)
        lone.rpc("plugins.replace", "idle")
        assert follower.picture["idle"]["state"] == STOPPED
        lone.hang_up()
        lone.rpc.close()
        assert lone.states["kept"] == (RUNNING, pid)
        counts.append(lone.count_descriptors())
        last = lone.follow()
        began = time.monotonic()
        if round_ % 2:
            os.kill(lone.pid, signal.SIGHUP)
        else:
            lone.ctl("reload")
        wait_for(lambda last=last: last.is_closed)
        wait_for(lambda pid=pid: not is_alive(pid))
        lone.rpc.close()
        wait_for(lone._answers)
        assert time.monotonic() - began < 8
        lone.hang_up()
    assert max(counts) - min(counts) <= 1, counts
    assert "Traceback" not in lone.log
    assert "Traceback" not in (lone.root / "output").read_text()


def test_a_reload_of_everything_brings_the_service_back(plugvisor: Plugvisor) -> None:
    plugvisor.write_plugin("kept", runtime="supervisor.startsecs = 0")
    plugvisor.write_plugin("idle", runtime="auto_start = false")
    plugvisor.up()
    descriptors = []
    for round_ in range(1, 4):
        wait_for(lambda round_=round_: plugvisor.read_log("kept").count("ready") == round_)
        told = plugvisor.wait_for_status("kept", "running")
        wait_for(lambda: "restarts" in plugvisor.status("kept"), "the service to follow the state stream", seconds=10)
        assert plugvisor.start_running("idle")
        descriptors.append(len(os.listdir(f"/proc/{plugvisor.supervisord_pid}/fd")))
        service = plugvisor.rpc("getProcessInfo", "plugvisor")["pid"]
        os.kill(plugvisor.supervisord_pid, signal.SIGHUP)
        wait_for(lambda pid=told["pid"]: not is_alive(pid))
        wait_for(lambda pid=service: not is_alive(pid))
        wait_for(plugvisor.is_ready)
        assert plugvisor.status("idle")["state"] == "STOPPED"
    assert max(descriptors) - min(descriptors) <= 3, descriptors
    assert "Traceback" not in plugvisor.output_path.read_text()
