"""Lines of logs as JSON objects."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.cli.startup.log_format import LONGEST_CHARACTERS, JsonFormatter
from plugvisor.json_lines import dump_line, format_moment, parse_own_line
from plugvisor.logs.lines import find_moment, parse_line

if TYPE_CHECKING:
    from pathlib import Path

ANY_TEXT = st.text(st.characters(codec=None), max_size=50)
FIELDS = {"time": "2026-11-30T06:15:00.123456Z", "level": "WARNING", "logger": "plugvisor.x", "message": "two\nlines"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1796019300.25, "2026-11-30T06:15:00.250000Z"),
        (1796019300, "2026-11-30T06:15:00.000000Z"),
    ],
)
def test_a_moment(seconds: float, text: str) -> None:
    assert format_moment(seconds) == text


@given(st.dictionaries(st.sampled_from(["a", "b"]), ANY_TEXT, min_size=1))
def test_any_text_is_one_line(fields: dict[str, str]) -> None:
    line = dump_line(fields)
    assert line.splitlines() == [line]
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)
    expected = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in fields.items()}
    assert json.loads(line.encode()) == expected


def make_record(message: str, *arguments: object, exception: BaseException | None = None) -> logging.LogRecord:
    info = (type(exception), exception, exception.__traceback__) if exception else None
    return logging.LogRecord("plugvisor.x", logging.WARNING, "x.py", 7, message, arguments, info)


def test_a_record() -> None:
    found = json.loads(JsonFormatter().format(make_record("cannot %s: %r", "go on", "\x1b[2K")))
    assert found.pop("time").endswith("Z")
    assert found == {"level": "WARNING", "logger": "plugvisor.x", "message": "cannot go on: '\\x1b[2K'"}


def test_an_exception() -> None:
    error = ValueError("x" * 10 * LONGEST_CHARACTERS + "the end")
    line = JsonFormatter().format(make_record("m" * 2 * LONGEST_CHARACTERS, exception=error))
    found = json.loads(line)
    assert len(found["message"]) == len(found["exception"]) == LONGEST_CHARACTERS
    assert found["exception"].endswith("the end")
    assert parse_own_line(line) == found


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "[]",
        "null",
        "{",
        '"x"',
        "[" * 100_000,
        json.dumps(FIELDS | {"plugin": "a"}),
        json.dumps(FIELDS | {"time": 1}),
    ],
)
def test_what_is_no_line_of_ours(line: str) -> None:
    assert parse_own_line(line) is None
    assert parse_own_line(line.encode()) is None
    parse_line(line)


def test_the_log_is_read_as_the_text_is() -> None:
    line = dump_line(FIELDS)
    entry = parse_line(line)
    assert (entry.timestamp, entry.level) == ("2026-11-30T06:15:00.123456+00:00", "WARNING")
    assert (entry.file, entry.message) == ("plugvisor.x", "two\nlines")
    assert find_moment(line[:128]) == 1796019300.123456
    replica = parse_line(f"[2@node3] {line}")
    assert (replica.level, replica.message) == ("WARNING", "[2@node3] two\nlines")
    with_exception = parse_line(dump_line(FIELDS | {"exception": "Traceback"}))
    assert with_exception.message == "two\nlines\nTraceback"


@pytest.mark.parametrize(
    "line", ['{"time": "2026-11-30 06:15:00", "level": "INFO"}', '{"time": "soon", "level": "INFO"}', '{"time": "']
)
def test_another_object_is_all_message(line: str) -> None:
    assert parse_line(line).message == line


def test_a_level_that_nobody_knows() -> None:
    assert parse_line(dump_line(FIELDS | {"level": "Level 35"})).level is None


def test_python_itself_prints_nothing_else() -> None:
    code = (
        "import warnings\n"
        "from plugvisor.cli.startup.log_format import set_up_logging\n"
        "set_up_logging('json')\n"
        "warnings.warn('careful')\n"
        "raise RuntimeError('the end')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    warning, failure = map(json.loads, done.stderr.splitlines())
    assert (warning["level"], "careful" in warning["message"]) == ("WARNING", True)
    assert failure["level"] == "CRITICAL"
    assert failure["exception"].endswith("RuntimeError: the end")


def test_on_a_swarm_the_service_writes_its_file_itself(tmp_path: Path) -> None:
    """On standard error, and in the file, whose rotation no supervisord does."""
    code = (
        "import logging, os\n"
        "from plugvisor.cli.startup.log_file import log_to_file\n"
        "from plugvisor.cli.startup.log_format import set_up_logging\n"
        "from plugvisor.settings import Settings\n"
        "settings = Settings.from_env(os.environ)\n"
        "set_up_logging(settings.log_format)\n"
        "log_to_file(settings)\n"
        "logging.getLogger('plugvisor').info('one\\ntwo')\n"
    )
    environ = {"PLUGVISOR_LOG_DIR": str(tmp_path), "PLUGVISOR_ENGINE": "swarm", "PLUGVISOR_LOG_FORMAT": "json"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "_server.log").read_text() == done.stderr
    assert json.loads(done.stderr)["message"] == "one\ntwo"
