"""Making the install folder whole after a crash, when no other worker is alive.

The record of a plugin says what is to be: it is written before anything that it says is done, and a version is whole
when it names it. An update that was not confirmed is undone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plugvisor.installer.folder.plugin_folder import has_version, open_plugin, read_current
from plugvisor.installer.folder.records import BEFORE, PLUGIN_ID, Record, list_versions, read_record, write_record
from plugvisor.installer.protocol import Refused
from plugvisor.layout import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.installer.folder.install_folder import InstallFolder


def recover(folder: InstallFolder, say: Callable[[str], object]) -> list[dict[str, Any]]:
    """Recover every plugin; one that cannot be does not keep the others from it.

    Args:
        say: gets a line for each plugin that could not be recovered.

    Returns:
        the id of each plugin with an update that had not been confirmed, and whether it went back.
    """
    folder.forget_placed(of_all=True)
    recovered = []
    for plugin_id in filter(PLUGIN_ID.fullmatch, os.listdir(folder.root)):
        try:
            went_back = _recover_plugin(folder, plugin_id)
        except Refused:
            continue  # it was put there by hand, or somebody has damaged it
        except OSError as error:
            say(f"{plugin_id} cannot be recovered: {error.strerror}")
            continue
        if went_back is not None:
            recovered.append({"id": plugin_id, "went_back": went_back})
    folder.staging.delete_all(lambda error: say(f"what was staged cannot be removed: {error.strerror}"))
    return recovered


def _recover_plugin(folder: InstallFolder, plugin_id: str) -> bool | None:
    with open_plugin(plugin_id, folder.root) as plugin:
        record = read_record(plugin)
        if record is None:
            return None
        went_back = None
        if record.get("pending"):
            before = _find_before(record, plugin)
            went_back = before is not None
            record = before if before is not None else _without(record, "pending", BEFORE)
            write_record(record, plugin, folder.staging.descriptor)
        current = record.get("current")
        if current is None or has_version(current, plugin):
            if read_current(plugin) != (None if current is None else f"{VERSIONS}/{current}"):
                folder.link(current, plugin)
            if not went_back:  # else a process may run from the other one until it is restarted
                folder.remove_versions(plugin, list_versions(record))
    return went_back


def _find_before(record: Record, plugin: int) -> Record | None:
    """The record to go back to, if its version is there."""
    before = record.get(BEFORE)
    if record["pending"].get("previous") is None or before is None:
        return None
    is_there = before.get("current") is not None and has_version(before["current"], plugin)
    return _without(before, "pending", BEFORE) if is_there else None


def _without(record: Record, *names: str) -> Record:
    return {name: value for name, value in record.items() if name not in names}
