"""The files of an environment, against what each of its packages lists with a hash.

They are links to files in a cache: what a power cut has truncated there, or a plugin has changed in its own
environment, would be in every environment that is made later.
"""

from __future__ import annotations

import base64
import csv
import glob
import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ALGORITHMS = frozenset(("sha256", "sha384", "sha512"))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*")
_LARGEST_RECORD_BYTES = 64 * 1024 * 1024


def find_damaged_packages(environment: str, check_time: Callable[[], None]) -> list[str]:
    """The names of the packages of which a file is missing, or is not what the package lists.

    Args:
        check_time: is called before each file is read, and may raise.
    """
    pattern = os.path.join(glob.escape(environment), "lib", "python*", "site-packages", "*.dist-info", "RECORD")
    damaged = []
    for record in sorted(glob.glob(pattern)):
        name = os.path.basename(os.path.dirname(record)).partition("-")[0]
        site_packages = os.path.dirname(os.path.dirname(record))
        if not _NAME.fullmatch(name):
            continue
        for path, algorithm, digest, size in _read_record(record):
            check_time()
            whole = os.path.normpath(os.path.join(site_packages, path))
            is_inside = whole.startswith(f"{environment}{os.sep}")
            if is_inside and not path.endswith(".pyc") and _hash_file(whole, algorithm, size) != digest:
                damaged.append(name)
                break
    return damaged


def _read_record(record: str) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield path, algorithm, digest and size of each file that has a hash; nothing if the list is malformed."""
    try:
        if os.path.getsize(record) > _LARGEST_RECORD_BYTES:
            return
        with open(record, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 3]
    except (OSError, ValueError, csv.Error):
        return
    for path, hashed, size in rows:
        algorithm, _, digest = hashed.partition("=")
        if algorithm in _ALGORITHMS and "\0" not in path:
            yield path, algorithm, digest.rstrip("="), int(size) if size.isdecimal() and len(size) < 16 else None


def _hash_file(path: str, algorithm: str, size: int | None) -> str:
    """The digest of a regular file; empty if there is none, or its size is another."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or size not in (None, status.st_size):
                return ""
            digest = hashlib.file_digest(file, algorithm).digest()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
