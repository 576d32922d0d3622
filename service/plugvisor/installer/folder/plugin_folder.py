"""Opening a plugin's folder in the install folder.

A plugin is of the same user and may have put anything in the place of anything: every folder is opened in its parent,
no link is followed, and what is not as `layout.py` describes it is refused and left as it is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from plugvisor.installer.folder.records import PLUGIN_ID, VERSION
from plugvisor.installer.folder.trees import is_folder, open_folder
from plugvisor.installer.protocol import Refused
from plugvisor.layout import CURRENT, DATA, OWN, RECORD, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_HAND = "its folder was put there by hand, and not installed"
_KINDS = {VERSIONS: stat.S_IFDIR, DATA: stat.S_IFDIR, CURRENT: stat.S_IFLNK, RECORD: stat.S_IFREG}
_LONGEST_NAME = 100


def check_id(plugin_id: str) -> None:
    """Raise `ValueError` if this is no plugin's id."""
    if not PLUGIN_ID.fullmatch(plugin_id):
        raise ValueError("this is no plugin's id")


def check_version(version: str) -> None:
    """Raise `ValueError` if this is no name of a version's folder."""
    if not VERSION.fullmatch(version):
        raise ValueError("this is no name of a version's folder")


@contextlib.contextmanager
def open_plugin(plugin_id: str, root: int) -> Iterator[int]:
    """A descriptor of a plugin's folder, which holds nothing but what an installation makes; raises `Refused`."""
    check_id(plugin_id)
    with contextlib.ExitStack() as stack:
        try:
            plugin = stack.enter_context(open_folder(plugin_id, root))
        except FileNotFoundError as error:
            raise Refused("not_installed", "it is not installed") from error
        except OSError as error:
            raise Refused("not_installed", "its folder is a link, or no folder") from error
        for name in os.listdir(plugin):
            if name not in OWN:
                raise Refused("not_installed", f"{BY_HAND}: it holds {ascii(name)[:_LONGEST_NAME]}")
            if stat.S_IFMT(os.lstat(name, dir_fd=plugin).st_mode) != _KINDS[name]:
                raise Refused("not_installed", f"{name!r} in its folder is not what an installation makes")
        yield plugin


@contextlib.contextmanager
def open_version(version: str, plugin: int) -> Iterator[int]:
    """A descriptor of a version's folder; raises `Refused`."""
    check_version(version)
    with contextlib.ExitStack() as stack:
        try:
            versions = stack.enter_context(open_folder(VERSIONS, plugin))
            folder = stack.enter_context(open_folder(version, versions))
        except OSError as error:
            raise Refused("failed", "this version is not there") from error
        yield folder


def has_version(version: str, plugin: int) -> bool:
    """Whether there is a version's folder."""
    if not is_folder(VERSIONS, plugin):
        return False
    with open_folder(VERSIONS, plugin) as versions:
        return is_folder(version, versions)


def read_current(plugin: int) -> str | None:
    """Where `current` leads; None if it is not there."""
    try:
        return os.readlink(CURRENT, dir_fd=plugin)
    except FileNotFoundError:
        return None
