"""What a package costs while it arrives: the service's CPU and memory, and how long other clients wait."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.groups.resync import measure_latencies
from benchmarks.machine import read_cpu_seconds
from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import ADMIN_CODE, HOST, make_manifests, start_plugvisor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

PACKAGE_BYTES = 100_000_000
PIECE = os.urandom(1 << 20)
ROUNDS = 7
SECONDS = 5.0
"""How long other clients are watched."""
HEAD = (
    f"POST /plugins/install?sha256={'0' * 64} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {ADMIN_CODE}\r\n"
    f"Connection: close\r\nContent-Length: {PACKAGE_BYTES}\r\n\r\n"
).encode()
"""It is refused once it has arrived, so that nothing is measured but its arrival."""
HASHED = "the same bytes hashed and written to a file"


def measure_uploads(testbed: Testbed) -> Iterator[Result]:
    """Packages of 100 MB, one after another, next to clients that ask for something else."""
    with start_plugvisor(make_manifests(testbed.plugins)) as stack, tempfile.TemporaryDirectory() as folder:
        stack.wait_until_up()
        pid = stack.service_pid
        _upload(stack.port)  # what is loaded for the first one stays
        cpu, hashed, grown = [], [], []
        for _ in range(ROUNDS):
            hashed.append(_hash(Path(folder) / "package"))
            before, resident = read_cpu_seconds(pid), _reset_peak(pid)
            _upload(stack.port)
            cpu.append(read_cpu_seconds(pid) - before)
            grown.append(_read_status(pid, "VmHWM") - resident)
        with measure_latencies(stack.port) as alone:
            time.sleep(SECONDS)
        with measure_latencies(stack.port) as meanwhile:
            began = time.monotonic()
            while time.monotonic() - began < SECONDS:
                _upload(stack.port)
    yield Result(
        "a package of 100 MB arrives: the service's CPU",
        testbed.plugins,
        "s",
        Sample.of(cpu),
        HASHED,
        Sample.of(hashed),
    )
    yield Result(
        "a package of 100 MB arrives: what the service's memory grows by at most",
        testbed.plugins,
        "MB",
        Sample.of([max(grown)]),
        goal=Goal(20.0),
    )
    yield Result(
        "packages of 100 MB arrive: the 99th percentile of other requests",
        testbed.plugins,
        "ms",
        _find_slow(meanwhile),
        "while none arrives",
        _find_slow(alone),
        goal=Goal(50.0),
    )


def _upload(port: int) -> None:
    with socket.create_connection((HOST, port)) as client:
        client.sendall(HEAD)
        for sent in range(0, PACKAGE_BYTES, len(PIECE)):
            client.sendall(PIECE[: PACKAGE_BYTES - sent])
        answer = client.makefile("rb").read()
    if b'"checksum_mismatch"' not in answer:
        raise RuntimeError(f"cannot measure: the response was {answer!r}")


def _hash(path: Path) -> float:
    """Hash and write as many bytes; returns the CPU seconds that it took."""
    began = time.thread_time()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for sent in range(0, PACKAGE_BYTES, len(PIECE)):
            piece = PIECE[: PACKAGE_BYTES - sent]
            digest.update(piece)
            file.write(piece)
    return time.thread_time() - began


def _reset_peak(pid: int) -> float:
    """Begin a new peak of a process's memory; returns how many megabytes are resident."""
    (Path("/proc") / str(pid) / "clear_refs").write_text("5")
    return _read_status(pid, "VmRSS")


def _read_status(pid: int, name: str) -> float:
    """A value of /proc/<pid>/status, in megabytes."""
    text = (Path("/proc") / str(pid) / "status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) * 1024 / 1e6


def _find_slow(latencies: list[float]) -> Sample:
    """The 99th percentile, and the longest, in milliseconds."""
    ordered = sorted(seconds * 1000 for seconds in latencies[1:])  # the first one is none
    return Sample(ordered[int(len(ordered) * 0.99)], ordered[-1], len(ordered))
