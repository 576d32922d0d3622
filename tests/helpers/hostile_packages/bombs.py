"""Bombs: by their size, their ratio, their count, their depth and their headers."""

from __future__ import annotations

import zlib
from itertools import chain, repeat

from tests.helpers.hostile_packages.case import MANIFEST, TAR_MANIFEST, ZIP_MANIFEST, Cases
from tests.helpers.packages import make_package
from tests.helpers.raw_archives import END_OF_TAR, ZipEntry, deflate, gzip_stream, pax_entry, tar_entry, write_zip

CASES = Cases()
MEBIBYTE = 1 << 20
TOO_LARGE = "makes the contents too large"


def make_overlapping_zip() -> bytes:
    """One content of 2 MiB, to which the directory gives 300 names; https://www.bamsoftware.com/hacks/zipbomb/."""
    content = bytes(2 * MEBIBYTE)
    shared = {
        "offset": 0,
        "packed_bytes": len(deflate(content)),
        "size_bytes": len(content),
        "crc": zlib.crc32(content),
    }
    copies = [ZipEntry(b"%d" % number, method=8, central=shared) for number in range(1, 300)]
    return write_zip([ZipEntry(b"0", content, method=8), ZIP_MANIFEST, *copies])


def make_tar_stream(*parts: bytes, zeros: int = 0, data: bytes = bytes(MEBIBYTE)) -> bytes:
    """A tar that begins with these parts, then has so much more, in pieces."""
    return gzip_stream(chain([TAR_MANIFEST, *parts], repeat(data, zeros)))


CASES.add_files("ratio", {"plugin.toml": MANIFEST, "zeros": bytes(4 * MEBIBYTE)}, TOO_LARGE, "zeros")
MANY = {"plugin.toml": MANIFEST, **{f"{number}": bytes(100_000) for number in range(100)}}
CASES.add("ratio, in many files (zip)", lambda: make_package(MANY, "zip"), TOO_LARGE, "19")  # 20 KB are 2 MB
CASES.add("ratio, in many files (tar)", lambda: make_package(MANY, "tar.gz"), TOO_LARGE, "13")  # 14 KB are 1.4 MB
CASES.add(
    "size, beyond all limits (tar)",
    lambda: make_tar_stream(tar_entry(b"x", size=b"%011o\0" % ((8 << 30) - 1)), zeros=10),
    TOO_LARGE,
    "x",
)
CASES.add(
    "size, beyond all limits (zip)",
    lambda: write_zip([ZIP_MANIFEST, *(ZipEntry(b"%d" % n, central={"size_bytes": 0xFFFFFFF0}) for n in range(9))]),
    "another header than",
    "0",
)
CASES.add(
    "size, not as it says",
    lambda: write_zip([ZIP_MANIFEST, ZipEntry(b"x", b"1234", packed=deflate(bytes(64 * MEBIBYTE)), method=8)]),
    "does not have the 4 bytes",
    "x",
)
CASES.add(
    "gap",
    lambda: write_zip([ZIP_MANIFEST], before_directory=bytes(20 * MEBIBYTE)),
    "hidden after it",
    "plugin.toml",
)
CASES.add("overlapping entries", make_overlapping_zip, "overlaps what follows it", "0")
CASES.add_files("count", {f"{number}": b"" for number in range(10_001)}, "at most 10000", "")
CASES.add(
    "count, not as it says",
    lambda: write_zip([ZIP_MANIFEST, *(ZipEntry(b"%d" % n) for n in range(20_000))], count=2, on_disk=2),
    "something after its 2 entries",
)
CASES.add_files(
    "folders",
    {"plugin.toml": MANIFEST, **{"/".join([str(number), *"d" * 60]): b"" for number in range(1000)}},
    "too many folders",
    "",
)
CASES.add(
    "one header for each entry, without an end",
    lambda: make_tar_stream(zeros=40_000, data=pax_entry({b"comment": b"x"}, b"g")),
    "too many entries",
)
for letter, kind in ((b"x", "pax"), (b"g", "pax for all"), (b"L", "GNU"), (b"K", "GNU target")):
    header = tar_entry(b"x", size=b"%011o\0" % (1 << 30), kind=letter)
    CASES.add(
        f"header of 1 GiB, {kind}", lambda h=header: make_tar_stream(h, zeros=100), "extended header of more than"
    )
CASES.add("zeros without an end", lambda: make_tar_stream(END_OF_TAR, zeros=100), "too large when it is decompressed")
CASES.add(
    "a name of 1 MiB", lambda: make_package({"plugin.toml": MANIFEST, "n/" * 500_000: b""}, "tar.gz"), "extended header"
)
