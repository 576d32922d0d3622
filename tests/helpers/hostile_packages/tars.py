"""Tars that contradict themselves or are not whole, streams that are damaged, and what is no archive."""

from __future__ import annotations

import bz2
import gzip
import lzma

from tests.helpers.hostile_packages.case import MANIFEST, TAR_MANIFEST, Cases, tar_with
from tests.helpers.raw_archives import BLOCK_BYTES, END_OF_TAR, pax_entry, pax_record, tar_entry, write_tar

CASES = Cases()
TAR = TAR_MANIFEST + END_OF_TAR
GOOD = gzip.compress(TAR, mtime=0)
ZEROS = bytes(BLOCK_BYTES)


def add_tar(name: str, *entries: bytes, what: str, entry: str = "", end: bytes = END_OF_TAR) -> None:
    CASES.add(f"tar, {name}", tar_with(*entries, end=end), what, entry)


def add_bytes(name: str, package: bytes, what: str) -> None:
    CASES.add(f"not a package, {name}", lambda: package, what)


NO_ARCHIVE = "neither a .zip nor a .tar.gz"
for name, data in {
    "nothing": b"",
    "text": b"hello\n",
    "tar that is not compressed": TAR,
    "tar.xz": lzma.compress(TAR),
    "tar.bz2": bz2.compress(TAR),
    "zeros": bytes(10_000),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
}.items():
    add_bytes(name, data, NO_ARCHIVE)
add_bytes("compressed text", gzip.compress(b"hello\n" * 500), "or is no tar")
add_bytes("compressed zip", gzip.compress(b"PK\3\4" + bytes(600)), "or is no tar")
add_bytes("compressed nothing", gzip.compress(b""), "cut short")
add_bytes("first bytes of gzip", b"\x1f\x8b", "cut short")
add_bytes("gzip of another method", b"\x1f\x8b\x09" + bytes(100), "cannot be decompressed")

add_bytes("gzip, wrong checksum", GOOD[:-8] + bytes(4) + GOOD[-4:], "its checksum is wrong")
add_bytes("gzip, wrong length", GOOD[:-4] + bytes(4), "its checksum is wrong")
add_bytes("gzip, no checksum", GOOD[:-8], "cut short")
add_bytes("gzip, damaged", GOOD[:40] + bytes(20) + GOOD[60:], "cannot be decompressed")
add_bytes("gzip, something follows", GOOD + b"x", "something follows the end")
add_bytes("gzip, another one follows", GOOD + GOOD, "something follows the end")
add_bytes("gzip, only the end in another one", gzip.compress(TAR_MANIFEST) + gzip.compress(END_OF_TAR), "cut short")

add_tar("no end", what="cut short", end=b"")
add_tar("half an end", what="cut short", end=ZEROS)
add_tar("half an end, and an entry", what="its end is missing", end=ZEROS + tar_entry(b"x") + END_OF_TAR)
add_tar("something after its end", what="something follows the end", end=END_OF_TAR + tar_entry(b"../x", b"x"))
add_tar("something far after its end", what="something follows the end", end=END_OF_TAR + bytes(300_000) + b"x")
add_tar("cut in a header", what="cut short", end=tar_entry(b"x")[:300])
add_tar("cut in a content", what="cut short", end=tar_entry(b"x", size=b"%011o\0" % 5000))

add_tar("wrong checksum", tar_entry(b"x", checksum=b"000000\0 "), what="a header's checksum is wrong")
add_tar("checksum that is no number", tar_entry(b"x", checksum=b"abcdefg\0"), what="a header's checksum is wrong")
add_tar("garbage in place of a header", b"\xff" * BLOCK_BYTES, what="a header's checksum is wrong")
for name, size in {
    "binary size": b"\x80" + bytes(10) + b"\1",
    "negative size": b"\xff" * 12,
    "negative octal size": b"-0000000001\0",
    "size in decimals": b"00000000009\0",
    "size with an underscore": b"0_1\0",
    "size in letters": b"0x10\0",
}.items():
    add_tar(name, tar_entry(b"x", size=size), what="no octal number", entry="x")
add_tar("mode in letters", tar_entry(b"x", mode=b"rw-r--r-"), what="no octal number", entry="x")

UNREADABLE = "an extended header cannot be read"
for name, records in {
    "length of zero": b"0 a=b\n",
    "length too short": b"3 a=b\n",
    "length too long": b"99 a=b\n",
    "length without end": b"9" * 1000,
    "negative length": b"-6 a=b\n",
    "length beyond all bounds": b"9" * 7 + b" a=b\n",
    "no length": b" a=b\n",
    "no value": b"5 ab\n",
    "no line break": b"6 a=bc",
    "garbage behind a record": pax_record(b"comment", b"x") + b"\0\0",
    "digits of another alphabet": "٦ a=b\n".encode(),
}.items():
    add_tar(f"pax, {name}", pax_entry(records), tar_entry(b"x"), what=UNREADABLE)
TWICE = pax_record(b"path", b"a") + pax_record(b"path", b"b")
add_tar("pax, a name twice", pax_entry(TWICE), tar_entry(b"x"), what="says a thing twice")
add_tar("pax, another size", pax_entry({b"size": b"5"}), tar_entry(b"x", b"1234"), what="has two sizes", entry="x")
add_tar("pax, size in letters", pax_entry({b"size": b"x"}), tar_entry(b"x", b"1234"), what="has two sizes", entry="x")
for key in (b"path", b"linkpath", b"size", b"GNU.sparse.name"):
    entries = pax_entry({key: b"1"}, b"g"), tar_entry(b"x")
    add_tar(f"pax for all, {key.decode()}", *entries, what="gives all its entries one name or size")
add_tar("pax, twice", pax_entry({b"a": b"b"}), pax_entry({b"a": b"b"}), tar_entry(b"x"), what="two extended headers")
add_tar("pax, without an entry", pax_entry({b"path": b"x"}), what="its end is missing")
NAMES = pax_entry({b"path": b"a"}), tar_entry(b"L", b"b\0", b"L")
add_tar("two names", *NAMES, tar_entry(b"x"), what="has two names", entry="b")
TARGETS = pax_entry({b"linkpath": b"a"}), tar_entry(b"K", b"b\0", b"K")
add_tar("two targets", *TARGETS, tar_entry(b"x", kind=b"2"), what="has two names or two targets", entry="x")
add_tar(
    "GNU, a NUL in a name",
    tar_entry(b"L", b"a\0../b\0", b"L"),
    tar_entry(b"x"),
    what="control character",
    entry="a\\x00../b",
)
CASES.add("tar, only a comment", lambda: write_tar(pax_entry({b"comment": MANIFEST}, b"g")), "no plugin.toml")
