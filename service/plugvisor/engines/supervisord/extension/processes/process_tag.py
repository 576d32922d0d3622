"""The process tag, a variable in the environment of every plugin's process. Its children inherit it.

    PLUGVISOR_PLUGIN=<run folder>:<plugin's id>:<launch>

The run folder distinguishes the processes of two instances, the launch those of two starts of one plugin.
"""

from __future__ import annotations

import os
from typing import NamedTuple

TAG_VARIABLE = "PLUGVISOR_PLUGIN"
_FIELD = TAG_VARIABLE.encode() + b"="


class ProcessTag(NamedTuple):
    """The parts of a tag."""

    run_dir: str
    plugin_id: str
    launch: str

    def render(self) -> str:
        """The variable's value."""
        return f"{self.run_dir}:{self.plugin_id}:{self.launch}"


def parse_process_tag(environ: bytes) -> ProcessTag | None:
    """The tag in an environment as `/proc/<pid>/environ` shows it; None if it has none or a malformed one."""
    found = next((field for field in environ.split(b"\0") if field.startswith(_FIELD)), b"")
    rest, _, launch = found.removeprefix(_FIELD).rpartition(b":")
    run_dir, _, plugin_id = rest.rpartition(b":")
    if not run_dir.startswith(b"/") or not plugin_id or not launch:
        return None
    return ProcessTag(os.fsdecode(run_dir), os.fsdecode(plugin_id), os.fsdecode(launch))
