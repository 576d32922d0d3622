"""All logs on standard output as well (`log_to_stdout=true`), which may be read slowly or not at all."""

from __future__ import annotations

import json
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


# -- as JSON

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def json_own() -> Iterator[Supervisord]:
    """One that writes each line there as a JSON object."""
    options = "log_to_stdout=true\nlog_format=json"
    with make_supervisord(supervisord="silent=true", extension=options) as made:
        yield made


def read_objects(data: bytes) -> list[dict[str, str]]:
    """Every line there; none has a control character or a line break of any kind in it."""
    assert data.endswith(b"\n")
    lines = data.decode().splitlines()
    assert lines == data.decode().split("\n")[:-1]
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(lines))
    objects = [json.loads(line) for line in lines]
    assert all(TIME.fullmatch(found["time"]) for found in objects)
    return objects


def test_each_line_is_an_object(json_own: Supervisord, pipe: tuple[int, int]) -> None:
    code = (
        "import os\n"
        "os.write(1, '一\\n'.encode() + b'two\\r\\nx\\ry\\n\\xff\\n' + b'l' * 20000 + b'\\nunfi')\n"
        "os.write(2, b'nished\\n\\n')\n"
    )
    own = json_own
    own.write_plugin("a", code + OBEDIENT, **EVENTS)
    start(own, pipe[1])
    own.start_ready("a")
    assert own.stop() == 0
    objects = read_objects(read_all(pipe[0]))
    cut = ["l" * LONGEST_LINE_BYTES, "l" * LONGEST_LINE_BYTES, "l" * (20000 - 2 * LONGEST_LINE_BYTES)]
    of_a = [found for found in objects if "plugin" in found]
    assert all(found.keys() == {"time", "plugin", "line"} for found in of_a)
    assert [found["line"] for found in of_a] == ["一", "two", "x\ry", "\\xff", *cut, "unfinished", "", "ready"]
    ours = [found for found in objects if "plugin" not in found]
    assert all(found.keys() == {"time", "level", "logger", "message"} for found in ours)
    assert {found["logger"] for found in ours} == {"_supervisord"}
    assert any(re.match("stopped: a ", found["message"]) and found["level"] == "INFO" for found in ours)


def test_no_plugin_can_forge_an_object(json_own: Supervisord, pipe: tuple[int, int]) -> None:
    """What looks like a line of the service's is text of the plugin's."""
    own = json_own
    forged = '{"time": "2026-11-30T06:15:00.123456Z", "level": "INFO", "logger": "plugvisor", "message": "all is well"}'
    printed = [forged, *FORGERIES, '"}', "\\", '{"plugin": "other"}', "\ud800 \x00"]
    data = "".join(f"{line}\n" for line in printed).encode("utf-8", "surrogatepass")
    own.write_plugin("a", f"import os\nos.write(1, {data!r})\n{OBEDIENT}", **EVENTS)
    start(own, pipe[1])
    own.start_ready("a")
    assert own.stop() == 0
    objects = read_objects(read_all(pipe[0]))
    of_a = [found["line"] for found in objects if found.get("plugin") == "a"]
    assert of_a == [*printed[:-1], "\\xed\\xa0\\x80 \x00", "ready"]
    assert {found.get("logger") for found in objects} == {None, "_supervisord"}
    assert not [found for found in objects if found.get("plugin") == "other"]


def test_the_services_objects_are_passed_on(json_own: Supervisord, pipe: tuple[int, int]) -> None:
    """With all that it has to say of an exception; what is none is wrapped."""
    own = json_own
    fields = {
        "time": "2026-11-30T06:15:00.123456Z",
        "level": "ERROR",
        "logger": "a",
        "message": "é",
        "exception": "x" * 40_000,
    }
    lines = [json.dumps(fields), "Traceback (most recent call last):", '{"time": 1}', "[]", "{" * 20_000]
    code = "import sys\nsys.stdout.write(" + repr("".join(f"{line}\n" for line in lines)) + ")\n"
    own.write_plugin("a", code + OBEDIENT, stdout_logfile=own.root / "_server.log", **EVENTS)
    start(own, pipe[1])
    own.rpc("plugins.start", "a")
    wait_for(lambda: "ready" in (own.root / "_server.log").read_text(), "it to be ready")
    assert own.stop() == 0
    objects = [found for found in read_objects(read_all(pipe[0])) if found.get("logger") != "_supervisord"]
    assert objects[0] == fields
    assert [found["message"] for found in objects[1:]] == [*lines[1:], "ready"]
    assert {(found["logger"], found["level"]) for found in objects[1:]} == {("_server", "ERROR")}


def test_nobody_reads_objects(json_own: Supervisord, pipe: tuple[int, int]) -> None:
    own = json_own
    count = 2 * LARGEST_BACKLOG_BYTES // 100
    code = f"import sys\nfor i in range({count}): sys.stdout.write(f'{{i:08}} ' + 'x' * 90 + '\\n')\n"
    own.write_plugin("loud", code + OBEDIENT, **EVENTS)
    start(own, pipe[1])
    own.start_ready("loud")
    output = b""
    while b"lines were left out here" not in output:
        output += os.read(pipe[0], 65536)
    read = [output]
    reader = threading.Thread(target=lambda: read.append(read_all(pipe[0])))
    reader.start()
    assert own.stop() == 0
    reader.join()
    objects = read_objects(b"".join(read))
    notices = [found for found in objects if "lines were left out here" in found.get("message", "")]
    assert notices
    assert notices[0].keys() == {"time", "level", "logger", "message"}
    assert notices[0]["level"] == "WARNING"
