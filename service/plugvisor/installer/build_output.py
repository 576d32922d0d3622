"""The output of a build: bounded, printable, and without what nobody should read."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LINE_CHARACTERS = 2_000
FIRST_LINES = 1_000
LAST_LINES = 100
"""Of a longer output the lines between are dropped, and their number is reported."""

_RAW_BYTES = 8 * 1024
"""The limit of an unfinished line: more than a cut line needs, so that a password is seen whole."""
_ENDS = re.compile(rb"[\r\n]+")
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/]+@")
_UNPARSED_CREDENTIALS = re.compile(r"(?<=://)(?!\[)[^\s/@:]*:(?!\d*(?:\W|$))(?:\S*(?=@)|\S+)")
"""With a `/` or `#` that is not escaped: what follows the colon is no port, so that it is no address."""
_QUERY = re.compile(r"(?<=://)((?:[^\s?:]|:(?!//))*\?)[^\s`]+")
"""May hold a token, or be a signature."""


def clean_line(raw: bytes, replacements: Mapping[str, str]) -> str:
    """A line as text: no control characters, no credentials or queries in addresses, at most `LINE_CHARACTERS`.

    Args:
        replacements: what to write instead of some words, such as the paths of folders.
    """
    text = _ESCAPE_SEQUENCE.sub("", raw[:_RAW_BYTES].decode("utf-8", "replace")).expandtabs(4)
    text = _QUERY.sub(r"\1****", _UNPARSED_CREDENTIALS.sub("****", _CREDENTIALS.sub("****@", text)))
    for word, replacement in replacements.items():
        text = text.replace(word, replacement)
    text = "".join(character if character.isprintable() else "\ufffd" for character in text).rstrip()
    return text if len(text) <= LINE_CHARACTERS else f"{text[: LINE_CHARACTERS - 1]}…"


class BuildOutput:
    """Splits what a command writes into lines and reports them: the first ones at once, the last ones at the end."""

    def __init__(self, say: Callable[[str], object], replacements: Mapping[str, str]) -> None:
        self._say = say
        self._replacements = replacements
        self._rest = b""
        self._first: list[str] = []
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._count = 0

    def feed(self, piece: bytes) -> None:
        """Take what was read."""
        *lines, rest = _ENDS.split(self._rest + piece)
        self._rest = rest[:_RAW_BYTES]
        for line in lines:
            self._add(line)

    def finish(self) -> list[str]:
        """Report the last lines, and return all that are kept."""
        self._add(self._rest)
        self._rest = b""
        last = [clean_line(line, self._replacements) for line in self._last]
        if dropped := self._count - len(self._first) - len(last):
            last.insert(0, f"… {dropped:,} lines left out …")
        for line in last:
            self._say(line)
        return self._first + last

    def _add(self, line: bytes) -> None:
        if not line.strip():
            return
        self._count += 1
        if len(self._first) < FIRST_LINES:
            self._first.append(clean_line(line, self._replacements))
            self._say(self._first[-1])
        else:
            self._last.append(line[:_RAW_BYTES])
