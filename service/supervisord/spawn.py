"""The moment between fork and exec, in which a signal to a new process is lost."""

from __future__ import annotations

from pathlib import Path


def has_executed(pid: int) -> bool | None:
    """Whether a child of supervisord has executed its program; None where this system does not tell.

    Between fork and exec the child still has supervisord's signal handlers, which only note a signal
    (`SignalReceiver.receive`), and exec then forgets the note: a SIGTERM sent in between is swallowed.
    Until exec the child's command line is its parent's.
    """
    try:
        process = Path("/proc") / str(pid)
        # the fields after the command's name, which stands in parentheses and may itself hold some
        parent_pid = (process / "stat").read_text().rpartition(")")[2].split()[1]
        return (process / "cmdline").read_bytes() != (process.parent / parent_pid / "cmdline").read_bytes()
    except (OSError, IndexError):
        # no /proc here, or the process is gone: a signal to it is not lost but pointless
        return None if not Path("/proc/self/stat").exists() else True
