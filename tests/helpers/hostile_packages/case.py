"""A hostile package, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.helpers.packages import Files, make_package
from tests.helpers.raw_archives import END_OF_TAR, ZipEntry, tar_entry, write_tar, write_zip

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = b'[plugin]\nid = "echo"\n'
ZIP_MANIFEST = ZipEntry(b"plugin.toml", MANIFEST)
TAR_MANIFEST = tar_entry(b"plugin.toml", MANIFEST)


@dataclass(frozen=True)
class Case:
    """A package, and what its refusal says: a part of the sentence, and the entry that it names."""

    make: Callable[[], bytes]
    what: str
    entry: str = ""


class Cases(dict[str, Case]):
    """Cases by their names."""

    def add(self, name: str, make: Callable[[], bytes], what: str, entry: str = "") -> None:
        assert name not in self, name
        self[name] = Case(make, what, entry)

    def add_files(self, name: str, files: Files, what: str, entry: str) -> None:
        """Add one of each kind of archive."""
        self.add(f"{name} (zip)", lambda: make_package(files, "zip"), what, entry)
        self.add(f"{name} (tar)", lambda: make_package(files, "tar.gz"), what, entry)


def zip_with(*entries: ZipEntry) -> Callable[[], bytes]:
    """A zip with a manifest and these entries."""
    return lambda: write_zip([ZIP_MANIFEST, *entries])


def tar_with(*entries: bytes, end: bytes = END_OF_TAR) -> Callable[[], bytes]:
    """A tar with a manifest and these entries."""
    return lambda: write_tar(TAR_MANIFEST, *entries, end=end)
