"""Reads the install folder, which belongs to the plugins' user, so that it may hold anything. Everything blocks."""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from plugvisor import layout
from plugvisor.errors import NotInstalled
from plugvisor.models.installation.record import Record
from plugvisor.models.installation.versions import InstalledVersion, Versions
from plugvisor.models.manifest import FILE_NAME, PluginId
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

logger = logging.getLogger(__name__)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LATEST = 253402300799.0
"""The end of the year 9999, in seconds since 1970."""


class Found(NamedTuple):
    """The record, if any, in a plugin's place in the install folder."""

    is_there: bool
    """Whether there is anything."""
    record: Record | None
    """None if it was not installed."""


def read_record(install_dir: Path, plugin_id: str) -> Found:
    """Read the record of a plugin.

    Raises:
        NotInstalled: there is a record, and it cannot be used.
    """
    try:
        msgspec.convert(plugin_id, PluginId)  # a client may have sent anything
        folder = os.open(install_dir / plugin_id, _FOLDER)
    except msgspec.ValidationError:
        return Found(is_there=False, record=None)
    except FileNotFoundError:
        return Found(is_there=False, record=None)
    except OSError:
        return Found(is_there=True, record=None)  # a file, or a link
    try:
        data = _read(folder, layout.RECORD, layout.LARGEST_RECORD_BYTES)
    except FileNotFoundError:
        return Found(is_there=True, record=None)
    except OSError as error:
        raise _refuse(plugin_id, error.strerror or "it cannot be read") from error
    finally:
        os.close(folder)
    try:
        record = msgspec.json.decode(data, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refuse(plugin_id, "it is damaged") from error
    if record.id != plugin_id:
        raise _refuse(plugin_id, "it is that of another plugin")
    return Found(is_there=True, record=record)


def find_record(install_dir: Path, plugin_id: str) -> Record:
    """Read the record of a plugin that is installed, or was; raises `NotInstalled`."""
    record = read_record(install_dir, plugin_id).record
    if record is None:
        raise NotInstalled("it was put there by hand and has no versions; change or remove its folder yourself")
    return record


def find_installed(install_dir: Path, plugin_ids: Iterable[str], sha256: str) -> str | None:
    """The plugin, among some, of which a package with this digest is kept."""
    for plugin_id in plugin_ids:
        try:
            record = read_record(install_dir, plugin_id).record
        except NotInstalled:
            continue
        if record is not None and find_version(record, sha256) is not None:
            return plugin_id
    return None


def find_version(record: Record, sha256: str) -> str | None:
    """The folder of the version that a package has become."""
    return next((name for name, version in record.versions.items() if version.sha256 == sha256), None)


def is_whole(install_dir: Path, plugin_id: str, version: str) -> bool:
    """Whether a version's folder is there."""
    return os.path.isfile(install_dir / plugin_id / layout.VERSIONS / version / FILE_NAME)


def describe_versions(plugin_id: str, record: Record | None) -> Versions:
    """A record as clients see it."""
    if record is None:
        return Versions(plugin_id=plugin_id, installed=False, versions=())
    newest = sorted(record.versions.items(), key=lambda item: item[1].installed_at, reverse=True)
    return Versions(
        plugin_id=plugin_id,
        installed=True,
        versions=tuple(
            InstalledVersion(
                version=version.version,
                sha256=version.sha256,
                source=version.source,
                installed_at=format_time(min(max(version.installed_at, 0.0), _LATEST)),
                installed_by=version.installed_by,
                current=name == record.current or msgspec.UNSET,
                previous=name == record.previous or msgspec.UNSET,
                environment=version.environment or msgspec.UNSET,
                python=version.python or msgspec.UNSET,
            )
            for name, version in newest
        ),
    )


def _read(folder: int, name: str, most_bytes: int) -> bytes:
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        data = b""
        while len(data) <= most_bytes and (more := os.read(descriptor, most_bytes + 1)):
            data += more
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise OSError(0, "it is too large")
    return data


def _refuse(plugin_id: str, reason: str) -> NotInstalled:
    logger.warning("the %s of %r cannot be used: %s", layout.RECORD, plugin_id, reason)
    return NotInstalled(f"its {layout.RECORD} cannot be used: {reason}; correct or remove its folder by hand")
