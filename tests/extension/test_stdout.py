"""All logs on standard output as well (`log_to_stdout=true`), which may be read slowly or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.stdout import LARGEST_BACKLOG_BYTES, LONGEST_LINE_BYTES

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.supervisord import RUNNING, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.supervisord import Supervisord

EVENTS = {"stdout_events_enabled": "true"}


@pytest.fixture
def own() -> Iterator[Supervisord]:
    """A supervisord that writes all logs to standard output, not started yet."""
    with make_supervisord(supervisord="silent=true", extension="log_to_stdout=true") as made:
        yield made


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's reading end, and the writing end, which `start` closes."""
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def start(own: Supervisord, stdout: int) -> None:
    """Start it with that standard output, which is closed here."""
    with (own.root / "output").open("ab") as errors:
        own.process = subprocess.Popen(
            [*own.command, "-c", str(own.root / "supervisord.conf")],
            env={**os.environ, "PYTHONPATH": str(own.root)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=errors,
        )
    os.close(stdout)
    wait_for(own.answers, "supervisord")


def read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


def test_each_line_is_behind_the_name_of_its_log(own: Supervisord, pipe: tuple[int, int]) -> None:
    code = (
        "import os\n"
        "os.write(1, '一\\n'.encode() + b'two\\r\\nx\\ry\\n\\xff\\n' + b'l' * 20000 + b'\\nunfi')\n"
        "os.write(2, b'nished\\n')\n"
    )
    own.write_plugin("a", code + OBEDIENT, **EVENTS)
    own.write_plugin("b", "print('no line break', end='', flush=True)\n", **EVENTS)
    start(own, pipe[1])
    own.start_ready("a")
    own.rpc("plugins.start", "b")
    own.wait_until_gone("b")
    assert own.stop() == 0
    lines = read_all(pipe[0]).split(b"\n")
    cut = [b"l" * LONGEST_LINE_BYTES, b"l" * LONGEST_LINE_BYTES, b"l" * (20000 - 2 * LONGEST_LINE_BYTES)]
    of_a = [line.removeprefix(b"a | ") for line in lines if line.startswith(b"a | ")]
    assert of_a == ["一".encode(), b"two", b"x\\x0dy", b"\xff", *cut, b"unfinished", b"ready"]
    assert [line for line in lines if line.startswith(b"b | ")] == [b"b | no line break"]
    assert any(re.match(rb"_supervisord \| .* INFO stopped: a ", line) for line in lines), "to the very end"


FORGERIES = {
    "\x1b[2K\x1b[1G_server | all is well": "\\x1b[2K\\x1b[1G_server | all is well",
    "a\x00\x07\x08\x0b\x0c\x1c\x1e\x7fz": "a\\x00\\x07\\x08\\x0b\\x0c\\x1c\\x1e\\x7fz",
    "\x80\x85\x9b2K\x9f": "\\x80\\x85\\x9b2K\\x9f",
    "\u2028_server | x\u2029": "\\u2028_server | x\\u2029",
    "\ttab \\ é “quoted” 你好 \u00a0 🎉": "\ttab \\ é “quoted” 你好 \u00a0 🎉",
}
"""What a plugin prints, and what standard output has."""


def test_no_plugin_can_forge_a_line(own: Supervisord, pipe: tuple[int, int]) -> None:
    """The log file has the bytes as they were printed."""
    printed = "".join(f"{line}\n" for line in FORGERIES)
    own.write_plugin("a", f"import os\nos.write(1, {printed.encode()!r})\n{OBEDIENT}", **EVENTS)
    start(own, pipe[1])
    own.start_ready("a")
    assert own.stop() == 0
    lines = read_all(pipe[0]).decode().splitlines()
    assert all(" | " in line for line in lines)
    of_a = [line.removeprefix("a | ") for line in lines if line.startswith("a | ")]
    assert of_a == [*FORGERIES.values(), "ready"]
    assert (own.root / "a.log").read_bytes() == f"{printed}ready\n".encode()


def test_it_may_be_a_regular_file(own: Supervisord) -> None:
    """Which epoll does not accept."""
    own.write_plugin("a", f"print('x' * 100_000, flush=True)\n{OBEDIENT}", **EVENTS)
    start(own, os.open(own.root / "everything", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    for _ in range(3):
        own.start_ready("a")
        own.stop_plugin("a")
    assert own.stop() == 0
    written = (own.root / "everything").read_bytes()
    assert written.count(b"a | ready\n") == 3
    assert written.count(b"x") >= 300_000


def test_nobody_reads(own: Supervisord, pipe: tuple[int, int]) -> None:
    """supervisord goes on, keeps no more than it should, and says how many lines it left out."""
    count = 4 * LARGEST_BACKLOG_BYTES // 100
    code = f"import sys\nfor i in range({count}): sys.stdout.write(f'{{i:08}} ' + 'x' * 90 + '\\n')\n"
    own.write_plugin("loud", code + OBEDIENT, **EVENTS)
    start(own, pipe[1])
    for _ in range(2):
        own.start_ready("loud")
        own.stop_plugin("loud")
    output = b""
    while b"lines were left out here" not in output:
        output += os.read(pipe[0], 65536)
    reader = threading.Thread(target=lambda: read.append(read_all(pipe[0])))
    read = [output]
    reader.start()
    assert own.stop() == 0
    reader.join()
    output = b"".join(read)
    left_out = [int(number) for number in re.findall(rb"(\d+) lines were left out here", output)]
    kept = len(re.findall(rb"^loud \| \d{8} x{90}$", output, re.MULTILINE))
    assert kept * 100 < 3 * LARGEST_BACKLOG_BYTES
    assert kept + sum(left_out) >= 2 * count


def test_its_reader_is_gone(own: Supervisord, pipe: tuple[int, int]) -> None:
    own.write_plugin("a", **EVENTS)
    start(own, pipe[1])
    os.dup2(os.open(os.devnull, os.O_RDONLY), pipe[0])
    for _ in range(3):
        own.start_ready("a")
        own.stop_plugin("a")
    own.start_ready("a")
    assert own.states["a"][0] == RUNNING
    assert "Traceback" not in own.log + (own.root / "output").read_text()


def test_without_the_setting_nothing_of_a_plugin_is_there(pipe: tuple[int, int]) -> None:
    with make_supervisord() as own:
        own.write_plugin("a", **EVENTS)
        start(own, pipe[1])
        own.start_ready("a")
        assert own.stop() == 0
        output = read_all(pipe[0])
        assert b" | " not in output
        assert b"spawned: 'a'" in output
