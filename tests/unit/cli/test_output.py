"""Tables, colours and what a terminal must not get."""

from __future__ import annotations

import io

import pytest
from plugvisor.cli.output import (
    format_table,
    has_color,
    make_printable,
    measure_width,
    paint,
    print_error,
    print_notice,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "on_terminal", "elsewhere"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_when_there_is_colour(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], on_terminal: bool, elsewhere: bool
) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert (has_color(Terminal()), has_color(io.StringIO()), has_color(None)) == (on_terminal, elsewhere, elsewhere)


def test_colours() -> None:
    assert paint("up", "bold green") == "\x1b[1;32mup\x1b[0m"
    assert (paint("up", ""), paint("", "red")) == ("up", "")


@pytest.mark.parametrize(
    ("text", "width"), [("web", 3), ("你好", 4), ("é", 1), ("e\u0301", 1), ("\uff21", 2), ("\u200d", 0), ("", 0)]
)
def test_width(text: str, width: int) -> None:
    assert measure_width(text) == width


def test_columns_by_what_a_terminal_shows() -> None:
    rows = [("ID", "NAME", "X"), ("a", "你好", "1"), ("bcd", "x", "")]
    assert format_table(rows) == "ID   NAME  X\na    你好  1\nbcd  x"
    painted = format_table(rows, lambda row, column: "red" if (row, column) == (1, 0) else "")
    assert painted.splitlines()[1] == "\x1b[31ma\x1b[0m    你好  1"


def test_what_could_control_a_terminal_is_escaped() -> None:
    assert make_printable("a\x1b[2J\r\u202eb 你") == "a\\x1b[2J\\r\\u202eb 你"
    assert make_printable("你", "ascii") == "\\u4f60"


@pytest.mark.parametrize(
    ("variable", "begins"), [("NO_COLOR", "plugvisor: "), ("FORCE_COLOR", "\x1b[31mplugvisor:\x1b[0m ")]
)
def test_an_error_is_red(
    variable: str, begins: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, "1")
    print_error("it failed")
    print_notice("it goes on")
    assert capsys.readouterr() == ("", f"{begins}it failed\nplugvisor: it goes on\n")
