"""`installed.json` as the worker sees it. It belongs to the plugins' user, so whatever is in it is checked.

While an update is not confirmed, the record also holds the whole one before it, as `before`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from typing import Any

from plugvisor.installer.folder.trees import make_name
from plugvisor.installer.protocol import Refused
from plugvisor.layout import LARGEST_RECORD_BYTES, RECORD

PLUGIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}")
BEFORE = "before"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Record = dict[str, Any]


def is_record(value: object) -> bool:
    """Whether a value has the form of `models/installation/record.py`, as far as the worker needs it."""
    if not isinstance(value, dict) or not isinstance(value.get("versions", {}), dict):
        return False
    if value.get(BEFORE) is not None and not is_record(value[BEFORE]):
        return False
    pending = value.get("pending")
    if pending is not None and not (isinstance(pending, dict) and isinstance(pending.get("version"), str)):
        return False
    names = [value.get("current"), value.get("previous"), (pending or {}).get("previous"), *value.get("versions", {})]
    names += [pending["version"]] if pending else []
    return all(name is None or (isinstance(name, str) and VERSION.fullmatch(name)) for name in names)


def list_versions(record: Record | None) -> set[str]:
    """The versions that are whole, by a record or the one before it; none if it is that of what was removed."""
    if record is None:
        return set()
    is_installed = record.get("current") is not None
    return set(record.get("versions", {}) if is_installed else ()) | list_versions(record.get(BEFORE))


def read_record(plugin: int) -> Record | None:
    """The record in a plugin's folder; None if there is none.

    Raises:
        Refused: it is damaged.
    """
    try:
        descriptor = os.open(RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=plugin)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused("not_installed", f"its {RECORD} cannot be read: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = file.read(LARGEST_RECORD_BYTES + 1) if is_file else b""
    try:
        record: Record = json.loads(data) if len(data) <= LARGEST_RECORD_BYTES else {}
        is_valid = bool(record) and is_record(record)
    except (ValueError, RecursionError):
        is_valid = False
    if not is_valid:
        raise Refused("not_installed", f"its {RECORD} is damaged")
    return record


def write_record(record: Record, plugin: int, staging: int) -> None:
    """Replace a plugin's record, in one step; it is on the disk when this returns."""
    data = json.dumps(record).encode()
    if not is_record(record) or len(data) > LARGEST_RECORD_BYTES:
        raise ValueError("this is no record, or too large")
    name = make_name()
    try:
        _write(name, data, staging)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=staging)
        if error.errno not in NO_SPACE or not _overwrite(data, plugin):
            raise
    else:
        os.rename(name, RECORD, src_dir_fd=staging, dst_dir_fd=plugin)
    os.fsync(plugin)


def _write(name: str, data: bytes, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o644, dir_fd=folder), "wb", buffering=0) as file:
        write_all(file.fileno(), data)
        os.fsync(file.fileno())


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _overwrite(data: bytes, plugin: int) -> bool:
    """Write over the record that there is, if the new one fits in its place: a full disk can be emptied only so."""
    try:
        descriptor = os.open(RECORD, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=plugin)
    except OSError:
        return False
    with open(descriptor, "wb", buffering=0):
        size = os.fstat(descriptor).st_size
        if len(data) > size:
            return False
        write_all(descriptor, data.ljust(size))
        os.fsync(descriptor)
    return True
