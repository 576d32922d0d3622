"""The file systems of this process, by /proc (Linux)."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import NamedTuple

NETWORK_TYPES = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.glusterfs",
)


class Mount(NamedTuple):
    """A file system, and where it is mounted."""

    point: str
    kind: str
    options: frozenset[str]

    @property
    def is_remote(self) -> bool:
        """Whether its files are on another machine."""
        return self.kind.startswith(NETWORK_TYPES)


def find_mount(path: str) -> Mount | None:
    """The mount that a path is on; None if the system does not show it."""
    path = os.path.realpath(path)
    found = None
    for mount in _read_mounts():
        is_above = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if is_above and (found is None or len(mount.point) >= len(found.point)):  # the later of two hides the earlier
            found = mount
    return found


def _read_mounts() -> list[Mount]:
    mounts = []
    with suppress(OSError), open("/proc/self/mountinfo", "rb") as file:
        for line in os.fsdecode(file.read()).splitlines():
            fields, _, rest = line.partition(" - ")
            point, options = fields.split()[4:6]
            kind, _, own = rest.split(" ", 2)
            mounts.append(Mount(_unescape(point), kind, frozenset([*options.split(","), *own.split(",")])))
    return mounts


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
