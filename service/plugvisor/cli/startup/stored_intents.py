"""Reads the stored intents for `plugvisor up` and `render`, which run before there is a service."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NoReturn

import msgspec

from plugvisor.store.folder import FILE_NAME, check_folder, has_database, lock_folder
from plugvisor.store.reader import open_reader
from plugvisor.store.schema import MIGRATIONS, check_version, open_database
from plugvisor.store.tables.intents import StoredIntents, load
from plugvisor.users import become_user

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.settings import Settings
    from plugvisor.users import User

SECONDS = 2.0
"""How long the disk may take."""
_MOST_BYTES = 32 << 20


def read_stored_intents(settings: Settings) -> StoredIntents | None:
    """Read the intents from the store; nothing is raised.

    Another process does it, which root makes the service's: a file that the service can write is none that root opens,
    and a disk that does not answer holds up that process alone.

    Returns:
        what is remembered, nothing if there is no store yet; None if it cannot be read.
    """
    user = settings.users.service if settings.users is not None and os.geteuid() == 0 else None
    try:
        reading, writing = os.pipe()
        child = os.fork()
    except OSError:
        return None
    if child == 0:
        _write_intents(settings.state_dir, user, writing)
    os.close(writing)
    try:
        return msgspec.json.decode(_read_all(reading), type=StoredIntents)
    except (OSError, TimeoutError, msgspec.MsgspecError):
        return None
    finally:
        os.close(reading)
        _end(child)


def _read_all(descriptor: int) -> bytes:
    """Read what the other process writes until its end; raises `TimeoutError`."""
    deadline = time.monotonic() + SECONDS
    data = bytearray()
    while len(data) <= _MOST_BYTES:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise TimeoutError
        part = os.read(descriptor, 1 << 16)
        if not part:
            return bytes(data)
        data += part
    raise TimeoutError


def _end(child: int) -> None:
    with suppress(OSError):
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 0.5  # a process that waits for a disk cannot be killed
    with suppress(OSError):
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)


# -- in the other process


def _write_intents(folder: Path, user: User | None, descriptor: int) -> NoReturn:
    status = 1
    try:
        os.closerange(3, descriptor)  # the lock of the run folder, for one
        os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
        if user is not None:
            become_user(user)
        data = msgspec.json.encode(_read(folder))
        while data:
            data = data[os.write(descriptor, data) :]
        status = 0
    finally:
        os._exit(status)  # whatever was raised: the parent reads nothing


def _read(folder: Path) -> StoredIntents:
    path = folder / FILE_NAME
    if not folder.exists():
        return StoredIntents({}, {}, {})
    mode = check_folder(folder)
    if not has_database(path):
        return StoredIntents({}, {}, {})
    with closing(open_reader(path)) as connection:
        if check_version(connection) == len(MIGRATIONS):
            return load(connection)
    lock_folder(folder, mode)
    with closing(open_database(path)) as connection:
        return load(connection)
