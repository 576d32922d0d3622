"""The processes of a plugin as this machine sees them, in whichever container they run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.processes import is_alive, kill_all
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack


def find_plugin(stack: PlugvisorStack, plugin_id: str) -> list[int]:
    """The living processes that run a plugin's code in its folder, by this machine's numbers."""
    folder, found = str(stack.plugins_dir / plugin_id), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text(errors="replace").split("\0")
            is_in_folder = os.readlink(process / "cwd").startswith(folder)
            if is_in_folder and words[1:2] == ["main.py"] and is_alive(int(process.name)):
                found.append(int(process.name))
    return found


def kill_plugin(stack: PlugvisorStack, plugin_id: str) -> None:
    """Kill a plugin's process, as the kernel does when memory is short; return when it is gone."""
    found = find_plugin(stack, plugin_id)
    assert found, f"{plugin_id} does not run"
    kill_all(found)


def wait_until_gone(stack: PlugvisorStack, plugin_id: str) -> None:
    """Wait until nothing of a plugin is alive."""
    wait_for(lambda: not find_plugin(stack, plugin_id), f"the end of {plugin_id}")
