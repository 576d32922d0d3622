"""The staging folder: what workers unpack, and what was removed and is not deleted yet.

Each worker has a session, a folder in it. A version that was placed and is not whole yet has a note there, an empty
folder named `<plugin>@<version>`: what a worker that was killed has placed is found by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.installer.folder.records import PLUGIN_ID, VERSION
from plugvisor.installer.folder.trees import exists, make_name, move, open_folder, remove_tree
from plugvisor.installer.protocol import Refused
from plugvisor.layout import STAGING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHERS_SECONDS = 5.0
POLL_SECONDS = 0.02
HELD = "another process holds the install folder"
_SEPARATOR = "@"


class Note(NamedTuple):
    """A version that was placed."""

    session: str
    plugin_id: str
    version: str

    @property
    def name(self) -> str:
        """The name of the folder."""
        return f"{self.plugin_id}{_SEPARATOR}{self.version}"


class Staging:
    """The staging folder, for one worker.

    Args:
        root: a descriptor of the install folder.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._session = make_name()
        self.has_session = False
        """Whether this worker has put something here."""

    @cached_property
    def descriptor(self) -> int:
        """The folder's; it is made when it is needed: the install folder may be one in which nobody installs."""
        if not exists(STAGING, self._root):
            with contextlib.suppress(FileExistsError):  # another worker was as quick
                os.mkdir(STAGING, 0o700, dir_fd=self._root)
        try:
            descriptor = os.open(STAGING, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
        except OSError as error:
            raise Refused("off", f"the staging folder cannot be used: {error.strerror}") from error
        if not _wait_for_lock(descriptor, fcntl.LOCK_SH):  # until this process ends, but for moments
            os.close(descriptor)
            raise Refused("failed", HELD)
        return descriptor

    def _list(self) -> list[str]:
        return os.listdir(self.descriptor) if exists(STAGING, self._root) else []

    def wait_alone(self) -> bool:
        """Wait a while until every other worker has ended, as after a crash of the service; returns whether it has."""
        return not exists(STAGING, self._root) or _wait_for_lock(self.descriptor, fcntl.LOCK_EX)

    def try_alone(self) -> bool:
        """Keep other workers out until `share`, unless there are some; returns whether there are none."""
        if _lock(self.descriptor, fcntl.LOCK_EX):
            return True
        self.share()  # a lock that cannot be changed may be lost
        return False

    def share(self) -> None:
        """Let other workers in; raises `Refused`."""
        if not _wait_for_lock(self.descriptor, fcntl.LOCK_SH):
            raise Refused("failed", HELD)

    def adopt(self) -> None:
        """Discard what others have left here; none of them may be alive. Raises `OSError`."""
        for name in self._list():
            if not name.startswith(self._session):
                self.discard(name, self.descriptor)

    def release(self) -> None:
        """Close the descriptor, and so give up the lock."""
        descriptor = self.__dict__.pop("descriptor", None)
        if descriptor is not None:
            os.close(descriptor)

    def make_folder(self) -> tuple[str, str]:
        """Make an empty folder; returns its name, and its path in the install folder."""
        name = make_name()
        with self.open_session() as session:
            os.mkdir(name, 0o700, dir_fd=session)
        return name, os.path.join(STAGING, self._session, name)

    @contextlib.contextmanager
    def open_session(self) -> Iterator[int]:
        """A descriptor of this worker's session."""
        if not self.has_session:
            os.mkdir(self._session, 0o700, dir_fd=self.descriptor)
            self.has_session = True
        with open_folder(self._session, self.descriptor) as session:
            yield session

    def note(self, plugin_id: str, version: str) -> None:
        """Note that a version is about to be placed."""
        with self.open_session() as session:
            os.mkdir(Note(self._session, plugin_id, version).name, 0o700, dir_fd=session)
            os.fsync(session)

    def list_notes(self, *, of_all: bool) -> list[Note]:
        """The notes of this worker, or of all workers."""
        notes = []
        for session_name in self._list():
            if not of_all and session_name != self._session:
                continue
            with contextlib.suppress(OSError), open_folder(session_name, self.descriptor) as session:
                for name in os.listdir(session):
                    plugin_id, _, version = name.partition(_SEPARATOR)
                    if PLUGIN_ID.fullmatch(plugin_id) and VERSION.fullmatch(version):
                        notes.append(Note(session_name, plugin_id, version))
        return notes

    def forget(self, note: Note) -> None:
        """Remove a note; raises `OSError`."""
        with open_folder(note.session, self.descriptor) as session:
            os.rmdir(note.name, dir_fd=session)

    def discard(self, name: str, parent: int) -> None:
        """Move something here, so that it is gone from its place in one step."""
        move(name, parent, f"{self._session}-{make_name()}", self.descriptor)

    def delete_discarded(self) -> None:
        """Delete what this worker has moved here; an interruption leaves it to the next start. Raises `OSError`."""
        for name in self._list():
            if name.startswith(f"{self._session}-"):
                remove_tree(name, self.descriptor)

    def delete_own(self) -> None:
        """Delete all that this worker has put here; raises `OSError`."""
        for name in self._list():
            if name.startswith(self._session):
                remove_tree(name, self.descriptor)
        self.has_session = False

    def delete_all(self, on_error: Callable[[OSError], object]) -> None:
        """Delete all that is here; no other worker may be alive."""
        for name in self._list():
            try:
                remove_tree(name, self.descriptor)
            except OSError as error:
                on_error(error)
        self.has_session = False


def _wait_for_lock(descriptor: int, kind: int) -> bool:
    """Lock a folder; returns False if somebody else, who may be a plugin, does not let go of it."""
    deadline = time.monotonic() + OTHERS_SECONDS
    while not _lock(descriptor, kind):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
