"""Reads the file of the admin code again whenever it changes."""

from __future__ import annotations

import asyncio
import logging
import stat
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.admin_code import WEAK_CODE, AdminCode, read_code_file
from plugvisor.errors import ConfigurationError
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.ticks import sleep_until_tick

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.manager.identities.identities import Identities
    from plugvisor.manager.journal.recorder import Recorder

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0

LARGEST_BYTES = 4096


class Signature(NamedTuple):
    """By which a change of a file shows."""

    inode: int
    size: int
    modified: int
    changed: int
    is_regular: bool


class CodeFile:
    """Watches a file from `open` to `close`, if there is one; what is unusable changes nothing.

    A change counts once the file has been the same twice in a row: it may be only half written.
    """

    def __init__(self, path: Path | None, identities: Identities, recorder: Recorder) -> None:
        self._path = path
        self._identities = identities
        self._recorder = recorder
        self._seen: Signature | None = None
        self._taken: Signature | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin; what is in the file now is read again, too, for it may have changed since it was read."""
        if self._path is not None:
            self._task = asyncio.create_task(self._watch(self._path))

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self, path: Path) -> None:
        while True:
            try:
                code = await asyncio.to_thread(self._read_if_changed, path)
            except ConfigurationError as error:  # once for each change
                logger.warning("the admin code stays what it was: %s", error)
            else:
                if code is not None and await self._identities.configure(code):
                    logger.info("the admin code is another now: its file has changed")
                    facts = Facts(subject=self._identities.admin.name, detail="the file of the admin code has changed")
                    self._recorder.note(NewEntry("identity", facts))
                    if code.is_weak:
                        logger.warning(WEAK_CODE)
            await sleep_until_tick(POLL_SECONDS)

    def _read_if_changed(self, path: Path) -> AdminCode | None:
        signature = _sign(path)
        if signature != self._seen or signature == self._taken:
            self._seen = signature
            return None
        self._taken = signature
        if signature is not None and (signature.size > LARGEST_BYTES or not signature.is_regular):
            # nobody may ever write to a pipe, and a device may have no end
            raise ConfigurationError(f"{str(path)!r} is no regular file, or larger than {LARGEST_BYTES} bytes")
        return read_code_file(path)


def _sign(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    is_regular = stat.S_ISREG(status.st_mode)
    return Signature(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, is_regular)
