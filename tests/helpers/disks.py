"""Small, full and read-only disks; only root can mount them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="only root mounts",
)


@contextlib.contextmanager
def mount_tmpfs(path: Path, kilobytes: int) -> Iterator[Path]:
    """A small disk at a path, until the end."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def remount(path: Path, how: str) -> None:
    """Make a mounted disk read-only, `ro`, or writable again, `rw`."""
    subprocess.run(["mount", "-o", f"remount,{how}", path], check=True)


def fill(path: Path) -> Path:
    """Fill a disk with one file, to be removed again."""
    filler = path / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler
