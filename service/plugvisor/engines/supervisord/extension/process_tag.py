"""The mark in the environment of every plugin's process, by which its whole family is found again.

    PLUGVISOR_PLUGIN=<run folder>:<plugin's id>:<process id of the main process>

Children inherit it, whatever session or parent they have. The run folder tells one Plugvisor's processes from
another's, the main process's id one life of a plugin from the next.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

MARK_VARIABLE = "PLUGVISOR_PLUGIN"
_FIELD = MARK_VARIABLE.encode() + b"="


class Mark(NamedTuple):
    """What a mark tells."""

    run_dir: str
    plugin_id: str
    main_pid: int


def render_mark(run_dir: Path, plugin_id: str) -> bytes:
    """The mark without its last part, which the launch script's shell knows: it becomes the main process."""
    return _FIELD + os.fsencode(run_dir) + b":" + plugin_id.encode() + b":"


def parse_mark(environ: bytes) -> Mark | None:
    """The mark in an environment as `/proc/<pid>/environ` shows it; None where there is none, or a spoilt one."""
    # the last one, for that is the launch script's
    found = next((field for field in reversed(environ.split(b"\0")) if field.startswith(_FIELD)), b"")
    run_dir, _, rest = found.removeprefix(_FIELD).rpartition(b":")[0].rpartition(b":")
    main_pid = found.rpartition(b":")[2]
    if not run_dir.startswith(b"/") or not rest or not main_pid.isdigit():
        return None
    return Mark(os.fsdecode(run_dir), os.fsdecode(rest), int(main_pid))
