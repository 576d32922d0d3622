"""How long a plugin does not run while it is updated, next to a plain reload of the same plugin."""

from __future__ import annotations

import http.client
import io
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately
from benchmarks.systems.plugvisor_stack import ADMIN_CODE, HOST, make_manifests, start_plugvisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.testbed import Testbed

PLUGIN = "updated"
ROUNDS = 41
SECONDS = 60.0
FOLLOWING_SECONDS = 5.0
LATELY_BYTES = 1 << 20
STAMPS = """\
import os, time
file = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    os.write(file, b"%d %d\\n" % (os.getpid(), time.monotonic_ns()))
    time.sleep(0.0005)
"""
"""Writes down that it runs, every half millisecond, until SIGTERM ends it."""
MANIFEST = """\
[plugin]
id = "updated"
version = "{version}"
command = ["python", "-I", "-S", "main.py"]
[plugin_runtime]
auto_start = false
supervisor.startsecs = 0
"""
RELOAD = "while a plain reload restarts it"


def measure_updates(testbed: Testbed) -> Iterator[Result]:
    """Updates to a new version, and plain reloads, in turns."""
    with start_plugvisor(make_manifests(testbed.plugins)) as stack, tempfile.TemporaryDirectory() as folder:
        stack.wait_until_up()
        updater = _Updater(stack.port, Path(folder) / "stamps")
        updater.update()
        measured = run_alternately({"update": updater.update, "reload": updater.reload}, ROUNDS, SECONDS)
    gaps, reloads = measured["update"]["gap"], measured["reload"]["gap"]
    yield Result(
        "a plugin that runs is updated: time in which it does not",
        testbed.plugins,
        "ms",
        Sample.of(gaps),
        RELOAD,
        Sample.of(reloads),
    )
    yield Result(
        "a plugin that runs is updated: time in which it does not, beyond a plain reload",
        testbed.plugins,
        "ms",
        Sample.of([gap - reload for gap, reload in zip(gaps, reloads, strict=False)]),
        goal=Goal(20.0),
    )
    yield Result(
        "a plugin that runs is updated: until the response",
        testbed.plugins,
        "ms",
        Sample.of(measured["update"]["response"]),
        "a plain reload",
        Sample.of(measured["reload"]["response"]),
    )


class _Updater:
    """Restarts the plugin, and reads from its own stamps how long it was away."""

    def __init__(self, port: int, path: Path) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60.0)
        self._path = path
        self._version = 0

    def update(self) -> Mapping[str, float]:
        """Install another version."""
        self._version += 1
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("plugin.toml", MANIFEST.format(version=self._version))
            archive.writestr("main.py", STAMPS.format(path=str(self._path)))
        return self._restart("/plugins/install?start=true&replace=true&wait=60", package.getvalue())

    def reload(self) -> Mapping[str, float]:
        """Restart the version that is current."""
        return self._restart(f"/plugin/{PLUGIN}/reload", b"")

    def _restart(self, path: str, body: bytes) -> Mapping[str, float]:
        before = self._read_stamps()
        began = time.perf_counter()
        self._connection.request("POST", path, body, {"Authorization": f"Bearer {ADMIN_CODE}"})
        response = self._connection.getresponse()
        text = response.read()
        seconds = time.perf_counter() - began
        if response.status not in (http.client.OK, http.client.CREATED):
            raise RuntimeError(f"cannot measure: the response was {text!r}")
        old = before[-1][0] if before else 0
        deadline = time.monotonic() + FOLLOWING_SECONDS
        while (not (stamps := self._read_stamps()) or stamps[-1][0] == old) and time.monotonic() < deadline:
            time.sleep(0.01)
        last = max((at for pid, at in stamps if pid == old), default=0)
        first = min((at for pid, at in stamps if pid != old and at > last), default=0)
        return {"gap": (first - last) / 1e6, "response": seconds * 1000} if old else {}

    def _read_stamps(self) -> list[tuple[int, int]]:
        """The process ids and times of what has run lately."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - LATELY_BYTES))
            lines = file.read().split(b"\n")[1:-1]  # the first may be a part of one
        return [(int(pid), int(at)) for pid, at in map(bytes.split, lines)]
