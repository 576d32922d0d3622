"""Entries that are there twice, and those that are neither files nor folders nor links."""

from __future__ import annotations

import stat

from tests.helpers.hostile_packages.case import MANIFEST, ZIP_MANIFEST, Cases, tar_with, zip_with
from tests.helpers.packages import make_tar
from tests.helpers.raw_archives import ZipEntry, pax_entry, tar_entry, write_zip

CASES = Cases()

# -- what is there twice

CASES.add("twice (zip)", lambda: make_zip_twice("main.py"), "is there twice", "main.py")
CASES.add(
    "twice (tar)", lambda: make_tar([("plugin.toml", MANIFEST), ("a", b"1"), ("./a", b"2")]), "is there twice", "./a"
)
CASES.add("the manifest twice", lambda: make_zip_twice("plugin.toml"), "is there twice", "plugin.toml")
CASES.add(
    "a folder twice", lambda: make_tar([("plugin.toml", MANIFEST), ("a/", b""), ("a/", b"")]), "is there twice", "a/"
)
for title, (one, two) in {
    "case": ("main.py", "MAIN.py"),
    "case of a folder": ("folder/x", "Folder/y"),
    "composition": ("caf\u00e9", "cafe\u0301"),
    "order of composition": ("\u03b1\u0345\u0301", "\u0391\u0301\u0345"),
    "sharp s": ("straße", "STRASSE"),
    "Kelvin sign": ("k", "\u212a"),
    "long s": ("s", "\u017f"),
    "case of the manifest": ("plugin.toml", "PLUGIN.TOML"),
}.items():
    CASES.add_files(
        f"collision, {title}", {"plugin.toml": MANIFEST, one: MANIFEST, two: b""}, "where case does not count", two
    )
CASES.add_files(
    "a file, then a folder", {"plugin.toml": MANIFEST, "a": b"", "a/b": b""}, "for a folder; it is a file", "a/b"
)
CASES.add_files(
    "a folder, then a file", {"plugin.toml": MANIFEST, "a/b": b"", "a": b""}, "for a file; it is a folder", "a"
)


def make_zip_twice(name: str) -> bytes:
    return write_zip([ZIP_MANIFEST, ZipEntry(b"main.py"), ZipEntry(name.encode(), b"second")])


# -- what is neither a file, nor a folder, nor a link

for title, mode in {
    "FIFO": stat.S_IFIFO,
    "device": stat.S_IFCHR,
    "disk": stat.S_IFBLK,
    "socket": stat.S_IFSOCK,
}.items():
    CASES.add(f"{title} (zip)", zip_with(ZipEntry(b"odd", b"", mode | 0o644)), "neither a file nor", "odd")
for kind, why in {
    b"1": "hard link",
    b"3": "device",
    b"4": "device",
    b"6": "FIFO",
    b"S": "sparse file",
    b"M": "part of a file",
    b"D": "neither a file nor",
    b"V": "neither a file nor",
    b"X": "neither a file nor",
    b"\xff": "neither a file nor",
}.items():
    CASES.add(f"type {kind!r} (tar)", tar_with(tar_entry(b"odd", kind=kind, target=b"plugin.toml")), why, "odd")
for key in (b"GNU.sparse.map", b"GNU.sparse.major", b"GNU.sparse.realsize"):
    CASES.add(f"{key.decode()} (tar)", tar_with(pax_entry({key: b"0"}), tar_entry(b"odd")), "sparse file", "odd")
CASES.add("folder with content (zip)", zip_with(ZipEntry(b"a/", b"x", stat.S_IFDIR)), "not otherwise", "a/")
CASES.add("folder with content, by its mode", zip_with(ZipEntry(b"a", b"x", stat.S_IFDIR)), "folder with content", "a")
CASES.add("folder that is a file (zip)", zip_with(ZipEntry(b"a/")), "not otherwise", "a/")
CASES.add("folder that is a file (tar)", tar_with(tar_entry(b"a/")), "not otherwise", "a/")
CASES.add("folder with content (tar)", tar_with(tar_entry(b"a", b"x", b"5")), "with content", "a")
CASES.add("link with content (tar)", tar_with(tar_entry(b"a", b"x", b"2", target=b"plugin.toml")), "with content", "a")
