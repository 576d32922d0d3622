"""The end of supervisord, and its restart (SIGHUP): every program stops at once, and nothing of before is left."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.helpers.plugin_code import CRASHING, HESITANT, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import AT_ONCE, RUNNING, STOPPED
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from tests.helpers.supervisord import Supervisord


def test_every_program_is_stopped_at_once(own: Supervisord) -> None:
    """Each is asked to stop before any has ended, whatever its priority."""
    names = [f"x{number}" for number in range(10)]
    for name in names:
        own.write_plugin(name, HESITANT, autostart="true", priority=int(name[1:]))
    (own.root / "foreign.py").write_text(HESITANT)
    own.write_program("foreign", directory=own.root)
    names.append("foreign")
    own.start()
    wait_for(lambda: all(own.count_ready(name) for name in names))
    reader = own.follow()
    pids = [pid for _, pid in own.states.values()]
    os.kill(own.pid, signal.SIGTERM)
    wait_for(lambda: all("asked to stop" in own.read_output(name) for name in names), "all to be asked")
    (own.root / "go").touch()
    assert own.process is not None
    assert own.process.wait(DEADLINE_SECONDS) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert "SIGKILL" not in own.log
    wait_for(lambda: reader.is_closed)


def test_those_that_do_not_obey_or_keep_crashing_hold_up_nobody(own: Supervisord) -> None:
    for number in range(3):
        own.write_plugin(f"deaf{number}", IGNORES_SIGTERM, autostart="true", stopwaitsecs=1)
        own.write_plugin(f"failing{number}", "raise SystemExit(3)\n", autostart="true", startsecs=5, startretries=99)
    own.write_plugin("crashing", CRASHING, autostart="true", autorestart="true", restart=AT_ONCE)
    own.start()
    wait_for(lambda: all(own.count_ready(f"deaf{number}") for number in range(3)))
    assert own.stop() == 0
    assert own.log.count("with SIGKILL") == 3


def test_a_restart_begins_anew_and_leaks_nothing(own: Supervisord) -> None:
    own.write_plugin("kept", OBEDIENT, autostart="true", autorestart="true")
    own.write_plugin("idle")
    (own.root / "foreign.py").write_text(OBEDIENT)
    own.write_program("foreign")
    own.start()
    descriptors = 0
    for round_ in range(4):
        wait_for(lambda round_=round_: own.count_ready("kept") == own.count_ready("foreign") + round_ == 2 * round_ + 1)
        reader = own.follow()
        pid = reader.wait_for("kept", state=RUNNING, restarts=0)["pid"]
        os.kill(pid, signal.SIGKILL)
        pid = reader.wait_for("kept", state=RUNNING, restarts=1)["pid"]
        wait_for(lambda round_=round_: own.count_ready("kept") == 2 * round_ + 2)
        own.start_ready("idle")
        if not round_:
            descriptors = own.count_descriptors()
        # supervisord looks at its folders once a second, which takes a descriptor for a moment
        wait_for(lambda most=descriptors: own.count_descriptors() <= most, "nothing to be leaked")
        if round_ % 2:
            os.kill(own.pid, signal.SIGHUP)
        else:
            own.ctl("reload")
        wait_for(lambda reader=reader: reader.is_closed)
        wait_for(lambda pid=pid: not is_alive(pid))
        own.rpc.close()
        wait_for(own.answers)
        assert own.states["idle"] == (STOPPED, 0)
        own.close_readers()
    assert "Traceback" not in own.log + (own.root / "output").read_text()


def test_a_restart_reads_changed_files(own: Supervisord) -> None:
    own.write_plugin("x", stopwaitsecs=7)
    own.start()
    assert own.describe("x")["stop_seconds"] == 7
    own.write_plugin("x", stopwaitsecs=8)
    os.kill(own.pid, signal.SIGHUP)
    wait_for(lambda: own.log.count("supervisord started with pid") == 2)
    wait_for(own.answers)
    assert own.describe("x")["stop_seconds"] == 8
