"""Making the install folder whole after a crash, when no other worker is alive.

The record of a plugin says what is to be: it is written before anything that it says is done, and a version is whole
when it names it. An update that was not confirmed is undone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plugvisor.installer.protocol import Refused
from plugvisor.installer.records import BEFORE, Record, is_record, read_record, write_record
from plugvisor.installer.trees import is_folder, open_folder
from plugvisor.layout import CURRENT, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.installer.folders import InstallFolder


def recover(folder: InstallFolder, say: Callable[[str], object]) -> list[dict[str, Any]]:
    """Recover every plugin; one that cannot be does not keep the others from it.

    Args:
        say: gets a line for each plugin that could not be recovered.

    Returns:
        the id of each plugin with an update that had not been confirmed, and whether it went back.
    """
    folder.forget_placed()
    recovered = []
    for plugin_id in folder.list_plugins():
        try:
            went_back = _recover_plugin(folder, plugin_id)
        except Refused:
            continue  # it was put there by hand, or somebody has damaged it
        except OSError as error:
            say(f"{plugin_id} cannot be recovered: {error.strerror}")
            continue
        if went_back is not None:
            recovered.append({"id": plugin_id, "went_back": went_back})
    folder.empty_staging()
    return recovered


def _recover_plugin(folder: InstallFolder, plugin_id: str) -> bool | None:
    with folder.open_plugin(plugin_id) as plugin:
        record = read_record(plugin)
        if record is None:
            return None
        went_back = None
        if record.get("pending"):
            before = _find_before(record, plugin)
            went_back = before is not None
            record = before if before is not None else _without(record, "pending", BEFORE)
            write_record(record, plugin, folder.staging)
        current = record.get("current")
        if current is None or _has_version(plugin, current):
            if _read_current(plugin) != (None if current is None else f"{VERSIONS}/{current}"):
                folder.link(current, plugin)
            folder.remove_versions(plugin, set(record.get("versions", {})))
    return went_back


def _find_before(record: Record, plugin: int) -> Record | None:
    """The record to go back to, if its version is there."""
    before = record.get(BEFORE)
    if record["pending"].get("previous") is None or before is None or not is_record(before):
        return None
    is_there = before.get("current") is not None and _has_version(plugin, before["current"])
    return _without(before, "pending", BEFORE) if is_there else None


def _without(record: Record, *names: str) -> Record:
    return {name: value for name, value in record.items() if name not in names}


def _has_version(plugin: int, version: str) -> bool:
    if not is_folder(VERSIONS, plugin):
        return False
    with open_folder(VERSIONS, plugin) as versions:
        return is_folder(version, versions)


def _read_current(plugin: int) -> str | None:
    try:
        return os.readlink(CURRENT, dir_fd=plugin)
    except FileNotFoundError:
        return None
