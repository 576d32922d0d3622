"""All logs on standard output as well, which nobody may be reading."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.stdout import LARGEST_BACKLOG_BYTES, LONGEST_LINE_BYTES

from tests.conftest import Plugvisor, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

PRINTS = """\
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
{what}
print("done", flush=True)
signal.pause()
"""


@pytest.fixture
def stdout(plugvisor: Plugvisor) -> Iterator[int]:
    """The reading end of supervisord's standard output."""
    reading, writing = os.pipe()
    plugvisor.environ["PLUGVISOR_LOG_TO_STDOUT"] = "true"

    def up() -> None:
        with plugvisor.output_path.open("ab") as errors:
            plugvisor.process = subprocess.Popen(
                [sys.executable, "-m", "plugvisor", "up"],
                env=plugvisor.environ,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=errors,
            )
        os.close(writing)
        wait_for(plugvisor.is_ready, "the service")

    plugvisor.up = up  # type: ignore[method-assign]
    yield reading
    os.close(reading)


def read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


def test_lines_stand_behind_their_logs_name(plugvisor: Plugvisor, stdout: int) -> None:
    what = (
        "os.write(1, '一\\n'.encode() + b'two\\r\\nx\\ry\\n\\xff\\n' + b'l' * 20000 + b'\\nunfi')\n"
        "os.write(2, b'nished\\n')"
    )
    plugvisor.write_plugin("a", PRINTS.format(what=what))
    plugvisor.write_plugin("b", "print('no line break', end='', flush=True)", runtime="supervisor = {startsecs = 0}")
    plugvisor.up()
    wait_for(lambda: plugvisor.read_log("a").endswith("done\n"), "the plugin to have printed")
    plugvisor.wait_for_status("b", "stopped")
    plugvisor.down()
    lines = read_all(stdout).split(b"\n")
    printed = ["一".encode(), b"two", b"x\\ry", b"\xff"]
    cut = [b"l" * LONGEST_LINE_BYTES, b"l" * LONGEST_LINE_BYTES, b"l" * (20000 - 2 * LONGEST_LINE_BYTES)]
    of_a = [line.removeprefix(b"a | ") for line in lines if line.startswith(b"a | ")]
    assert of_a == [*printed, *cut, b"unfinished", b"done"]
    assert [line for line in lines if line.startswith(b"b | ")] == [b"b | no line break"]
    assert any(re.match(rb"_server \| .* INFO listening on ", line) for line in lines)
    assert any(re.match(rb"_supervisord \| .* INFO stopped: a ", line) for line in lines), "to the very end"


def test_nobody_reads(plugvisor: Plugvisor, stdout: int) -> None:
    """supervisord goes on, keeps no more than it should, and tells how many lines it left out."""
    count = 8 * LARGEST_BACKLOG_BYTES // 100
    plugvisor.write_plugin("loud", PRINTS.format(what=f"for i in range({count}): print(f'{{i:08}}', 'x' * 90)"))
    plugvisor.up()
    wait_for(lambda: "done\n" in plugvisor.read_log("loud"), "the plugin to have printed: nothing held it up")
    assert plugvisor.post("/plugin/loud/reload").json()["status"] == "running"
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(read_all(stdout)))
    began = time.monotonic()
    reader.start()
    plugvisor.down()
    reader.join()
    assert time.monotonic() - began < 20
    [output] = read
    told = [int(number) for number in re.findall(rb"(\d+) lines were left out here", output)]
    kept = len(re.findall(rb"^loud \| \d{8} x{90}$", output, re.MULTILINE))
    assert told
    assert kept * 100 < 3 * LARGEST_BACKLOG_BYTES
    assert kept + sum(told) >= 2 * count


def test_standard_output_is_closed(plugvisor: Plugvisor, stdout: int) -> None:
    plugvisor.write_plugin("a", PRINTS.format(what=""))
    plugvisor.up()
    os.dup2(os.open(os.devnull, os.O_RDONLY), stdout)  # the reader is gone
    for _ in range(3):
        assert plugvisor.post("/plugin/a/reload").json()["status"] == "running"
    assert "Traceback" not in plugvisor.output_path.read_text()
    assert "Traceback" not in plugvisor.read_log("_supervisord")
    assert plugvisor.read_log("a").count("done") >= 3


def test_without_the_setting_nothing_of_a_plugin_is_there(plugvisor: Plugvisor, stdout: int) -> None:
    plugvisor.environ["PLUGVISOR_LOG_TO_STDOUT"] = "false"
    plugvisor.write_plugin("a", PRINTS.format(what=""))
    plugvisor.up()
    wait_for(lambda: "done" in plugvisor.read_log("a"), "the plugin to have printed")
    plugvisor.down()
    output = read_all(stdout)
    assert b" | " not in output
    assert b"spawned: 'a'" in output
