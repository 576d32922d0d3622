"""Plugins that end all the time, which supervisord starts again and again: stopping and removing them for good.

Such a plugin is EXITED for a moment in every round, and then supervisord says that it is not running.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import find_processes, make_plugvisor, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Plugvisor

LOOPING = "auto_start = false\n[plugin_runtime.supervisor]\nstartsecs = 0\nautorestart = true\nstopwaitsecs = 1"


class Loop:
    """A plugin that lives for a moment and no longer; no Python, which would be slow to start."""

    def __init__(self, plugvisor: Plugvisor, plugin_id: str, lifetime: float = 0) -> None:
        self.plugvisor, self.plugin_id = plugvisor, plugin_id
        self.folder = plugvisor.write_plugin(plugin_id, runtime=LOOPING)
        manifest = self.folder / "plugin.toml"
        manifest.write_text(manifest.read_text().replace('["python", "main.py"]', '["sh", "main.sh"]'))
        (self.folder / "main.sh").write_text(f"echo >>runs\n{f'sleep {lifetime}' if lifetime else ''}\nexit 1\n")

    def count(self) -> int:
        """How often it was run."""
        runs = self.folder / "runs"
        return runs.read_text().count("\n") if runs.exists() else 0

    def start(self) -> None:
        """Start it, and see it end and be started again a few times."""
        before = self.count()
        # whether it lives long enough for a 200 is chance
        self.plugvisor.post(f"/plugin/{self.plugin_id}/start")
        wait_for(lambda: (self.plugvisor.nudge(), self.count() > before + 3)[1], "it to be started again")

    def stays_down(self, seconds: float = 0.25) -> bool:
        """Whether it is not run any more, while supervisord goes many rounds."""
        before, deadline = self.count(), time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.plugvisor.nudge()
            if self.count() != before:
                return False
            time.sleep(0.005)
        return True


@pytest.mark.parametrize("lifetime", [0, 0.02])
def test_it_stays_stopped_and_removed(shared: Plugvisor, add: Callable[..., str], lifetime: float) -> None:
    plugin_id = add(runtime=LOOPING)
    loop = Loop(shared, plugin_id, lifetime)
    for _ in range(10):
        loop.start()
        stopped = shared.post(f"/plugin/{plugin_id}/stop")
        assert (stopped.status_code, loop.stays_down()) == (200, True), stopped.text
        assert shared.status(plugin_id)["state"] == "STOPPED"
    loop.start()
    loop.folder = loop.folder.rename(shared.root / plugin_id)
    assert plugin_id in shared.post("/plugins/refresh").json()["removed"]
    assert loop.stays_down(1)
    assert shared.http.get(f"/plugin/status?plugin_id={plugin_id}").status_code == 404


def test_it_is_stopped_for_good_while_supervisord_waits_to_try_again(
    shared: Plugvisor, add: Callable[..., str]
) -> None:
    plugin_id = add(
        "print('tried', flush=True)\nraise SystemExit(1)",
        runtime="auto_start = false\nsupervisor.startretries = 100",
    )
    for _ in range(3):
        shared.post(f"/plugin/{plugin_id}/start")
        wait_for(lambda: shared.status(plugin_id)["state"] == "BACKOFF")
        assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"
    tries, deadline = shared.read_log(plugin_id).count("tried"), time.monotonic() + 2.5
    while time.monotonic() < deadline:  # the next try would be one or two seconds later
        assert shared.status(plugin_id)["state"] == "STOPPED"
        assert shared.read_log(plugin_id).count("tried") == tries
        time.sleep(0.01)


@contextlib.contextmanager
def slow_line(path: Path, target: Path, seconds: float) -> Iterator[None]:
    """A Unix socket that leads to another one, where every word takes its time."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(seconds)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def connect(near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far, contextlib.suppress(OSError):
            far.connect(str(target))
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=connect, args=(listener.accept()[0],)).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(scope="module")
def far() -> Iterator[Plugvisor]:
    """A Plugvisor over a stock supervisord, where much happens between two calls: a process may end twice.

    So it is on a busy machine, with many plugins, and with other clients of supervisord.
    """
    done = threading.Event()

    def keep_going() -> None:
        while not done.wait(random.uniform(0.01, 0.04)):
            made.nudge()

    with make_plugvisor(stock=True) as made:
        line = made.root / "line.sock"
        made.environ["PLUGVISOR_SUPERVISOR_URL"] = f"unix://{line}"
        rounds = threading.Thread(target=keep_going)
        with slow_line(line, made.run_dir / "supervisor.sock", 0.02):
            made.up()
            rounds.start()
            try:
                yield made
            finally:
                done.set()
                rounds.join()
                made.down()


def test_a_stop_is_for_good(far: Plugvisor) -> None:
    loop = Loop(far, "stopped")
    far.post("/plugins/refresh")
    for _ in range(10):
        loop.start()
        stopped = far.post("/plugin/stopped/stop")
        assert (stopped.status_code, loop.stays_down()) == (200, True), stopped.text


def test_a_reload_leaves_one_process(far: Plugvisor) -> None:
    for number in range(5):
        loop = Loop(far, f"reloaded-{number}")
        far.post("/plugins/refresh")
        loop.start()
        # from now on it is to go on: there must be one of it, not one more that nobody controls
        far.write_plugin(loop.plugin_id, runtime=f"supervisor.startsecs = 0\nsupervisor.priority = {number}")
        reloaded = far.post(f"/plugin/{loop.plugin_id}/reload")
        assert reloaded.status_code == 200, reloaded.text
        alone = [reloaded.json()["pid"]]
        wait_for(lambda alone=alone, loop=loop: find_processes(loop.folder) == alone, "it to be alone")


def test_a_removed_one_is_gone(far: Plugvisor) -> None:
    loops = [Loop(far, f"removed-{number}") for number in range(5)]
    far.post("/plugins/refresh")
    for loop in loops:
        loop.start()
        loop.folder = loop.folder.rename(far.root / loop.plugin_id)
        refreshed = far.post("/plugins/refresh")
        assert (refreshed.status_code, refreshed.json().get("removed")) == (200, [loop.plugin_id]), refreshed.text
        assert loop.stays_down()
        assert not (far.run_dir / "conf.d" / f"{loop.plugin_id}.conf").exists()
