"""Unpacks untrusted packages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from plugvisor.installer.archives.entries import (
    LARGEST_PACKAGE_BYTES,
    MOST_EXPANSION,
    Entry,
    Kind,
    Pieces,
    Reader,
    find_size_limit,
)
from plugvisor.installer.archives.tar_reader import read_tar
from plugvisor.installer.archives.zip_reader import read_zip
from plugvisor.installer.contents import Contents
from plugvisor.installer.names import PackageRefused, refuse_entry
from plugvisor.installer.writer import Writer
from plugvisor.layout import LARGEST_MANIFEST_BYTES, MANIFEST

_TOO_LARGE = (
    f"makes the contents too large: at most {LARGEST_PACKAGE_BYTES >> 20} MiB are allowed, "
    f"and {MOST_EXPANSION} times the size of the package"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The contents of a package."""

    entries: int
    """Files, folders and links."""
    size_bytes: int
    """Of all files together."""
    manifest: bytes
    """The text of `plugin.toml`."""


def unpack(package: int, folder: str) -> Summary:
    """Unpack a zip or a compressed tar into an empty folder, which becomes the plugin's.

    Files get the mode 644 or 755, folders 755; their times are not kept. After an error, the folder may contain some of
    the files. Nothing outside the folder is touched, and nothing is synced to disk.

    Args:
        package: the descriptor of a regular file.
        folder: exists, and is empty.

    Raises:
        PackageRefused
        OSError
    """
    with Writer(folder) as writer:
        return _read(package, writer)


def check(package: int) -> Summary:
    """Check a package as `unpack` does, without writing anything."""
    return _read(package, None)


def _read(package: int, writer: Writer | None) -> Summary:
    with open(package, "rb", closefd=False) as file:
        archive_bytes = os.fstat(package).st_size
        unpacking = _Unpacking(find_size_limit(archive_bytes), writer)
        for entry, pieces in _choose_reader(file, archive_bytes):
            unpacking.take(entry, pieces)
        return unpacking.finish()


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
    """A package that is being unpacked, or only checked if there is no writer."""

    def __init__(self, allowed_bytes: int, writer: Writer | None) -> None:
        self._allowed_bytes = allowed_bytes
        self._writer = writer
        self._contents = Contents()
        self._entries = self._size_bytes = 0
        self._manifests: dict[tuple[str, ...], bytes] = {}

    def take(self, entry: Entry, pieces: Pieces) -> None:
        """Check and write one entry."""
        path = self._contents.add(entry)
        self._entries += bool(path)
        if entry.kind is Kind.FILE:
            self._size_bytes += entry.size_bytes
            if self._size_bytes > self._allowed_bytes:
                raise refuse_entry(entry.name, _TOO_LARGE)
            if path[-1:] == (MANIFEST,) and len(path) <= 2 and entry.size_bytes <= LARGEST_MANIFEST_BYTES:
                content = b"".join(pieces)
                pieces = iter((content,))
                # of several folders none is the plugin's, so that the first one is enough
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
        """Check the package as a whole, strip the folder around it, and make the links.

        Until then there is no link that anything could follow.
        """
        root = self._contents.find_root()
        links = self._contents.check_links(root)
        if self._writer is not None:
            if root:
                self._writer.strip(root[0])
            for path, target in links:
                self._writer.make_link(path[len(root) :], target)
        return Summary(self._entries, self._size_bytes, self._manifests[(*root, MANIFEST)])
