"""Walks a plugin's folder, which the plugin or its build may change at any time, in an order that is always the same.

No link is followed, and no path is looked up twice: a folder that is replaced by a link leads nowhere.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.installer.archives.entries import LARGEST_PACKAGE_BYTES, MOST_ENTRIES
from plugvisor.installer.names import MOST_PARTS, PackageRefused, decode_name, show_name
from plugvisor.layout import ENVIRONMENT, is_version
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.packing import read_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MOST_VERSION_ENTRIES = 200_000
"""With an environment, which has many."""
_LARGEST_VERSION_BYTES = 8 << 30
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link; valid until the next one is asked for."""

    path: str
    """Relative to the folder, whose own is empty."""
    name: str
    parent: int
    """Descriptor of the folder that it is in."""
    status: os.stat_result
    target: str = ""
    """Of a link."""

    @property
    def mode(self) -> int:
        """The mode in every container, whatever it is here: the plugins' user can read and not change it."""
        readable = 0o555 if self.status.st_mode & stat.S_IXUSR or self.is_folder else 0o444
        return stat.S_IMODE(self.status.st_mode) & 0o755 | readable

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def open(self) -> int:
        """A descriptor of a file; raises `OSError`, `ManifestError` if it was replaced by something else."""
        descriptor = os.open(self.name, _FILE, dir_fd=self.parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise refuse(self.path, "has changed while it was read")
        return descriptor


def refuse(path: str, what: str) -> ManifestError:
    """The error about one entry."""
    return ManifestError(f"its folder cannot be brought to other nodes: {show_name(path)!r} {what}")


def walk(directory: Path) -> Iterator[Entry]:
    """Yield the folder itself, and all that travels of what is in it.

    Of a folder that was put there by hand, that is what a package of it contains, and empty folders; of a version that
    is installed all but caches, its environment included.

    Raises:
        ManifestError: something in it cannot travel.
        OSError
    """
    is_installed = is_version(str(directory))
    try:
        is_left_out = _is_cache if is_installed else _make_filter(directory)
    except PackageRefused as error:
        raise ManifestError(f"its folder cannot be brought to other nodes: {error.message}") from error
    most_entries = _MOST_VERSION_ENTRIES if is_installed else MOST_ENTRIES
    left_bytes = _LARGEST_VERSION_BYTES if is_installed else LARGEST_PACKAGE_BYTES
    for number, entry in enumerate(_walk(directory, is_left_out)):
        if number > most_entries:
            raise ManifestError(f"its folder cannot be brought to other nodes: it has more than {most_entries} files")
        if entry.is_file:
            left_bytes -= entry.status.st_size
            if left_bytes < 0:
                raise ManifestError("its folder cannot be brought to other nodes: it is too large")
        yield entry


def _is_cache(path: str, is_folder: bool) -> bool:
    name = path.rpartition("/")[2]
    return name == "__pycache__" if is_folder else name.endswith((".pyc", ".pyo"))


def _make_filter(directory: Path) -> Callable[[str, bool], bool]:
    patterns = read_patterns(directory)
    return lambda path, is_folder: patterns.match_file(f"{path}/" if is_folder else path)


def _walk(directory: Path, is_left_out: Callable[[str, bool], bool]) -> Iterator[Entry]:
    descriptor = os.open(directory, _FOLDER & ~os.O_NOFOLLOW)  # the folder itself can be a link of the operator's
    try:
        yield Entry("", ".", descriptor, os.fstat(descriptor))
        yield from _walk_folder(descriptor, "", is_left_out)
    finally:
        os.close(descriptor)


def _walk_folder(folder: int, prefix: str, is_left_out: Callable[[str, bool], bool]) -> Iterator[Entry]:
    for name in sorted(os.listdir(folder)):
        path = prefix + name
        try:
            decode_name(os.fsencode(path))
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except PackageRefused as error:
            raise ManifestError(f"its folder cannot be brought to other nodes: {error.message}") from error
        except FileNotFoundError:
            continue  # removed meanwhile
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_left_out(path, is_folder):
            continue
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=folder)
            _check_target(path, target)
            yield Entry(path, name, folder, status, target)
        elif stat.S_ISREG(status.st_mode):
            yield Entry(path, name, folder, status)
        elif is_folder:
            if path.count("/") >= MOST_PARTS:
                raise refuse(path, f"is more than {MOST_PARTS} levels deep")
            descriptor = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield Entry(path, name, folder, status)
                yield from _walk_folder(descriptor, f"{path}/", is_left_out)
            finally:
                os.close(descriptor)
        else:
            raise refuse(path, "is neither a file nor a folder nor a link")


def _check_target(path: str, target: str) -> None:
    """A link of an environment may lead to the interpreter, which is where it is in every container."""
    if path.startswith(f"{ENVIRONMENT}/") and target.startswith("/"):
        return
    resolved = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if target.startswith("/") or resolved == ".." or resolved.startswith("../"):
        raise refuse(path, "is a link that leads out of it")
    try:
        decode_name(os.fsencode(target))
    except PackageRefused:
        raise refuse(path, "is a link whose target is too long, or not UTF-8") from None
