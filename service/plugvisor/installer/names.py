"""The names of a package's entries: which are valid, and how errors show them."""

from __future__ import annotations

import re
import unicodedata

LONGEST_PART_BYTES = 255
"""The limit of file systems."""
LONGEST_NAME_BYTES = 1024
MOST_PARTS = 64
"""Each level takes a descriptor, here and in every program that walks the tree."""

_SHOWN_CHARACTERS = 200
_DRIVE = re.compile(r"[A-Za-z]:")
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Controls that make one name look like another."""


class PackageRefused(Exception):
    """A package is damaged, or contains what a package must not contain.

    Attributes:
        message: a sentence for a person.
        entry: the name of the entry, printable; empty if the error is about the whole package.
    """

    def __init__(self, message: str, entry: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.entry = entry


def refuse_entry(name: str | bytes, what: str) -> PackageRefused:
    """Return the error about one entry; `what` follows its name in the sentence."""
    shown = show_name(name)
    return PackageRefused(f"the entry '{shown}' {what}", shown)


def show_name(name: str | bytes) -> str:
    """Return a name as printable text, escaped and cut to 200 characters."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    head = text[: _SHOWN_CHARACTERS + 1]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in head)
    return escaped if len(escaped) <= _SHOWN_CHARACTERS else f"{escaped[: _SHOWN_CHARACTERS - 1]}…"


def decode_name(name: bytes) -> str:
    """Decode a name, which has at most `LONGEST_NAME_BYTES` and is UTF-8.

    Raises:
        PackageRefused
    """
    if len(name) > LONGEST_NAME_BYTES:
        raise refuse_entry(name, f"has a name of {len(name)} bytes; at most {LONGEST_NAME_BYTES} are allowed")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse_entry(name, "has a name that is not UTF-8") from None


def decode_target(name: str, target: bytes) -> str:
    """Decode the target of a link; `name` is that of the entry.

    Raises:
        PackageRefused
    """
    if len(target) > LONGEST_NAME_BYTES:
        raise refuse_entry(name, f"is a link whose target is longer than {LONGEST_NAME_BYTES} bytes")
    try:
        return target.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse_entry(name, "is a link whose target is not UTF-8") from None


def parse_name(name: str) -> tuple[str, ...]:
    """Split an entry's name into its parts; the root (`./`, as `tar` writes it) has none.

    Each path has one valid spelling: relative, with `/`, without `..`, control characters and `.`, except for one
    `./` in front.

    Raises:
        PackageRefused
    """
    _check_characters(name, name)
    if name.startswith("/"):
        raise refuse_entry(name, "is an absolute path")
    if _DRIVE.match(name):
        raise refuse_entry(name, "begins with a drive letter")
    path = name.removesuffix("/")
    if path == ".":
        return ()
    parts = tuple(path.removeprefix("./").split("/"))
    if ".." in parts:
        raise refuse_entry(name, "leads out of the package: its name has '..' in it")
    if "" in parts or "." in parts:
        raise refuse_entry(name, "has an empty name, or an empty part or '.' in it")
    if len(parts) > MOST_PARTS:
        raise refuse_entry(name, f"is {len(parts)} levels deep; at most {MOST_PARTS} are allowed")
    for part in parts:
        _check_length(name, part)
    return parts


def parse_target(name: str, target: str) -> list[str]:
    """Split the target of a link into parts, without empty ones and `.`; `name` is that of the entry.

    Raises:
        PackageRefused
    """
    _check_characters(name, target)
    if not target:
        raise refuse_entry(name, "is a link that leads nowhere")
    if target.startswith("/") or _DRIVE.match(target):
        raise refuse_entry(name, f"is a link that leads out of the package, to '{show_name(target)}'")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    for part in parts:
        _check_length(name, part)
    return parts


def fold_part(part: str) -> str:
    """Return a key that is equal for parts which are the same file on some file system.

    They differ in case, or in how accented letters are composed.
    """
    if part.isascii():
        return part.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())


def _check_characters(name: str, text: str) -> None:
    if "\\" in text:
        raise refuse_entry(name, "has a backslash in its name or target; use '/'")
    # the first test is fast, and true of nearly every name
    if not text.isprintable() and any(map(_is_control, text)):
        raise refuse_entry(name, "has a control character in its name or target")


def _check_length(name: str, part: str) -> None:
    if len(part) * 4 > LONGEST_PART_BYTES and len(part.encode("utf-8")) > LONGEST_PART_BYTES:
        raise refuse_entry(name, f"has a part of more than {LONGEST_PART_BYTES} bytes in its name or target")


def _is_control(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
