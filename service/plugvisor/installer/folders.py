"""The install folder: putting versions into it, making one current, and removing them.

A plugin is of the same user and may have put anything in the place of anything: every folder is opened in its parent,
no link is followed, and what is not as `layout.py` describes it is refused and left as it is. What is removed is moved
into the staging folder first, so that it is gone in one step.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from plugvisor.installer.protocol import Refused
from plugvisor.installer.records import BEFORE, PLUGIN_ID, VERSION, Record, read_record, write_record
from plugvisor.installer.trees import (
    exists,
    is_folder,
    make_name,
    make_read_only,
    move_folder,
    open_folder,
    remove_tree,
    store,
)
from plugvisor.layout import CACHE, CURRENT, DATA, OWN, RECORD, STAGING, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {VERSIONS: stat.S_IFDIR, DATA: stat.S_IFDIR, CURRENT: stat.S_IFLNK, RECORD: stat.S_IFREG}
NOTE = "@"
"""Between a plugin's id and a version, in the name of a note that this version was placed and is not whole yet."""


class InstallFolder:
    """The install folder, for one worker.

    Raises:
        Refused: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._session = make_name()
        self._has_session = False
        self._root = self.staging = -1
        try:
            os.makedirs(path, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._root, effective_ids=True):
                raise Refused("off", "the plugins' user may not write to the install folder")
            if not is_folder(STAGING, self._root):
                os.mkdir(STAGING, 0o700, dir_fd=self._root)
            self.staging = os.open(STAGING, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
        except OSError as error:
            raise Refused("off", f"the install folder cannot be used: {error.strerror}") from error

    # -- what is being made

    def stage(self) -> tuple[str, str]:
        """Make an empty folder to unpack into; returns its name and its path."""
        self._open_session()
        name = make_name()
        with open_folder(self._session, self.staging) as session:
            os.mkdir(name, 0o700, dir_fd=session)
        return name, os.path.join(self._path, STAGING, self._session, name)

    def place(self, staged: str, plugin_id: str, version: str) -> None:
        """Make what was staged a version, which is not whole before a record names it.

        Raises:
            Refused: the plugin's folder was put there by somebody else.
        """
        _check_names(plugin_id, version)
        self.forget_placed(plugin_id)
        self._open_session()
        with open_folder(self._session, self.staging) as session:
            if exists(plugin_id, self._root):
                self._check_placeable(plugin_id, version)
            os.mkdir(f"{plugin_id}{NOTE}{version}", 0o700, dir_fd=session)
            os.fsync(session)
            with contextlib.suppress(FileExistsError):
                os.mkdir(plugin_id, 0o755, dir_fd=self._root)
            with self.open_plugin(plugin_id) as plugin:
                for name, mode in ((VERSIONS, 0o755), (DATA, 0o700)):
                    if not exists(name, plugin):
                        os.mkdir(name, mode, dir_fd=plugin)
                with open_folder(VERSIONS, plugin) as versions:
                    if exists(version, versions):
                        self._discard(version, versions)
                    os.chmod(staged, 0o755, dir_fd=session)
                    os.rename(staged, version, src_dir_fd=session, dst_dir_fd=versions)

    def _check_placeable(self, plugin_id: str, version: str) -> None:
        with self.open_plugin(plugin_id) as plugin:
            record = read_record(plugin)
            if record is None and os.listdir(plugin):
                raise Refused("not_installed", "its folder was put there by hand, not installed")
            if version in (record or {}).get("versions", {}):
                raise Refused("failed", "this version is installed already")

    def find_version(self, plugin_id: str, version: str) -> str:
        """The path of a version's folder."""
        with self._open_version(plugin_id, version):
            return os.path.join(self._path, plugin_id, VERSIONS, version)

    @property
    def cache(self) -> str:
        """The path of what environments are made of."""
        return os.path.join(self._path, CACHE)

    def seal(self, plugin_id: str, version: str) -> None:
        """Make a version read-only, and wait until all of it is on the disk."""
        with self._open_version(plugin_id, version) as folder:
            make_read_only(folder)
            store(folder)

    # -- what is current

    def swap(self, plugin_id: str, version: str, record: Record) -> None:
        """Write the record, then have `current` lead to a version."""
        with self._open_version(plugin_id, version):
            pass
        with self.open_plugin(plugin_id) as plugin:
            known = read_record(plugin)
            if record.get("pending") and known is not None:
                record = record | {BEFORE: known.get(BEFORE) or known}
            write_record(record, plugin, self.staging)
            self.link(version, plugin)

    def link(self, version: str | None, plugin: int) -> None:
        """Have `current` lead to a version, in one step, or remove it."""
        if version is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(CURRENT, dir_fd=plugin)
        else:
            name = make_name()
            os.symlink(f"{VERSIONS}/{version}", name, dir_fd=self.staging)
            os.rename(name, CURRENT, src_dir_fd=self.staging, dst_dir_fd=plugin)
        os.fsync(plugin)

    def write_record(self, plugin_id: str, record: Record) -> None:
        """Replace a plugin's record."""
        with self.open_plugin(plugin_id) as plugin:
            write_record(record, plugin, self.staging)

    # -- what is removed

    def prune(self, plugin_id: str, keep: list[str]) -> None:
        """Remove a plugin's versions except some, and except the current one."""
        with self.open_plugin(plugin_id) as plugin:
            current = os.path.basename(os.readlink(CURRENT, dir_fd=plugin)) if exists(CURRENT, plugin) else ""
            self.remove_versions(plugin, {*keep, current})

    def remove_versions(self, plugin: int, keep: set[str]) -> None:
        """Remove the versions in a plugin's folder except some; what has another name than a version is left."""
        if not exists(VERSIONS, plugin):
            return
        with open_folder(VERSIONS, plugin) as versions:
            for name in os.listdir(versions):
                if name not in keep and VERSION.fullmatch(name):
                    self._discard(name, versions)

    def remove(self, plugin_id: str, record: Record, *, purge: bool) -> None:
        """Remove what is current and every version, or with `purge` the whole folder."""
        with self.open_plugin(plugin_id) as plugin:
            if read_record(plugin) is None:
                raise Refused("not_installed", "its folder was put there by hand, not installed")
            write_record(record, plugin, self.staging)
            self.link(None, plugin)
            if exists(VERSIONS, plugin) and not purge:
                self._discard(VERSIONS, plugin)
                os.fsync(plugin)
        if purge:
            self._discard(plugin_id, self._root)
            os.fsync(self._root)

    def empty_trash(self) -> None:
        """Remove what was moved into the staging folder; an interruption leaves it to the next start."""
        for name in os.listdir(self.staging):
            if name.startswith(f"{self._session}-"):
                remove_tree(name, self.staging)

    # -- what is left over

    def forget_placed(self, plugin_id: str = "") -> None:
        """Remove the versions that workers have placed and no record names, of one plugin or of all."""
        for session in os.listdir(self.staging):
            self._forget_placed(session, plugin_id)

    def empty_staging(self) -> None:
        """Remove all that workers have staged; no other one may be alive."""
        for name in os.listdir(self.staging):
            remove_tree(name, self.staging)
        self._has_session = False

    def close(self) -> None:
        """Remove what this worker has staged, and placed for nothing."""
        if self._has_session:
            self._forget_placed(self._session, "")
        for name in os.listdir(self.staging):
            if name.startswith(self._session):
                remove_tree(name, self.staging)

    def _forget_placed(self, session_name: str, plugin_id: str) -> None:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            open_folder(session_name, self.staging) as session,
        ):
            for note in os.listdir(session):
                owner, _, version = note.partition(NOTE)
                if VERSION.fullmatch(version) and PLUGIN_ID.fullmatch(owner) and plugin_id in ("", owner):
                    with contextlib.suppress(Refused):
                        self._forget_version(owner, version)
                    os.rmdir(note, dir_fd=session)

    def _forget_version(self, plugin_id: str, version: str) -> None:
        if not is_folder(plugin_id, self._root):
            return
        with self.open_plugin(plugin_id) as plugin:
            record = read_record(plugin)
            names = set((record or {}).get("versions", {})) | set(
                ((record or {}).get(BEFORE) or {}).get("versions", {})
            )
            if is_folder(VERSIONS, plugin) and version not in names:
                with open_folder(VERSIONS, plugin) as versions:
                    if exists(version, versions):
                        self._discard(version, versions)
            if record is not None:
                return
            for name in (VERSIONS, DATA):
                with contextlib.suppress(OSError):  # it is not there, or somebody has put something into it
                    os.rmdir(name, dir_fd=plugin)
        with contextlib.suppress(OSError):
            os.rmdir(plugin_id, dir_fd=self._root)

    # -- opening

    def list_plugins(self) -> list[str]:
        """The names in the install folder that can be a plugin's id."""
        return [name for name in os.listdir(self._root) if PLUGIN_ID.fullmatch(name)]

    @contextlib.contextmanager
    def open_plugin(self, plugin_id: str) -> Iterator[int]:
        """A descriptor of a plugin's folder, which holds nothing but what was installed; raises `Refused`."""
        _check_names(plugin_id)
        with contextlib.ExitStack() as stack:
            try:
                plugin = stack.enter_context(open_folder(plugin_id, self._root))
            except FileNotFoundError as error:
                raise Refused("not_installed", "it is not installed") from error
            except OSError as error:
                raise Refused("not_installed", "its folder is a link, or no folder") from error
            for name in os.listdir(plugin):
                if name not in OWN:
                    raise Refused("not_installed", f"its folder was put there by hand: it holds {_show(name)}")
                if stat.S_IFMT(os.lstat(name, dir_fd=plugin).st_mode) != _KINDS[name]:
                    raise Refused("not_installed", f"{name!r} in its folder is not what an installation makes")
            yield plugin

    @contextlib.contextmanager
    def _open_version(self, plugin_id: str, version: str) -> Iterator[int]:
        _check_names(plugin_id, version)
        with self.open_plugin(plugin_id) as plugin, contextlib.ExitStack() as stack:
            try:
                versions = stack.enter_context(open_folder(VERSIONS, plugin))
                folder = stack.enter_context(open_folder(version, versions))
            except OSError as error:
                raise Refused("failed", "this version is not there") from error
            yield folder

    def _open_session(self) -> None:
        if not self._has_session:
            os.mkdir(self._session, 0o700, dir_fd=self.staging)
            self._has_session = True

    def _discard(self, name: str, parent: int) -> None:
        """Move something into the staging folder, from where it is removed later."""
        to = f"{self._session}-{make_name()}"
        if is_folder(name, parent):
            move_folder(name, parent, to, self.staging)
        else:
            os.rename(name, to, src_dir_fd=parent, dst_dir_fd=self.staging)


def _check_names(plugin_id: str, version: str = "0") -> None:
    if not PLUGIN_ID.fullmatch(plugin_id) or not VERSION.fullmatch(version):
        raise ValueError("this is no plugin's id, or no version's folder")


def _show(name: str) -> str:
    return ascii(name)[:100]
