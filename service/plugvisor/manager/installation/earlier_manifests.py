"""Manifests that were replaced: the newest of each plugin, a file each in the state folder. Everything blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from plugvisor.errors import PlugvisorError, StorageFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_KEPT = 10
"""Of each plugin."""
_FOLDER = "manifests"
_NAME = re.compile(r"[0-9]{8}", re.ASCII)
_LARGEST_FILE_BYTES = 512 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


class EarlierText(NamedTuple):
    """A manifest that was replaced, and by whom."""

    name: str
    """Of its file."""
    text: bytes
    replaced_at: float
    """In seconds since 1970."""
    replaced_by: str


class _Head(msgspec.Struct):
    """The first line of a file, before the text."""

    at: Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]  # the end of the year 9999
    by: str


class EarlierManifests:
    """Keeps texts that are replaced."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / _FOLDER

    def read_all(self, plugin_id: str) -> list[EarlierText]:
        """The texts of a plugin, the one that was replaced last first; what cannot be read is left out."""
        found = []
        with contextlib.suppress(OSError):  # of most plugins there are none
            for name in reversed(self._list_names(plugin_id)):
                with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                    found.append(_read(self._folder / plugin_id / name, name))
        return found[:MOST_KEPT]

    def keep(self, plugin_id: str, text: bytes, by: str) -> str | None:
        """Keep a text that is about to be replaced; durable when this returns.

        Returns:
            the name with which to `drop` it if it is not replaced; None if it was kept as the last one already.

        Raises:
            StorageFull, StoreUnavailable
        """
        folder = self._folder / plugin_id
        with _storage_errors():
            for path in (self._folder, folder):
                if not path.is_dir():
                    path.mkdir(0o700)
                    _sync(path.parent)
            last = next(iter(self.read_all(plugin_id)), None)
            if last is not None and last.text == text:
                return None
            names = self._list_names(plugin_id)
            name = f"{int(names[-1]) + 1 if names else 1:08}"
            head = msgspec.json.encode(_Head(time.time(), by))
            _write(folder, name, head + b"\n" + text)
        return name

    def drop(self, plugin_id: str, name: str) -> None:
        """Forget a text that was not replaced after all; nothing is raised."""
        with contextlib.suppress(OSError):
            os.unlink(self._folder / plugin_id / name)

    def prune(self, plugin_id: str) -> None:
        """Forget all but the newest texts; nothing is raised."""
        with contextlib.suppress(OSError):
            for name in self._list_names(plugin_id)[:-MOST_KEPT]:
                os.unlink(self._folder / plugin_id / name)

    def forget(self, plugin_id: str) -> None:
        """Forget every text of a plugin, whose data was removed; nothing is raised."""
        shutil.rmtree(self._folder / plugin_id, ignore_errors=True)

    def _list_names(self, plugin_id: str) -> list[str]:
        return sorted(filter(_NAME.fullmatch, os.listdir(self._folder / plugin_id)))


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("there is no space to keep the manifest that would be replaced") from error
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> PlugvisorError:
    return StoreUnavailable(f"the manifest that would be replaced cannot be kept: {error.strerror}")


def _read(path: Path, name: str) -> EarlierText:
    with open(path, "rb") as file:
        head, _, text = file.read(_LARGEST_FILE_BYTES).partition(b"\n")
    decoded = msgspec.json.decode(head, type=_Head)
    return EarlierText(name, text, decoded.at, decoded.by)


def _write(folder: Path, name: str, data: bytes) -> None:
    temporary = folder / f".{name}"  # one writer has its turn: what is there was left by a crash
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, folder / name)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
