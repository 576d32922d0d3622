"""Unpacking a package, of which nothing is trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from plugvisor.installer.archive import (
    LARGEST_PACKAGE_BYTES,
    MOST_EXPANSION,
    Entry,
    Kind,
    Pieces,
    Reader,
    find_size_limit,
)
from plugvisor.installer.contents import LARGEST_MANIFEST_BYTES, MANIFEST, Contents
from plugvisor.installer.names import PackageRefused, refuse_entry
from plugvisor.installer.tar_reader import read_tar
from plugvisor.installer.writer import Writer
from plugvisor.installer.zip_reader import read_zip

_TOO_LARGE = (
    f"makes the contents too large: at most {LARGEST_PACKAGE_BYTES >> 20} MiB are allowed, "
    f"and {MOST_EXPANSION} times the size of the package"
)
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What was in a package."""

    entries: int
    """Files, folders and links."""
    size_bytes: int
    """Of all files."""
    manifest: bytes
    """The text of `plugin.toml`."""


def unpack(package: int, folder: str, report: Report | None = None) -> Summary:
    """Unpack a zip or a compressed tar into an empty folder, which becomes the plugin's.

    Files get the modes 644 and 755, folders 755, and all of them the time at which they are unpacked. If this raises,
    some of the files may be there; nothing outside of the folder is touched in any case. What is written is not synced.

    Args:
        package: the descriptor of a regular file.
        folder: exists, and is empty.
        report: is called now and then with how much has been read, in percent; what it raises is passed on.

    Raises:
        PackageRefused
        OSError
    """
    with Writer(folder) as writer:
        return _read(package, writer, report)


def check(package: int) -> Summary:
    """Raise what `unpack` would raise of a package, and write nothing."""
    return _read(package, None, None)


def _read(package: int, writer: Writer | None, report: Report | None) -> Summary:
    with open(package, "rb", closefd=False) as file:
        archive_bytes = os.fstat(package).st_size
        unpacking = _Unpacking(find_size_limit(archive_bytes), writer)
        for entry, pieces in _choose_reader(file, archive_bytes):
            unpacking.take(entry, _watch(pieces, file, archive_bytes, report) if report else pieces)
        return unpacking.finish()


def _watch(pieces: Pieces, file: BinaryIO, archive_bytes: int, report: Report) -> Pieces:
    """Report the progress through the archive behind each piece of a file."""
    for piece in pieces:
        yield piece
        report(100 * file.tell() // archive_bytes)


def _choose_reader(file: BinaryIO, archive_bytes: int) -> Reader:
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if magic == b"PK\x03\x04":
        return read_zip(file, archive_bytes)
    if magic[:2] == b"\x1f\x8b":
        return read_tar(file, archive_bytes)
    raise PackageRefused("the package is neither a .zip nor a .tar.gz, or it is empty")


class _Unpacking:
    """One package on its way to the disk, or nowhere."""

    def __init__(self, allowed_bytes: int, writer: Writer | None) -> None:
        self._allowed_bytes = allowed_bytes
        self._writer = writer
        self._contents = Contents()
        self._entries = self._size_bytes = 0
        self._manifests: dict[tuple[str, ...], bytes] = {}

    def take(self, entry: Entry, pieces: Pieces) -> None:
        """Check and write one entry; read its content to the end."""
        path = self._contents.add(entry)
        self._entries += bool(path)
        if entry.kind is Kind.FILE:
            self._size_bytes += entry.size_bytes
            if self._size_bytes > self._allowed_bytes:
                raise refuse_entry(entry.name, _TOO_LARGE)
            if path[-1:] == (MANIFEST,) and len(path) <= 2 and entry.size_bytes <= LARGEST_MANIFEST_BYTES:
                content = b"".join(pieces)
                pieces = iter((content,))
                # that of the root, and the first in a folder: if there is another folder, only the root's counts
                if len(path) == 1 or len(self._manifests) < 2:
                    self._manifests[path] = content
        if self._writer is None or not path or entry.kind is Kind.LINK:
            for _ in pieces:
                pass
        elif entry.kind is Kind.FOLDER:
            self._writer.make_folder(path)
        else:
            self._writer.write_file(path, pieces, is_executable=entry.is_executable)

    def finish(self) -> Summary:
        """Check the whole, strip the folder around it, and make its links, which until now nothing could follow."""
        root = self._contents.find_root()
        links = self._contents.check_links(root)
        if self._writer is not None:
            if root:
                self._writer.strip(root[0])
            for path, target in links:
                self._writer.make_link(path[len(root) :], target)
        return Summary(self._entries, self._size_bytes, self._manifests[(*root, MANIFEST)])
