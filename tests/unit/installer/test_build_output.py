"""The lines of a build's output."""

from __future__ import annotations

import pytest
from plugvisor.installer.build_output import FIRST_LINES, LAST_LINES, LINE_CHARACTERS, BuildOutput, clean_line


def read(*pieces: bytes) -> tuple[list[str], list[str]]:
    """What is reported of these pieces, and what is kept."""
    reported: list[str] = []
    output = BuildOutput(reported.append, {})
    for piece in pieces:
        output.feed(piece)
    return reported, output.finish()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"  plain  ", "  plain"),
        ("größer 你好 🙂".encode(), "größer 你好 🙂"),
        (b"\xff\x00\x07a\x7f", "\ufffd\ufffd\ufffda\ufffd"),
        ("a\u202eb\u2028c".encode(), "a\ufffdb\ufffdc"),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", "red textlink"),
        (b"a\tb", "a   b"),
        (b"https://user:pass@host/x and http://token@host", "https://****@host/x and http://****@host"),
        (b"https://user:p@ss@host/a@b", "https://****@host/a@b"),
        (b"Invalid URL: http://user:s3cret/pw@host:8080/simple: why", "Invalid URL: http://****@host:8080/simple: why"),
        (b"`http://user:12s3cret#pw@host/`", "`http://****@host/`"),
        (b"Invalid URL: http://user:s3cret", "Invalid URL: http://****"),
        (b"http://host:8080/a@b, http://host:80 and `http://[::1]:8080/a`", None),
        (b"git+ssh://git@host:22/a@v1 and a:b://c", "git+ssh://****@host:22/a@v1 and a:b://c"),
        (b"(https://host/a:b.whl?token=s3cret&b=1#sha256=0) http://b", "(https://host/a:b.whl?**** http://b"),
        (b"why? see http://host/a, or not?", None),
        (b"at /install/plugin/x.txt", "at x.txt"),
        (b"x" * 3_000, "x" * (LINE_CHARACTERS - 1) + "…"),
    ],
)
def test_a_line_is_printable_short_and_without_secrets(raw: bytes, text: str | None) -> None:
    """None: it is left as it is."""
    assert clean_line(raw, {"/install/plugin/": ""}) == (raw.decode() if text is None else text)


def test_a_password_at_the_cut_is_hidden() -> None:
    line = clean_line(b"x" * (LINE_CHARACTERS - 20) + b" https://user:" + b"s3cret" * 100 + b"@host", {})
    assert "s3cret" not in line


def test_lines_may_come_in_pieces() -> None:
    reported, kept = read(b"one\ntw", b"o\r\n\n", b"\rthree ", b"\xe4\xbd", b"\xa0")
    assert reported == kept == ["one", "two", "three 你"]


def test_of_a_long_output_the_middle_is_left_out() -> None:
    numbers = range(10_000)
    reported, kept = read(*(f"{number}\n".encode() for number in numbers))
    expected = [str(number) for number in (*numbers[:FIRST_LINES], *numbers[-LAST_LINES:])]
    expected.insert(FIRST_LINES, f"… {10_000 - FIRST_LINES - LAST_LINES:,} lines left out …")
    assert reported == kept == expected


def test_lines_are_reported_when_they_come() -> None:
    reported: list[str] = []
    output = BuildOutput(reported.append, {})
    output.feed(b"one\ntwo")
    assert reported == ["one"]


def test_a_line_without_an_end_is_not_kept_whole() -> None:
    reported, _ = read(*[b"x" * 65_536] * 1_000, b"\nnext")
    assert [len(line) for line in reported] == [LINE_CHARACTERS, 4]
