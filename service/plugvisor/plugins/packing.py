"""Packs a plugin's folder into a zip that is the same each time, byte for byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import warnings
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from plugvisor.installer.archives.entries import LARGEST_PACKAGE_BYTES, MOST_ENTRIES, PIECE_BYTES
from plugvisor.installer.names import PackageRefused, decode_name, refuse_entry
from plugvisor.installer.unpack import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IGNORE_FILE = ".plugvisorignore"
ALWAYS_IGNORED = (
    *(".git", ".hg", ".svn", ".venv", "venv/", ".tox/", ".nox/"),
    *("__pycache__/", "*.pyc", "*.pyo", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/"),
    ".DS_Store",
)
"""Patterns before those of `.plugvisorignore`, which can revoke them with `!`."""

_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can contain."""
_UNIX = 3


@dataclass(frozen=True, slots=True)
class Packed:
    """A package that was made."""

    entries: int
    size_bytes: int
    """Of all files together, unpacked."""
    package_bytes: int
    sha256: str
    manifest: bytes
    """The text of `plugin.toml`, not parsed."""


def pack(folder: Path, file: Path) -> Packed:
    """Pack a plugin's folder into a zip, which replaces `file` when it is complete.

    It contains no caches, environments, version control data and files that match `.plugvisorignore`, which has the
    syntax of `.gitignore`; nor empty folders, so that a fresh clone gives the same package. Links are packed as links.

    Raises:
        PackageRefused: the package could not be installed.
        OSError
    """
    paths = list(_find_files(folder, read_patterns(folder), file))
    if len(paths) > MOST_ENTRIES:
        raise PackageRefused(f"the folder has {len(paths)} files; at most {MOST_ENTRIES} are allowed")
    if sum((folder / path).lstat().st_size for path in paths) > LARGEST_PACKAGE_BYTES:
        raise PackageRefused(f"the files are larger than {LARGEST_PACKAGE_BYTES >> 20} MiB together")
    part = file.with_name(f".{file.name}.{os.urandom(4).hex()}.part")
    try:
        with part.open("x+b") as output:
            with zipfile.ZipFile(output, "w") as archive:
                for path in paths:
                    _add_file(archive, folder, path)
            output.flush()
            summary = check(output.fileno())
            output.seek(0)
            sha256 = hashlib.file_digest(output, "sha256").hexdigest()
            package_bytes = output.tell()
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return Packed(summary.entries, summary.size_bytes, package_bytes, sha256, summary.manifest)


def read_patterns(folder: Path) -> GitIgnoreSpec:
    """The files that no package of a folder contains; raises `PackageRefused`, `OSError`."""
    try:
        lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError:
        raise PackageRefused(f"cannot read {IGNORE_FILE}: it is not UTF-8", IGNORE_FILE) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the expression for `[[]` may mean something else one day
            return GitIgnoreSpec.from_lines([*ALWAYS_IGNORED, *lines])
    except ValueError as error:
        raise PackageRefused(f"cannot read {IGNORE_FILE}: {error}", IGNORE_FILE) from error


def _find_files(folder: Path, patterns: GitIgnoreSpec, output: Path) -> Iterator[str]:
    """Yield the paths of all files and links to pack, sorted; ignored folders are not read."""
    skipped = os.path.relpath(os.path.realpath(output), os.path.realpath(folder))
    folders = [""]
    found = []
    while folders:
        prefix = folders.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                path = prefix + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                name = decode_name(os.fsencode(path))
                if name == skipped or patterns.match_file(f"{name}/" if is_folder else name):
                    continue
                if is_folder:
                    folders.append(f"{path}/")
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    found.append(path)
                else:
                    raise refuse_entry(path, "is neither a file nor a folder nor a link")
    yield from sorted(found)


def _add_file(archive: zipfile.ZipFile, folder: Path, path: str) -> None:
    source = folder / path
    status = source.lstat()
    entry = zipfile.ZipInfo(path, _TIME)
    entry.create_system = _UNIX
    entry.compress_type = zipfile.ZIP_DEFLATED
    if stat.S_ISLNK(status.st_mode):
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, os.fsencode(source.readlink()))
        return
    entry.external_attr = (stat.S_IFREG | (0o755 if status.st_mode & stat.S_IXUSR else 0o644)) << 16
    entry.file_size = status.st_size
    with source.open("rb") as content, archive.open(entry, "w") as packed:
        shutil.copyfileobj(content, packed, PIECE_BYTES)
