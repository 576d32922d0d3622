"""Replacing a `plugin.toml`, of a plugin that was installed or was put there by hand."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from plugvisor.installer.folder.records import write_all
from plugvisor.installer.folder.trees import open_folder
from plugvisor.installer.protocol import Refused
from plugvisor.layout import LARGEST_MANIFEST_BYTES, MANIFEST, find_root

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW = ".plugin.toml.new"
"""Always of this name, so that crashes cannot leave more than one."""
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_manifest(directory: str, text: bytes, expected_sha256: str) -> None:
    """Replace the manifest in a folder, in one step; it keeps its owner and its mode.

    Raises:
        Refused: it is not the one that is expected, or may not be written.
    """
    try:
        with _open_own(directory) as folder:
            status = _check(folder, expected_sha256)
            with _writable(folder, is_version=find_root(directory) != directory):
                _replace(folder, text, status)
    except OSError as error:
        if error.errno in _READ_ONLY:
            raise Refused("read_only", f"its manifest cannot be written: {error.strerror}") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise Refused("precondition_failed", "its manifest is gone") from error
        raise


@contextlib.contextmanager
def _open_own(directory: str) -> Iterator[int]:
    """A descriptor of a plugin's folder, or of one in it, reached by no link: a plugin may have put one there.

    The folder that it is in may be reached by links, which are the operator's.

    Raises:
        Refused: one of them is a link.
    """
    parent = os.path.dirname(find_root(directory))
    with contextlib.ExitStack() as stack:
        folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        for name in os.path.relpath(directory, parent).split(os.sep):
            if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
                raise Refused("read_only", "its folder is a link; change what that leads to")
            folder = stack.enter_context(open_folder(name, folder))
        yield folder


def _check(folder: int, expected_sha256: str) -> os.stat_result:
    """The status of the manifest that there is; raises `Refused`, `OSError`."""
    try:
        descriptor = os.open(MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused("read_only", "its manifest is a link; change what that leads to") from error
        raise
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        data = file.read(LARGEST_MANIFEST_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise Refused("precondition_failed", "its manifest was changed meanwhile")
    return status


@contextlib.contextmanager
def _writable(folder: int, *, is_version: bool) -> Iterator[None]:
    """Let this user write to the folder of a version, which is read-only, for a moment."""
    status = os.fstat(folder)
    is_opened = is_version and status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWUSR
    if is_opened:
        os.fchmod(folder, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)
    try:
        yield
    finally:
        if is_opened:
            os.fchmod(folder, stat.S_IMODE(status.st_mode))


def _replace(folder: int, text: bytes, status: os.stat_result) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(NEW, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(NEW, flags, 0o600, dir_fd=folder)
    try:
        with open(descriptor, "wb", buffering=0):
            write_all(descriptor, text)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(OSError):  # only root can give it back
                    os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)
            os.fsync(descriptor)
        os.rename(NEW, MANIFEST, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(NEW, dir_fd=folder)
        raise
    os.fsync(folder)
