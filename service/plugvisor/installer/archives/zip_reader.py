"""A strict reader for zips: entries fill the file without gaps, and the directory agrees with their own headers.

So nothing can hide between entries or be shared by two of them, and all programs find the same entries.
"""

from __future__ import annotations

import stat
import zlib
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO

from plugvisor.installer.archives.entries import MOST_ENTRIES, PIECE_BYTES, Entry, Kind, Pieces, Reader
from plugvisor.installer.names import (
    LONGEST_NAME_BYTES,
    PackageRefused,
    decode_name,
    decode_target,
    refuse_entry,
    show_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = Struct("<4sHHHHLLH")
_CENTRAL = Struct("<4sBBHHHHHLLLHHHHHLL")
_LOCAL = Struct("<4sHHHHHLLLHH")
_DESCRIPTOR = Struct("<LLL")
_END_MAGIC, _CENTRAL_MAGIC, _LOCAL_MAGIC = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
_DESCRIPTOR_MAGIC = b"PK\x07\x08"
_ZIP64_MAGIC, _ZIP64_BYTES = b"PK\x06\x07", 20
_LONGEST_COMMENT = 0xFFFF

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_HAS_DESCRIPTOR = 1 << 3
_KNOWN_FLAGS = 1 << 1 | 1 << 2 | _HAS_DESCRIPTOR | 1 << 11
"""The compression level, a descriptor after the content, and a name in UTF-8."""
_STORED, _DEFLATED = 0, 8
_KINDS = {0: Kind.FILE, stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}


@dataclass(frozen=True, slots=True)
class _Record:
    """An entry as described by the directory."""

    name: str
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    attributes: int
    offset: int


def read_zip(file: BinaryIO, archive_bytes: int) -> Reader:
    """Yield the entries of a zip.

    Raises:
        PackageRefused
        OSError
    """
    directory, end, count = _find_directory(file, archive_bytes)
    records = sorted(_read_directory(file, directory, end, count), key=lambda record: record.offset)
    if records and records[0].offset:
        raise refuse_entry(records[0].name, "has something hidden in front of it")
    if records and records[-1].offset >= directory:
        raise refuse_entry(records[-1].name, "is not where the directory says")
    for record, limit in zip(records, [*(record.offset for record in records[1:]), directory], strict=True):
        content = _check_local_header(file, record, limit)
        entry = _describe(file, record)
        yield entry, _read_content(file, record) if entry.kind is Kind.FILE else iter(())
        _check_descriptor(file, record, content + record.packed_bytes, limit)


# -- the directory


def _find_directory(file: BinaryIO, archive_bytes: int) -> tuple[int, int, int]:
    """Return where the directory begins and ends, and its number of entries, from the last bytes of the archive."""
    start = max(0, archive_bytes - _END.size - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(archive_bytes - start)
    at = tail.rfind(_END_MAGIC)
    if at < 0 or len(tail) - at < _END.size:
        raise PackageRefused("the package is cut short, or is no zip: its end is missing")
    _, disk, first_disk, on_disk, count, size_bytes, directory, comment_bytes = _END.unpack_from(tail, at)
    end = start + at
    if end + _END.size + comment_bytes != archive_bytes:
        raise PackageRefused("the package is cut short, or something follows its end")
    if tail[:at][-_ZIP64_BYTES:].startswith(_ZIP64_MAGIC):
        raise PackageRefused("cannot read the package: it is a zip64, which is for larger archives")
    if disk or first_disk or on_disk != count:
        raise PackageRefused("cannot read the package: it is one of several parts of a zip")
    if count > MOST_ENTRIES:
        raise PackageRefused(f"the package has {count} entries; at most {MOST_ENTRIES} are allowed")
    if directory + size_bytes != end:
        raise PackageRefused("the package is damaged: its directory is not where its end says")
    return directory, end, count


def _read_directory(file: BinaryIO, directory: int, end: int, count: int) -> Iterator[_Record]:
    file.seek(directory)
    at = directory
    for _ in range(count):
        header = file.read(_CENTRAL.size)
        if len(header) < _CENTRAL.size or header[:4] != _CENTRAL_MAGIC:
            raise PackageRefused("the package is damaged: its directory cannot be read")
        fields = _CENTRAL.unpack(header)
        flags, method, crc, packed_bytes, size_bytes = *fields[4:6], *fields[8:11]
        name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset = fields[11:]
        name = file.read(name_bytes)
        file.seek(extra_bytes + comment_bytes, 1)
        at += _CENTRAL.size + name_bytes + extra_bytes + comment_bytes
        if disk:
            raise refuse_entry(name, "is in another part of the zip")
        yield _Record(decode_name(name), flags, method, crc, packed_bytes, size_bytes, attributes, offset)
    if at != end:
        raise PackageRefused(f"the package is damaged: its directory has something after its {count} entries")


# -- an entry


def _check_local_header(file: BinaryIO, record: _Record, limit: int) -> int:
    """Compare an entry's own header with the directory; return where its content begins."""
    file.seek(record.offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != _LOCAL_MAGIC:
        raise refuse_entry(record.name, "is damaged: its header is missing")
    _, _, flags, method, _, _, crc, packed_bytes, size_bytes, name_bytes, extra_bytes = _LOCAL.unpack(header)
    known = (record.crc, record.packed_bytes, record.size_bytes)
    # a program that writes to a pipe puts 0 here, and the value into the descriptor after the content
    allowed = [(value, 0) if flags & _HAS_DESCRIPTOR else (value,) for value in known]
    sizes = zip((crc, packed_bytes, size_bytes), allowed, strict=True)
    if (flags, method) != (record.flags, record.method) or not all(size in values for size, values in sizes):
        raise refuse_entry(record.name, "has another header than the directory says")
    name = file.read(name_bytes)
    if name != record.name.encode("utf-8"):
        raise refuse_entry(record.name, f"is called '{show_name(name)}' in its own header")
    content: int = record.offset + _LOCAL.size + name_bytes + extra_bytes
    if content + record.packed_bytes > limit:
        raise refuse_entry(record.name, "overlaps what follows it")
    file.seek(content)
    return content


def _check_descriptor(file: BinaryIO, record: _Record, start: int, end: int) -> None:
    """Check that nothing but an entry's descriptor, if it has one, follows its content."""
    values = _DESCRIPTOR.pack(record.crc, record.packed_bytes, record.size_bytes)
    allowed = (values, _DESCRIPTOR_MAGIC + values) if record.flags & _HAS_DESCRIPTOR else (b"",)
    file.seek(start)
    if end - start > len(_DESCRIPTOR_MAGIC + values) or file.read(end - start) not in allowed:
        raise refuse_entry(record.name, "has something hidden after it, or its sizes are wrong")


def _describe(file: BinaryIO, record: _Record) -> Entry:
    name, size_bytes = record.name, record.size_bytes
    if record.flags & _ENCRYPTED:
        raise refuse_entry(name, "is encrypted")
    if record.flags & ~_KNOWN_FLAGS:
        raise refuse_entry(name, "has an unknown flag")
    if record.method not in (_STORED, _DEFLATED):
        raise refuse_entry(name, f"is compressed by method {record.method}; only store and deflate are allowed")
    mode = record.attributes >> 16  # 0 if the archive was made elsewhere than on Unix
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is None:
        raise refuse_entry(name, "is neither a file nor a folder nor a link")
    if name.endswith("/"):
        if kind is Kind.LINK or stat.S_ISREG(mode) or size_bytes:
            raise refuse_entry(name, "is a folder by its name, but not otherwise")
        kind = Kind.FOLDER
    # an empty content may be two bytes, compressed
    if kind is Kind.FOLDER and any(_read_content(file, record)):
        raise refuse_entry(name, "is a folder with content")
    if kind is not Kind.LINK:
        return Entry(name, kind, size_bytes, is_executable=bool(mode & stat.S_IXUSR))
    target = bytearray()
    for piece in _read_content(file, record):
        target += piece
        if len(target) > LONGEST_NAME_BYTES:
            break
    return Entry(name, kind, target=decode_target(name, bytes(target)))


def _read_content(file: BinaryIO, record: _Record) -> Pieces:
    crc = size_bytes = 0
    for piece in _inflate(file, record) if record.method == _DEFLATED else _read_stored(file, record):
        size_bytes += len(piece)
        if size_bytes > record.size_bytes:
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    if size_bytes != record.size_bytes:
        raise refuse_entry(record.name, f"does not have the {record.size_bytes} bytes that it says")
    if crc != record.crc:
        raise refuse_entry(record.name, "is damaged: its checksum (CRC) is wrong")


def _read_stored(file: BinaryIO, record: _Record) -> Pieces:
    left = record.packed_bytes
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        if not piece:
            raise refuse_entry(record.name, "is cut short")
        left -= len(piece)
        yield piece


def _inflate(file: BinaryIO, record: _Record) -> Pieces:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _read_stored(file, record):
            rest = packed
            while rest and not inflater.eof:
                yield inflater.decompress(rest, PIECE_BYTES)
                rest = inflater.unconsumed_tail
        while not inflater.eof and (piece := inflater.decompress(b"", PIECE_BYTES)):
            yield piece
    except zlib.error:
        raise refuse_entry(record.name, "is damaged: it cannot be decompressed") from None
    if not inflater.eof or inflater.unused_data:
        raise refuse_entry(record.name, "is damaged: its compressed content is cut short, or something follows it")
