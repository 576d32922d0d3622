"""Zips that contradict themselves, hide something, or are not whole."""

from __future__ import annotations

import zlib
from struct import pack

from tests.helpers.hostile_packages.case import ZIP_MANIFEST, Cases, zip_with
from tests.helpers.raw_archives import ZipEntry, deflate, write_zip

CASES = Cases()
TEXT = b"some content\n" * 20
GOOD = write_zip([ZIP_MANIFEST, ZipEntry(b"x", TEXT, method=8)])
DESCRIPTOR = pack("<LLL", zlib.crc32(TEXT), len(deflate(TEXT)), len(TEXT))


def add_entry(name: str, entry: ZipEntry, what: str, shown: str = "x") -> None:
    CASES.add(f"zip, {name}", zip_with(entry), what, shown)


def add_zip(name: str, package: bytes, what: str, entry: str = "") -> None:
    CASES.add(f"zip, {name}", lambda: package, what, entry)


add_entry("encrypted", ZipEntry(b"x", TEXT, flags=1), "is encrypted")
add_entry("encrypted strongly", ZipEntry(b"x", TEXT, flags=1 << 6 | 1), "is encrypted")
add_entry("encrypted directory", ZipEntry(b"x", TEXT, flags=1 << 13), "is encrypted")
add_entry("patch", ZipEntry(b"x", TEXT, flags=1 << 5), "an unknown flag")
for method in (1, 6, 9, 12, 14, 93, 95, 99):
    add_entry(f"method {method}", ZipEntry(b"x", TEXT, method=method), f"by method {method}")

OTHER_HEADER = "another header than the directory"
add_entry("another name", ZipEntry(b"x", TEXT, local={"name": b"../x"}), "is called '../x' in its own header")
add_entry("another name, harmless", ZipEntry(b"x", TEXT, central={"name": b"y"}), "is called 'x' in its own", "y")
add_entry("another method", ZipEntry(b"x", TEXT, local={"method": 8}), OTHER_HEADER)
add_entry("another CRC", ZipEntry(b"x", TEXT, local={"crc": 1}), OTHER_HEADER)
add_entry("another size", ZipEntry(b"x", TEXT, local={"size_bytes": 1}), OTHER_HEADER)
add_entry("another compressed size", ZipEntry(b"x", TEXT, local={"packed_bytes": 1}), OTHER_HEADER)
add_entry("other flags", ZipEntry(b"x", TEXT, local={"flags": 1 << 3}), OTHER_HEADER)
add_entry("no sizes and no descriptor", ZipEntry(b"x", TEXT, local={"size_bytes": 0}), OTHER_HEADER)
add_entry("no header", ZipEntry(b"x", TEXT, local={"magic": b"PK\1\2"}), "its header is missing")
add_entry("offset into nowhere", ZipEntry(b"x", TEXT, central={"offset": 1 << 31}), "is not where")
add_entry("offset into its middle", ZipEntry(b"x", TEXT, central={"offset": 70}), "hidden after it", "plugin.toml")
add_entry("zip64 sizes", ZipEntry(b"x", TEXT, central={"packed_bytes": 0xFFFFFFFF}), OTHER_HEADER)
add_entry("on another disk", ZipEntry(b"x", TEXT, central={"disk": 1}), "in another part")
add_entry("hidden before an entry", ZipEntry(b"x", TEXT, gap=b"hidden"), "hidden after it", "plugin.toml")
add_entry(
    "content beyond the directory",
    ZipEntry(b"x", TEXT, local={"packed_bytes": 999}, central={"packed_bytes": 999}),
    "overlaps",
)

WRONG_CRC = {"crc": 0x12345678}
add_entry("wrong CRC", ZipEntry(b"x", TEXT, local=WRONG_CRC, central=WRONG_CRC), "checksum (CRC) is wrong")
add_entry("wrong CRC, compressed", ZipEntry(b"x", TEXT, method=8, local=WRONG_CRC, central=WRONG_CRC), "checksum (CRC)")
for name, size in {"smaller": 100, "larger": 300}.items():
    lie = {"size_bytes": size}
    add_entry(f"{name} than it says", ZipEntry(b"x", TEXT, method=8, local=lie, central=lie), f"the {size} bytes")
    add_entry(f"{name} than it says, stored", ZipEntry(b"x", TEXT, local=lie, central=lie), f"the {size} bytes")
add_entry("garbage in place of content", ZipEntry(b"x", TEXT, method=8, packed=b"\xff" * 50), "cannot be decompressed")
add_entry("content cut short", ZipEntry(b"x", TEXT, method=8, packed=deflate(TEXT)[:-3]), "cut short")
add_entry("no content", ZipEntry(b"x", TEXT, method=8, packed=b""), "cut short")
add_entry(
    "something after the content", ZipEntry(b"x", TEXT, method=8, packed=deflate(TEXT) + b"x"), "something follows it"
)

add_entry("no descriptor", ZipEntry(b"x", TEXT, method=8, flags=8), "hidden after it, or its sizes")
add_entry(
    "descriptor that lies", ZipEntry(b"x", TEXT, method=8, flags=8, descriptor=DESCRIPTOR[::-1]), "hidden after it"
)
add_entry("long descriptor", ZipEntry(b"x", TEXT, method=8, flags=8, descriptor=DESCRIPTOR + b"x"), "hidden after it")
add_entry("unexpected descriptor", ZipEntry(b"x", TEXT, method=8, descriptor=DESCRIPTOR), "hidden after it")

inner = write_zip([ZipEntry(b"inner", b"quoted")]).partition(b"PK\1\2")[0]
start = len(write_zip([ZIP_MANIFEST]).partition(b"PK\1\2")[0]) + 30 + len(b"outer")
add_zip(
    "an entry in another one's content",
    write_zip([ZIP_MANIFEST, ZipEntry(b"outer", inner), ZipEntry(b"inner", b"quoted", central={"offset": start})]),
    "overlaps",
    "outer",
)
add_zip(
    "two names for one entry",
    write_zip([ZIP_MANIFEST, ZipEntry(b"x", central={"offset": 0})]),
    "overlaps",
    "plugin.toml",
)
add_zip("something in front", b"#!/bin/sh\n" + GOOD, "neither a .zip nor")
add_zip("something in front of an entry like it", GOOD[:40] + GOOD, "not where its end says")
FIRST = ZipEntry(b"plugin.toml", gap=b"PK\3\4 hidden")
add_zip("something in front of the first entry", write_zip([FIRST]), "hidden in front of it", "plugin.toml")
add_zip("something after the end", GOOD + b"\n", "something follows its end")
add_zip("a second zip after the end", GOOD + GOOD, "not where its end says")
add_zip(
    "something before the directory",
    write_zip([ZIP_MANIFEST], before_directory=b"hidden"),
    "hidden after it",
    "plugin.toml",
)
add_zip("something before the end", write_zip([ZIP_MANIFEST], before_end=b"hidden"), "not where its end says")
add_zip(
    "another end in the comment", write_zip([ZIP_MANIFEST], comment=b"PK\5\6" + bytes(18)), "not where its end says"
)
add_zip(
    "a zip in the comment", write_zip([ZIP_MANIFEST], comment=write_zip([ZipEntry(b"x")])), "not where its end says"
)
add_zip("no directory", write_zip([ZIP_MANIFEST], size=0, count=0, on_disk=0), "not where its end says")
add_zip("fewer entries than it says", write_zip([ZIP_MANIFEST], count=2, on_disk=2), "its directory cannot be read")
add_zip(
    "more entries than it says", write_zip([ZIP_MANIFEST, ZipEntry(b"x")], count=1, on_disk=1), "something after its 1"
)
add_zip("one of several disks", write_zip([ZIP_MANIFEST], disk=1), "one of several parts")
add_zip("entries on several disks", write_zip([ZIP_MANIFEST], on_disk=0), "one of several parts")
add_zip("directory elsewhere", write_zip([ZIP_MANIFEST], offset=0), "not where its end says")
add_zip("zip64", write_zip([ZIP_MANIFEST], before_end=b"PK\6\6" + bytes(52) + b"PK\6\7" + bytes(16)), "it is a zip64")
add_zip("zip64 count", write_zip([ZIP_MANIFEST], count=0xFFFF, on_disk=0xFFFF), "65535 entries")
add_zip("empty", write_zip([]), "it is empty")
add_zip("its first bytes only", b"PK\3\4", "its end is missing")
