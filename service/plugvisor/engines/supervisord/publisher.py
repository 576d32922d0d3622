"""The generated files of every program: `conf.d/<id>.conf` and `launch/<id>.sh`."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.engines.supervisord.extension.generated import is_foreign
from plugvisor.engines.supervisord.extension.intents.boot_starts import STARTS_FILE
from plugvisor.engines.supervisord.extension.processes.launch_file import (
    LaunchFileError,
    parse_launch,
    read_launch_file,
)
from plugvisor.engines.supervisord.program import Program, conf_path, find_foreign, launch_path
from plugvisor.layout import find_root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

RESTORE_SECONDS = 3.0
"""How long to wait for folders that supervisord restores."""
Stamp = tuple[int, int, int]
NO_FILE: Stamp = (0, 0, 0)


class _Seen(NamedTuple):
    """A program's files as they were last read."""

    stamps: list[Stamp]
    is_foreign: bool
    directory: Path | None


class Publisher:
    """Writes and reads what supervisord is to run. Every method may raise `OSError`; none leaves half a file."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        # folder and ending of the launch files and of the sections
        self._launch_parts, self._section_parts = _split(launch_path(run_dir, "")), _split(conf_path(run_dir, ""))
        self._complete: tuple[list[Stamp], int] | None = None  # when nothing was missing
        self._written: dict[str, tuple[Program, list[Stamp]]] = {}
        self._seen: dict[str, _Seen] = {}
        self._reported: list[Path] = []

    def prepare(self) -> None:
        """Make the folders for the generated files."""
        for path in (conf_path(self._run_dir, ""), launch_path(self._run_dir, "")):
            path.parent.mkdir(mode=0o700, exist_ok=True)

    def read_folders(self) -> dict[str, Path | None]:
        """The folder that each published plugin came from; None if its launch file is missing or damaged."""
        return find_roots(self.read_directories())

    def read_directories(self) -> dict[str, Path | None]:
        """The folder that each published plugin's process works in: of an installed one, that of a version."""
        published = ((name, self._look(name)) for name in self._list_names(*self._section_parts))
        return {name: seen.directory for name, seen in published if not seen.is_foreign}

    def is_published(self, program: Program) -> bool:
        """Whether a program's files are those that were published last."""
        data = program.launch, program.section.encode()
        return all(
            _read(path, len(text) + 1) == text for path, text in zip(self._list_paths(program.id), data, strict=True)
        )

    def list_foreign(self) -> list[Path]:
        """The program and launch files that Plugvisor has not written; it leaves them alone."""
        names = self._list_names(*self._section_parts)
        sections = [self._list_paths(name)[1] for name in names if self._look(name).is_foreign]
        without_section = set(self._list_names(*self._launch_parts)).difference(names)
        launches = [path for name in without_section if is_foreign(path := self._list_paths(name)[0])]
        return sorted(map(Path, [*sections, *launches]))

    def report_foreign(self) -> None:
        """Log which files Plugvisor has not written, each once."""
        foreign = self.list_foreign()
        for path in foreign:
            if path not in self._reported:
                logger.warning("left alone: %s was not written by Plugvisor", path)
        self._reported = foreign

    def find_missing(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins whose files are not there; costs little if nothing has changed since none was.

        Empty while the folders are gone: supervisord restores them first.
        """
        folders = [os.path.dirname(path) for path in self._list_paths("")]
        if not all(map(os.path.isdir, folders)):
            return []
        stamps, count = [*map(_read_stamp, folders)], len(plugin_ids)
        if (stamps, count) == self._complete:
            return []
        missing = [name for name in plugin_ids if not all(map(os.path.lexists, self._list_paths(name)))]
        self._complete = None if missing else (stamps, count)
        return missing

    def write(self, program: Program) -> None:
        """Publish a program, the section last: without the launch file it would be a program that fails.

        Waits for the folders if they were removed: supervisord restores them within a second.
        """
        paths = self._list_paths(program.id)
        known, stamps = self._written.get(program.id, (None, []))
        if known == program and NO_FILE not in stamps and stamps == [_read_stamp(path) for path in paths]:
            return
        if (foreign := find_foreign(self._run_dir, program.id)) is not None:
            raise FileExistsError(errno.EEXIST, "a file that Plugvisor has not written is in its place", str(foreign))
        deadline = time.monotonic() + RESTORE_SECONDS
        while True:
            try:
                for path, data in zip(paths, (program.launch, program.section.encode()), strict=True):
                    _write(path, data)
                break
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self._written[program.id] = program, [_read_stamp(path) for path in paths]

    def write_starts(self, starts: Mapping[str, bool]) -> None:
        """Write which plugins supervisord starts, and which it does not, when it starts itself."""
        folders, complete = [os.path.dirname(path) for path in self._list_paths("")], self._complete
        before = [*map(_read_stamp, folders)]
        _write(os.path.join(self._launch_parts[0], STARTS_FILE), json.dumps(dict(starts)).encode())
        if complete is not None and complete[0] == before:  # nor is anything missing now
            self._complete = [*map(_read_stamp, folders)], complete[1]

    def remove(self, plugin_id: str) -> None:
        """Remove a plugin's files, the section first; those that Plugvisor has not written stay."""
        self._written.pop(plugin_id, None)
        self._seen.pop(plugin_id, None)
        if find_foreign(self._run_dir, plugin_id) is not None:
            return
        for path in reversed(self._list_paths(plugin_id)):
            try:
                os.unlink(path)
            except OSError as error:
                # a broken manifest's id is its folder's name, of any length
                if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                    raise

    def _list_names(self, folder: str, ending: str) -> list[str]:
        try:
            return sorted(name.removesuffix(ending) for name in os.listdir(folder) if name.endswith(ending))
        except FileNotFoundError:
            return []

    def _look(self, plugin_id: str) -> _Seen:
        """The state of a program's files, which are read only if they have changed."""
        paths = self._list_paths(plugin_id)
        stamps = [_read_stamp(path) for path in paths]
        seen = self._seen.get(plugin_id)
        if seen is None or seen.stamps != stamps or NO_FILE in stamps:
            seen = self._seen[plugin_id] = _Seen(stamps, is_foreign(paths[1]), _read_directory(paths[0]))
        return seen

    def _list_paths(self, plugin_id: str) -> list[str]:
        """A program's launch file and its section."""
        # as strings: with a thousand plugins `Path` takes most of the time of a refresh
        return [f"{folder}/{plugin_id}{ending}" for folder, ending in (self._launch_parts, self._section_parts)]


def find_roots(directories: Mapping[str, Path | None]) -> dict[str, Path | None]:
    """The plugins' folders that working folders belong to."""
    return {
        name: Path(find_root(str(directory))) if directory is not None else None
        for name, directory in directories.items()
    }


def _split(path: Path) -> tuple[str, str]:
    return str(path.parent), path.name


def _read_directory(launch: str) -> Path | None:
    try:
        return Path(parse_launch(read_launch_file(launch)).directory)
    except (OSError, LaunchFileError):
        return None


def _read_stamp(path: str) -> Stamp:
    """A value that differs between any two versions of a file; zeros if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return NO_FILE
    return status.st_ctime_ns, status.st_size, status.st_ino


def _read(path: str, size: int) -> bytes | None:
    """The beginning of a regular file; None if there is none. Waits for nothing and follows no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, size) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    """Replace a file's contents in one step, and only if they differ."""
    if _read(path, len(data) + 1) == data:
        return
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")  # matches no include pattern
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a writer that was killed and had this number
    mode = os.stat(folder).st_mode & 0o644  # readable for those who can list its folder
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # buffered: it writes all of it or raises
            os.fchmod(descriptor, mode)
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
