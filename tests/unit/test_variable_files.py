"""What the program that reads files of variables is given, and what it reports."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from plugvisor.variable_files import (
    LONGEST_BYTES,
    PROGRAM,
    VariableFileError,
    encode,
    find_problem,
    pack_files,
    parse_report,
    parse_values,
    read_values,
)

from tests.helpers.hostile_strings import VARIABLES

if TYPE_CHECKING:
    from pathlib import Path

CANNOT = "cannot read the file of the variable"


def run_program(files: dict[str, str]) -> bytes:
    done = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, "values"], input=pack_files(files), capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout


def test_the_program_writes_the_values(tmp_path: Path) -> None:
    contents = {"A": b"one\n", "B": b"", "ü\udce9": b"\xff\xfe\r\n", "C": b"x" * (LONGEST_BYTES - 2)}
    files = {}
    for number, (name, content) in enumerate(contents.items()):
        (tmp_path / str(number)).write_bytes(content)
        files[name] = str(tmp_path / str(number))
    expected = {name: content.removesuffix(b"\n") for name, content in contents.items()}
    assert read_values(files) == expected
    assert parse_values(run_program(files), list(files)) == expected


def test_the_program_names_the_first_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("s3cret")
    files = {"A": str(tmp_path / "there"), "B": str(tmp_path / "gone"), "C": "/dev/zero"}
    with pytest.raises(VariableFileError) as raised:
        parse_values(run_program(files), list(files))
    assert (raised.value.name, raised.value.code) == ("B", errno.ENOENT)
    assert str(raised.value) == f"{CANNOT} 'B': No such file or directory"
    assert str(tmp_path) not in str(raised.value)


@given(VARIABLES)
def test_names_and_paths_arrive_byte_for_byte(files: dict[str, str]) -> None:
    texts = pack_files(files).split(b"\0")
    assert texts[1:-1] == [encode(text) for pair in files.items() for text in pair]
    assert texts[0] == b"%d" % (2 * len(files))


@pytest.mark.parametrize(
    "report", [b"", b"x", b"0", b"0 1 2", b"2 1", b"-2 1", b"-1 -3", b"0 -6", b"0 4096", b"-1 " + b"9" * 50, b"\xff 1"]
)
def test_a_report_that_is_none(report: bytes) -> None:
    assert parse_report(report, ["A", "B"]) is None


def test_reports() -> None:
    error = parse_report(b"1 -2", ["A", "B"])
    assert str(error) == f"{CANNOT} 'B': it is longer than a variable can be"
    assert isinstance(parse_report(b"-1 2", ["A"]), FileNotFoundError)
    assert str(parse_report(b"0 4095", ["A"])).startswith(CANNOT)


@pytest.mark.parametrize(
    "data", [b"", b"values", b"values\0", b"values\0a\0b\0", b"failed\0", b"failed\0009 9", b"x\0a\0"]
)
def test_an_answer_that_is_none(data: bytes) -> None:
    with pytest.raises(VariableFileError, match="the program that reads it has failed"):
        parse_values(data, ["A"])


def test_a_name_is_shown_as_text_and_not_without_end() -> None:
    assert str(VariableFileError("A\x1b[2K\n", 2)) == f"{CANNOT} 'A\\x1b[2K\\n': No such file or directory"
    assert len(str(VariableFileError("A" * 10_000, 2))) < 200


def test_what_everybody_can_see(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    assert find_problem("A", str(tmp_path / "there")) is None
    assert "No such file" in str(find_problem("A", str(tmp_path / "gone")))
    assert "Not a directory" in str(find_problem("A", str(tmp_path / "there" / "below")))
    assert "no regular file" in str(find_problem("A", str(tmp_path)))
    assert find_problem("A", f"/{'x' * 5000}") is None  # what else is wrong, the start says
