"""Names that lead out of the package, hide something, or are too long."""

from __future__ import annotations

from tests.helpers.hostile_packages.case import Cases, tar_with, zip_with
from tests.helpers.raw_archives import ZipEntry, pax_entry, tar_entry

CASES = Cases()
NAMES: dict[str, tuple[bytes, str]] = {
    "up": (b"../escaped", "leads out"),
    "up, from within": (b"a/../../escaped", "leads out"),
    "up and down": (b"a/../b", "leads out"),
    "up at the end": (b"a/..", "leads out"),
    "only up": (b"..", "leads out"),
    "up behind a dot": (b"./../escaped", "leads out"),
    "up to the folder's neighbour": (b"../out-of-it/escaped", "leads out"),
    "absolute": (b"/tmp/escaped", "absolute"),
    "absolute, twice": (b"//tmp/escaped", "absolute"),
    "backslashes up": (b"..\\escaped", "backslash"),
    "backslashes up, from within": (b"a\\..\\..\\escaped", "backslash"),
    "backslash in front": (b"\\escaped", "backslash"),
    "network share": (b"\\\\host\\share\\escaped", "backslash"),
    "mixed slashes": (b"a/..\\..\\escaped", "backslash"),
    "drive": (b"C:/escaped", "drive"),
    "drive without a slash": (b"c:escaped", "drive"),
    "empty part": (b"a//b", "empty part"),
    "dot part": (b"a/./b", "empty part"),
    "two dots in front": (b"././a", "empty part"),
    "dot as a file": (b".", "is not a folder"),
    "control character": (b"a\x01b", "control character"),
    "line break": (b"a\nb", "control character"),
    "escape sequence": (b"\x1b[31mred", "control character"),
    "delete": (b"a\x7f", "control character"),
    "control character of Latin-1": ("a\x85b".encode(), "control character"),
    "line separator": ("a\u2028b".encode(), "control character"),
    "right to left": ("a\u202etxt.exe".encode(), "control character"),
    "long part": (b"n" * 256, "part of more than 255 bytes"),
    "300 bytes": (b"n" * 300, "part of more than 255 bytes"),
    "long part, in a folder": (b"a/" + "名".encode() * 86, "part of more than 255 bytes"),
    "long as a whole": (b"/".join([b"n" * 200] * 6), "a name of 1205 bytes"),
    "deep": (b"/".join([b"d"] * 65), "65 levels deep"),
    "not UTF-8": (b"a\xff", "not UTF-8"),
    "dots, too long in UTF-8": (b"\xc0\xae\xc0\xae/escaped", "not UTF-8"),
    "slash, too long in UTF-8": (b"..\xc0\xafescaped", "not UTF-8"),
    "surrogate": (b"a\xed\xa0\x80", "not UTF-8"),
    "NUL": (b"plugin\0.toml", "control character"),
    "environment": (b".venv", "brings an environment"),
    "in an environment": (b".venv/bin/python", "brings an environment"),
    "environment in capitals": (b".VENV/bin/python", "brings an environment"),
}


def escape(name: bytes) -> str:
    """How a name is shown: readable, and never as more than 200 characters."""
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in name.decode(errors="backslashreplace")
    )
    return text if len(text) <= 200 else text[:199] + "…"


for title, (bad, why) in NAMES.items():
    shown = {b".venv/bin/python": ".venv", b".VENV/bin/python": ".VENV"}.get(bad, escape(bad))
    CASES.add(f"name, {title} (zip)", zip_with(ZipEntry(bad, b"x")), why, shown)
    if len(bad) <= 100 and b"\0" not in bad:
        CASES.add(f"name, {title} (tar)", tar_with(tar_entry(bad, b"x")), why, shown)
    CASES.add(f"name, {title} (pax)", tar_with(pax_entry({b"path": bad}), tar_entry(b"good", b"x")), why, shown)
    CASES.add(
        f"name, {title} (GNU)", tar_with(tar_entry(b"././@LongLink", bad + b"\0", b"L"), tar_entry(b"good")), why, shown
    )
CASES.add("name, empty (zip)", zip_with(ZipEntry(b"", b"x")), "empty name")
CASES.add("name, empty (tar)", tar_with(tar_entry(b"", b"x")), "empty name")
CASES.add("name, up by the prefix", tar_with(tar_entry(b"escaped", b"x", prefix=b"..")), "leads out", "../escaped")
CASES.add("name, something after NUL", tar_with(tar_entry(b"good\0../x", b"x")), "hidden behind its name", "good")
