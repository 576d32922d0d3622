"""A reader for compressed tars, in one pass: POSIX (ustar and pax), GNU, and the format before them."""

from __future__ import annotations

import stat
import zlib
from typing import BinaryIO

from plugvisor.installer.archives.entries import MOST_ENTRIES, PIECE_BYTES, Entry, Kind, Pieces, Reader, find_size_limit
from plugvisor.installer.names import PackageRefused, decode_name, decode_target, refuse_entry

_BLOCK_BYTES = 512
_ZEROS = bytes(_BLOCK_BYTES)
_LARGEST_HEADER_BYTES = 64 * 1024
"""Of one extended header; some programs put file attributes there."""
_MOST_OVERHEAD_BYTES = 32 * 1024 * 1024
"""The limit for all but the contents of files: headers, and zeros at the end."""
_PACKED_BYTES = 64 * 1024

_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"7": Kind.FILE, b"5": Kind.FOLDER, b"2": Kind.LINK}
_OTHERS = {
    b"1": "a hard link; pack the file itself (tar --hard-dereference)",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
}
_OTHERS |= {b"S": "a sparse file", b"M": "a part of a file"}
_PAX, _PAX_FOR_ALL, _GNU_NAME, _GNU_TARGET = b"x", b"g", b"L", b"K"
_SPARSE = b"GNU.sparse."


class _Stream:
    """A stream that is decompressed piece by piece, up to a limit."""

    def __init__(self, file: BinaryIO, allowed_bytes: int) -> None:
        self._file = file
        self._left = allowed_bytes
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._piece = memoryview(b"")

    def read(self, size_bytes: int) -> bytes:
        """Read exactly this many bytes."""
        if size_bytes <= len(self._piece):  # nearly always
            data, self._piece = bytes(self._piece[:size_bytes]), self._piece[size_bytes:]
            return data
        return b"".join(self.read_pieces(size_bytes))

    def read_pieces(self, size_bytes: int) -> Pieces:
        """Yield exactly this many bytes, without copying them."""
        while size_bytes:
            if not self._piece:
                self._piece = memoryview(self._inflate())
                if not self._piece:
                    raise PackageRefused("the package is cut short")
            piece, self._piece = self._piece[:size_bytes], self._piece[size_bytes:]
            size_bytes -= len(piece)
            yield piece

    def expect_end(self) -> None:
        """Check that only zeros follow, and then nothing."""
        while True:
            if bytes(self._piece).strip(b"\0"):
                raise PackageRefused("something follows the end of the package")
            self._piece = memoryview(self._inflate())  # to the very end, which has the checksum
            if not self._piece:
                break
        if self._inflater.unused_data or self._file.read(1):
            raise PackageRefused("something follows the end of the package")

    def _inflate(self) -> bytes:
        """Decompress the next bytes; returns none at the end."""
        piece = b""
        try:
            while not piece and not self._inflater.eof:
                packed = self._inflater.unconsumed_tail or self._file.read(_PACKED_BYTES)
                piece = self._inflater.decompress(packed, PIECE_BYTES)
                if not packed and not piece:
                    raise PackageRefused("the package is cut short")
        except zlib.error:
            raise PackageRefused(
                "the package is damaged: it cannot be decompressed, or its checksum is wrong"
            ) from None
        self._left -= len(piece)
        if self._left < 0:
            raise PackageRefused("the package is too large when it is decompressed")
        return piece


def read_tar(file: BinaryIO, archive_bytes: int) -> Reader:
    """Yield the entries of a compressed tar.

    Raises:
        PackageRefused
        OSError
    """
    stream = _Stream(file, find_size_limit(archive_bytes) + _MOST_OVERHEAD_BYTES)
    extended: dict[bytes, bytes] = {}
    """The extended headers of the next entry: contents by type."""
    for _ in range(4 * MOST_ENTRIES):
        header = stream.read(_BLOCK_BYTES)
        if header == _ZEROS:
            if extended or stream.read(_BLOCK_BYTES) != _ZEROS:
                raise PackageRefused("the package is damaged: its end is missing")
            stream.expect_end()
            return
        _check_sum(header)
        kind = header[156:157]
        if kind in (_PAX, _PAX_FOR_ALL, _GNU_NAME, _GNU_TARGET):
            content = _read_extended(stream, header)
            if kind == _PAX_FOR_ALL:
                _check_for_all(content)
            elif kind in extended:
                raise PackageRefused("the package is damaged: an entry has two extended headers")
            else:
                extended[kind] = content
            continue
        entry = _describe(header, extended)
        extended = {}
        yield entry, stream.read_pieces(entry.size_bytes)
        stream.read(-entry.size_bytes % _BLOCK_BYTES)
    raise PackageRefused(f"the package has too many entries; at most {MOST_ENTRIES} are allowed")


def _check_sum(header: bytes) -> None:
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _parse_number(header[148:156]) != total:
        raise PackageRefused("the package is damaged, or is no tar: a header's checksum is wrong")


def _describe(header: bytes, extended: dict[bytes, bytes]) -> Entry:
    """Return the entry of a header and the extended headers before it."""
    name, target = _find_names(header, extended)
    kind = header[156:157]
    if kind not in _KINDS:
        raise refuse_entry(name, f"is {_OTHERS.get(kind, 'neither a file nor a folder nor a link')}")
    size_bytes, mode = _parse_number(header[124:136]), _parse_number(header[100:108])
    if size_bytes is None or mode is None:
        raise refuse_entry(name, "is damaged: its size or its mode is no octal number")
    what = _KINDS[kind]
    if kind == b"\0" and name.endswith("/"):
        what = Kind.FOLDER  # as the first tars wrote it
    if what is Kind.FILE:
        if name.endswith("/"):
            raise refuse_entry(name, "is a folder by its name, but not otherwise")
        return Entry(name, what, size_bytes, is_executable=bool(mode & stat.S_IXUSR))
    if size_bytes:
        raise refuse_entry(name, "is a folder or a link with content")
    return Entry(name, what, target=target)


def _find_names(header: bytes, extended: dict[bytes, bytes]) -> tuple[str, str]:
    name, target = _cut_field(header[:100]), _cut_field(header[157:257])
    if header[257:263] == b"ustar\0" and (prefix := _cut_field(header[345:500])):
        name = prefix + b"/" + name
    records = _parse_records(extended.get(_PAX, b""))
    names = [value for value in (extended.get(_GNU_NAME), records.get(b"path")) if value is not None]
    targets = [value for value in (extended.get(_GNU_TARGET), records.get(b"linkpath")) if value is not None]
    shown = names[0] if names else name
    if len(names) > 1 or len(targets) > 1:
        raise refuse_entry(shown, "has two names or two targets")
    if any(key.startswith(_SPARSE) for key in records):
        raise refuse_entry(shown, "is a sparse file")
    if b"size" in records and _parse_decimal(records[b"size"]) != _parse_number(header[124:136]):
        raise refuse_entry(shown, "has two sizes")
    decoded = decode_name(shown)
    return decoded, decode_target(decoded, targets[0] if targets else target)


# -- extended headers


def _read_extended(stream: _Stream, header: bytes) -> bytes:
    size_bytes = _parse_number(header[124:136])
    if size_bytes is None or size_bytes > _LARGEST_HEADER_BYTES:
        raise PackageRefused(f"the package has an extended header of more than {_LARGEST_HEADER_BYTES} bytes")
    content = stream.read(size_bytes)
    stream.read(-size_bytes % _BLOCK_BYTES)
    return content if header[156:157] in (_PAX, _PAX_FOR_ALL) else content.removesuffix(b"\0")


def _check_for_all(content: bytes) -> None:
    """Reject a header that changes every entry after it; `git archive` only puts a comment there."""
    if any(key in (b"path", b"linkpath", b"size") or key.startswith(_SPARSE) for key in _parse_records(content)):
        raise PackageRefused("the package has an extended header that gives all its entries one name or size")


def _parse_records(content: bytes) -> dict[bytes, bytes]:
    """Parse records of the form `<length> <key>=<value>` and a line break."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        digits, space, _ = content[at : at + 8].partition(b" ")
        length = _parse_decimal(digits) if space else None
        record = content[at : at + length] if length else b""
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if len(record) != length or not equals or not value.endswith(b"\n"):
            raise PackageRefused("the package is damaged: an extended header cannot be read")
        if key in records:
            raise PackageRefused("the package is damaged: an extended header says a thing twice")
        records[key] = value[:-1]
        at += length
    return records


# -- fields


def _parse_number(field: bytes) -> int | None:
    """Parse an octal number; returns None for anything else, such as the binary numbers of GNU tar."""
    text = field.strip(b" \0")
    if not text:
        return 0
    return int(text, 8) if text.isdigit() and text.translate(None, b"89") == text else None


def _parse_decimal(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) < 20 else None


def _cut_field(field: bytes) -> bytes:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise refuse_entry(text, "has something hidden behind its name")
    return text
