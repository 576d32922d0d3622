"""A manifest's file as a client reads and replaces it. Everything that reads blocks."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.layout import LARGEST_MANIFEST_BYTES, find_root
from plugvisor.models.manifest import FILE_NAME, ManifestError
from plugvisor.users import permits

if TYPE_CHECKING:
    from plugvisor.users import Users

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")', re.ASCII)
_MOST_DECIMAL_BITS = 10_000
_LARGEST_INTEGER = 2**63 - 1


def read_file(directory: Path, users: Users | None) -> bytes:
    """The text of a manifest.

    Raises:
        ManifestError: it cannot be read, or not by the plugins' user: it may be a link to a file of the service's.
    """
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ManifestError(f"it cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ManifestError("it is no regular file")
        if users is not None and not permits(status, users.plugins, stat.S_IROTH):
            raise ManifestError("it cannot be read by the user of the plugins")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    check_size(data)
    return data


def check_size(data: bytes) -> None:
    """Raise `ManifestError` if a text is too large to be a manifest."""
    if len(data) > LARGEST_MANIFEST_BYTES:
        raise ManifestError(f"it is larger than {LARGEST_MANIFEST_BYTES // 1024} KiB")


def is_writable(directory: Path, users: Users | None, *, is_version: bool) -> bool:
    """Whether the user of the plugins can replace the manifest in a folder, by its rights.

    Args:
        is_version: it is that of an installed version, which is made writable for that moment.
    """
    try:
        status = os.stat(directory)
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return False
        if any(path.is_symlink() for path in (directory / FILE_NAME, directory, Path(find_root(str(directory))))):
            return False
        if users is None:
            return os.access(directory, os.W_OK | os.X_OK) or (is_version and status.st_uid == os.geteuid())
    except OSError:
        return False
    is_owner = status.st_uid == users.plugins.uid
    return (is_version and is_owner) or permits(status, users.plugins, stat.S_IWOTH | stat.S_IXOTH)


def make_etag(data: bytes) -> str:
    """The entity tag of a text."""
    return f'"{hashlib.sha256(data).hexdigest()}"'


def matches(if_match: str, etag: str) -> bool:
    """Whether a precondition names a tag, or any; a weak one names none (RFC 9110, 13.1.1)."""
    if if_match.strip() == "*":
        return True
    return any(tag == etag and not weak for weak, tag in _TAG.findall(if_match))


def make_json(value: Any) -> Any:
    """A value of a TOML file as JSON can hold it: what that has no form for is text."""
    match value:
        case dict():
            return {key: make_json(item) for key, item in value.items()}
        case list():
            return [make_json(item) for item in value]
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return str(value)
        case int() if abs(value) > _LARGEST_INTEGER:
            # Python writes no more than 4,300 decimal digits
            return str(value) if value.bit_length() < _MOST_DECIMAL_BITS else hex(value)
        case _:
            return value
