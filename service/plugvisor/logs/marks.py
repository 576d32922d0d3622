"""Places in a log, which are found again when it was rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from plugvisor.logs.files import LogFiles


class Mark(NamedTuple):
    """A place in a log."""

    inode: int
    """Of the file that was the current one; 0 if there was none."""
    position: int
    """In bytes."""


NO_LOG = Mark(0, 0)
"""There was no log yet."""


def mark_end(log: LogFiles) -> Mark:
    """The place at which a log ends now. This blocks."""
    file = log.open_file()
    if file is None:
        return NO_LOG
    file.close()
    return Mark(file.inode, file.size)
