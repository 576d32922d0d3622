"""Archives byte for byte, with whatever lies a test wants in them."""

from __future__ import annotations

import stat
import zlib
from dataclasses import dataclass, field
from struct import pack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BLOCK_BYTES = 512
END_OF_TAR = bytes(2 * BLOCK_BYTES)


@dataclass
class ZipEntry:
    """An entry of a zip; `local` and `central` replace fields of its two headers, by their names."""

    name: bytes
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    method: int = 0
    flags: int = 0
    packed: bytes | None = None
    """What is stored in place of the content, compressed as `method` says."""
    descriptor: bytes = b""
    gap: bytes = b""
    """In front of it."""
    local: Mapping[str, int | bytes] = field(default_factory=dict)
    central: Mapping[str, int | bytes] = field(default_factory=dict)


def write_zip(
    entries: Iterable[ZipEntry],
    *,
    before_directory: bytes = b"",
    before_end: bytes = b"",
    comment: bytes = b"",
    **end: int,
) -> bytes:
    """A zip of these entries; the other arguments replace fields of its end."""
    body, directory = bytearray(), bytearray()
    count = 0
    for entry in entries:
        body += entry.gap
        packed = entry.packed
        if packed is None:
            packed = deflate(entry.data) if entry.method == 8 else entry.data
        fields: dict[str, int | bytes] = {
            "magic": b"",
            "name": entry.name,
            "extra": b"",
            "flags": entry.flags,
            "method": entry.method,
            "crc": zlib.crc32(entry.data),
            "packed_bytes": len(packed),
            "size_bytes": len(entry.data),
            "disk": 0,
            "attributes": entry.mode << 16,
            "offset": len(body),
        }
        central, local = fields | {"magic": b"PK\1\2", **entry.central}, fields | {"magic": b"PK\3\4", **entry.local}
        body += local["magic"] + pack("<HHHHH", 20, local["flags"], local["method"], 0, 0x21)  # type: ignore[operator]
        body += _pack_sizes(local) + packed + entry.descriptor
        directory += central["magic"]  # type: ignore[arg-type]
        directory += pack("<HHHHHH", 0x314, 20, central["flags"], central["method"], 0, 0x21)
        sizes = _pack_sizes(central)
        directory += sizes[:16]
        directory += pack("<HHHLL", 0, central["disk"], 0, central["attributes"], central["offset"]) + sizes[16:]
        count += 1
    body += before_directory
    known = {"disk": 0, "first_disk": 0, "on_disk": count, "count": count, "size": len(directory), "offset": len(body)}
    known |= {"comment_bytes": len(comment), **end}
    return bytes(body + directory + before_end) + b"PK\5\6" + pack("<HHHHLLH", *known.values()) + comment


def _pack_sizes(fields: Mapping[str, int | bytes]) -> bytes:
    name, extra = fields["name"], fields["extra"]
    assert isinstance(name, bytes)
    assert isinstance(extra, bytes)
    sizes = (fields["crc"], fields["packed_bytes"], fields["size_bytes"])
    return pack("<LLLHH", *sizes, len(name), len(extra)) + name + extra


def deflate(data: bytes) -> bytes:
    """Compress as in a zip."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush()


def tar_entry(
    name: bytes,
    data: bytes = b"",
    kind: bytes = b"0",
    *,
    mode: bytes = b"0000644\0",
    size: bytes | None = None,
    target: bytes = b"",
    magic: bytes = b"ustar\0",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """An entry of a tar with its content, padded to whole blocks."""
    header = bytearray(BLOCK_BYTES)

    def put(at: int, value: bytes) -> None:
        header[at : at + len(value)] = value

    put(0, name)
    put(100, mode)
    put(124, b"%011o\0" % len(data) if size is None else size)
    put(148, b" " * 8)
    put(156, kind)
    put(157, target)
    put(257, magic + b"00")
    put(345, prefix)
    put(148, b"%06o\0 " % sum(header) if checksum is None else checksum)
    assert len(header) == BLOCK_BYTES
    return bytes(header) + data + bytes(-len(data) % BLOCK_BYTES)


def pax_record(key: bytes, value: bytes) -> bytes:
    """A record of an extended header, which begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length + rest) != length:
        length += 1
    return b"%d" % length + rest


def pax_entry(records: bytes | Mapping[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header, for the entry that follows."""
    if not isinstance(records, bytes):
        records = b"".join(pax_record(key, value) for key, value in records.items())
    return tar_entry(b"PaxHeaders/x", records, kind)


def gzip_stream(data: Iterable[bytes]) -> bytes:
    """Compress what may be too large for the memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*map(packer.compress, data), packer.flush()])


def write_tar(*entries: bytes, end: bytes = END_OF_TAR) -> bytes:
    """A compressed tar of these entries."""
    return gzip_stream([*entries, end])
