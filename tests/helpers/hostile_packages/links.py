"""Links that lead out of the package, or nowhere."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from tests.helpers.hostile_packages.case import MANIFEST, Cases, tar_with, zip_with
from tests.helpers.packages import Link, make_tar
from tests.helpers.raw_archives import ZipEntry, pax_entry, tar_entry

if TYPE_CHECKING:
    from tests.helpers.packages import Files

CASES = Cases()
LINKS: dict[str, tuple[str, str]] = {
    "up": ("../escaped", "leads out"),
    "absolute": ("/etc/passwd", "leads out"),
    "drive": ("C:/escaped", "leads out"),
    "only up": ("..", "leads out"),
    "out by a folder": ("folder/../../escaped", "leads out"),
    "out and in again": ("../out/main.py", "leads out"),
    "out by another link": ("folder/up/../escaped", "leads out"),
    "out by a link and up": ("folder/up/folder/up/..", "leads out"),
    "dangling": ("nothing", "not in the package"),
    "dangling, up behind it": ("nothing/../main.py", "not in the package"),
    "up from a file": ("main.py/../main.py", "not in the package"),
    "below a file": ("main.py/x", "not in the package"),
    "in other case": ("MAIN.PY", "not in the package"),
    "to itself": ("link", "in a circle"),
    "backslash": ("..\\escaped", "backslash"),
    "control character": ("main.py\n", "control character"),
    "long part": ("n" * 256, "part of more than 255 bytes"),
    "long as a whole": ("n/" * 600, "1024 bytes"),
}
for title, (target, why) in LINKS.items():
    files: Files = {"plugin.toml": MANIFEST, "main.py": b"", "folder/up": Link(".."), "link": Link(target)}
    CASES.add_files(f"link, {title}", files, why, "link")
FILES: Files = {"plugin.toml": MANIFEST, "folder/x": b""}
CASES.add_files("link, circle of two", {**FILES, "a": Link("b"), "b": Link("a")}, "in a circle", "a")
CHAIN = {f"l{number}": Link(f"l{number + 1}") for number in range(3000)}
CASES.add_files("link, by too many", {**FILES, **CHAIN, "l3000": b""}, "too many others", "l41")
BACKWARDS = dict(reversed(CHAIN.items()))
CASES.add_files("link, by too many, backwards", {**FILES, "l3000": b"", **BACKWARDS}, "too many others", "l2959")
CASES.add_files(
    "link, out of the top folder", {"top/plugin.toml": MANIFEST, "top/l": Link("../top/x")}, "leads out", "top/l"
)
CASES.add_files(
    "link, then through it", {**FILES, "l": Link("folder"), "l/x": b""}, "for a folder; it is a link", "l/x"
)
CASES.add_files(
    "link, in place of a folder", {**FILES, "folder": Link("folder")}, "for a link; it is a folder", "folder"
)
CASES.add("link, empty (zip)", zip_with(ZipEntry(b"l", b"", stat.S_IFLNK | 0o777)), "leads nowhere", "l")
CASES.add("link, empty (tar)", tar_with(tar_entry(b"l", kind=b"2")), "leads nowhere", "l")
CASES.add("link, not UTF-8 (zip)", zip_with(ZipEntry(b"l", b"\xff", stat.S_IFLNK)), "not UTF-8", "l")
CASES.add("link, a folder's name", zip_with(ZipEntry(b"l/", b"x", stat.S_IFLNK)), "not otherwise", "l/")
CASES.add(
    "link, out by pax",
    tar_with(pax_entry({b"linkpath": b"../x"}), tar_entry(b"l", kind=b"2", target=b"plugin.toml")),
    "leads out",
    "l",
)
CASES.add(
    "link, out by GNU",
    tar_with(tar_entry(b"K", b"../x\0", b"K"), tar_entry(b"l", kind=b"2", target=b"plugin.toml")),
    "leads out",
    "l",
)
CASES.add(
    "link, twice over itself",
    lambda: make_tar([("plugin.toml", MANIFEST), ("l", Link("plugin.toml")), ("l", b"x")]),
    "for a file; it is a link",
    "l",
)
