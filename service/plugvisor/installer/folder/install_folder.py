"""The install folder: putting versions into it, making one current, and removing them.

The record of a plugin is written before anything that it says is done, and names a version when that is whole: at any
moment `recovery.py` needs nothing else to know what is to be. What is removed is moved into the staging folder first,
so that it is gone in one step.
"""

from __future__ import annotations

import contextlib
import os

from plugvisor.installer.folder.plugin_folder import (
    BY_HAND,
    check_id,
    check_version,
    has_version,
    open_plugin,
    open_version,
    read_current,
)
from plugvisor.installer.folder.records import BEFORE, VERSION, Record, list_versions, read_record, write_record
from plugvisor.installer.folder.staging import Note, Staging
from plugvisor.installer.folder.trees import exists, is_folder, make_name, make_read_only, open_folder, store
from plugvisor.installer.protocol import Refused
from plugvisor.layout import CACHE, CURRENT, DATA, ENVIRONMENT, MANIFEST, VERSIONS


class InstallFolder:
    """The install folder, for one worker.

    Raises:
        Refused: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.root = -1
        try:
            os.makedirs(path, exist_ok=True)
            self.root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=self.root, effective_ids=True):
                raise Refused("off", "the plugins' user may not write to the install folder")
        except OSError as error:
            raise Refused("off", f"the install folder cannot be used: {error.strerror}") from error
        self.staging = Staging(self.root)

    @property
    def cache(self) -> str:
        """The path of what environments are made of."""
        return os.path.join(self._path, CACHE)

    # -- what is being made

    def stage(self) -> tuple[str, str]:
        """Make an empty folder to unpack into; returns its name and its path."""
        if not self.staging.has_session:
            self._remove_left_overs()
        name, path = self.staging.make_folder()
        return name, os.path.join(self._path, path)

    def place(self, staged: str, plugin_id: str, version: str) -> None:
        """Make what was staged a version, which is not whole before a record names it.

        Raises:
            Refused: the plugin's folder was put there by somebody else.
        """
        check_id(plugin_id)
        check_version(version)
        if not staged.isalnum():
            raise ValueError("this is no name of what was staged")
        self.forget_placed(plugin_id, of_all=True)
        if exists(plugin_id, self.root):
            self._check_placeable(plugin_id, version)
        self.staging.note(plugin_id, version)
        with contextlib.suppress(FileExistsError):
            os.mkdir(plugin_id, 0o755, dir_fd=self.root)
        with open_plugin(plugin_id, self.root) as plugin, self.staging.open_session() as session:
            for name, mode in ((VERSIONS, 0o755), (DATA, 0o700)):
                if not exists(name, plugin):
                    os.mkdir(name, mode, dir_fd=plugin)
            with open_folder(VERSIONS, plugin) as versions:
                if exists(version, versions):
                    self.staging.discard(version, versions)
                os.chmod(staged, 0o755, dir_fd=session)  # noqa: S103 - the service reads the manifest
                os.rename(staged, version, src_dir_fd=session, dst_dir_fd=versions)

    def _check_placeable(self, plugin_id: str, version: str) -> None:
        with open_plugin(plugin_id, self.root) as plugin:
            record = read_record(plugin)
            if record is None and os.listdir(plugin):
                raise Refused("not_installed", BY_HAND)
            if version in list_versions(record) and has_version(version, plugin):
                with open_version(version, plugin) as folder:
                    if exists(MANIFEST, folder):  # else it is damaged, and is replaced
                        raise Refused("failed", "this version is installed already")

    def find_version(self, plugin_id: str, version: str) -> str:
        """The path of a version's folder."""
        with open_plugin(plugin_id, self.root) as plugin, open_version(version, plugin):
            return os.path.join(self._path, plugin_id, VERSIONS, version)

    def seal(self, plugin_id: str, version: str) -> None:
        """Make a version read-only, except for its environment, and wait until all of it is on the disk."""
        with open_plugin(plugin_id, self.root) as plugin, open_version(version, plugin) as folder:
            make_read_only(folder, ENVIRONMENT)
            store(folder)

    # -- what is current

    def swap(self, plugin_id: str, version: str, record: Record) -> None:
        """Write the record, then have `current` lead to a version."""
        with open_plugin(plugin_id, self.root) as plugin:
            with open_version(version, plugin):
                known = read_record(plugin)
            if record.get("pending") and known is not None:
                record = record | {BEFORE: known.get(BEFORE) or known}
            link = self._make_link(version)  # first: when the record is written, this must not fail
            write_record(record, plugin, self.staging.descriptor)
            self._use_link(link, plugin)

    def link(self, version: str | None, plugin: int) -> None:
        """Have `current` lead to a version, in one step, or remove it."""
        if version is not None:
            self._use_link(self._make_link(version), plugin)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(CURRENT, dir_fd=plugin)
        os.fsync(plugin)

    def _make_link(self, version: str) -> str:
        with self.staging.open_session() as session:
            name = make_name()
            os.symlink(f"{VERSIONS}/{version}", name, dir_fd=session)
        return name

    def _use_link(self, name: str, plugin: int) -> None:
        with self.staging.open_session() as session:
            os.rename(name, CURRENT, src_dir_fd=session, dst_dir_fd=plugin)
        os.fsync(plugin)

    def write_record(self, plugin_id: str, record: Record) -> None:
        """Replace a plugin's record."""
        with open_plugin(plugin_id, self.root) as plugin:
            write_record(record, plugin, self.staging.descriptor)

    # -- what is removed

    def prune(self, plugin_id: str, keep: list[str]) -> None:
        """Remove a plugin's versions except some, and except the current one."""
        with open_plugin(plugin_id, self.root) as plugin:
            self.remove_versions(plugin, {*keep, os.path.basename(read_current(plugin) or "")})

    def remove_versions(self, plugin: int, keep: set[str]) -> None:
        """Remove the versions in a plugin's folder except some; what has another name than a version is left."""
        if not exists(VERSIONS, plugin):
            return
        with open_folder(VERSIONS, plugin) as versions:
            for name in os.listdir(versions):
                if name not in keep and VERSION.fullmatch(name):
                    self.staging.discard(name, versions)

    def remove(self, plugin_id: str, record: Record, *, purge: bool) -> None:
        """Remove what is current and every version, or with `purge` the whole folder; it may be gone already."""
        check_id(plugin_id)
        if not exists(plugin_id, self.root):
            return
        with open_plugin(plugin_id, self.root) as plugin:
            if read_record(plugin) is None:
                raise Refused("not_installed", BY_HAND)
            write_record(record, plugin, self.staging.descriptor)
            self.link(None, plugin)
            if exists(VERSIONS, plugin):
                self.staging.discard(VERSIONS, plugin)
                os.fsync(plugin)
        if purge:
            self.staging.discard(plugin_id, self.root)
            os.fsync(self.root)

    # -- what is left over

    def forget_placed(self, plugin_id: str = "", *, of_all: bool) -> None:
        """Remove the versions that this worker, or every one, has placed and no record names.

        Args:
            plugin_id: of this plugin alone; empty: of all.
        """
        for note in self.staging.list_notes(of_all=of_all):
            if plugin_id in ("", note.plugin_id):
                with contextlib.suppress(Refused, OSError):  # the note stays, and the next start tries again
                    self._forget(note)
                    self.staging.forget(note)

    def _forget(self, note: Note) -> None:
        if not is_folder(note.plugin_id, self.root):
            return
        with open_plugin(note.plugin_id, self.root) as plugin:
            record = read_record(plugin)
            if exists(VERSIONS, plugin) and note.version not in list_versions(record):
                with open_folder(VERSIONS, plugin) as versions:
                    if exists(note.version, versions):
                        self.staging.discard(note.version, versions)
            if record is not None:
                return
            for name in (VERSIONS, DATA):
                with contextlib.suppress(OSError):  # it is not there, or somebody has put something into it
                    os.rmdir(name, dir_fd=plugin)
        with contextlib.suppress(OSError):
            os.rmdir(note.plugin_id, dir_fd=self.root)

    def _remove_left_overs(self) -> None:
        """Remove what workers that were killed have left, unless another one is alive; what cannot be stays."""
        if not self.staging.try_alone():
            return
        with contextlib.suppress(OSError):
            self.forget_placed(of_all=True)
            self.staging.adopt()
        self.staging.share()
        with contextlib.suppress(OSError):
            self.staging.delete_discarded()

    def close(self) -> None:
        """Remove what this worker has staged, and placed for nothing; raises `OSError`."""
        try:
            self.forget_placed(of_all=False)
            self.staging.delete_own()
        finally:
            self.release()

    def release(self) -> None:
        """Close all descriptors."""
        self.staging.release()
        if self.root >= 0:
            os.close(self.root)
        self.root = -1
