"""Checks of the run folder: what runs there, and what an earlier Plugvisor has left."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, ok, problem, warning
from plugvisor.engines.supervisord.stop_watch import get_peer_pid
from plugvisor.setting_values import UNIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.settings import Settings

_SECONDS = 2.0
_PID_FILE, _SOCKET = "supervisord.pid", "supervisor.sock"
_MOST_NAMED = 3


def find_socket(settings: Settings) -> Path:
    """Where supervisord listens: in the run folder, or where an operator's own one does."""
    url = settings.supervisor_url
    return Path(url.removeprefix(UNIX)) if url.startswith(UNIX) else settings.run_dir / _SOCKET


def find_supervisord(settings: Settings) -> int:
    """The process of the supervisord that listens; 0 if there is none, or it cannot be seen."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(_SECONDS)
        client.connect(str(find_socket(settings)))
        return get_peer_pid(client) or _read_pid(settings.run_dir)
    return 0


def check_run_folder(settings: Settings) -> Iterator[Finding]:
    """The run folder is this user's, and is that of a Plugvisor that runs, or of none."""
    folder = settings.run_dir
    if settings.engine != "supervisord" or not os.access(folder, os.R_OK | os.X_OK):
        return  # the check of the folders says why
    if foreign := _find_foreign(settings):
        names = ", ".join(map(repr, foreign[:_MOST_NAMED]))
        yield problem(
            f"in {str(folder)!r} there are files of another user: {names}",
            "end the Plugvisor of that user, then remove the folder; or set PLUGVISOR_RUN_DIR to another one",
        )
    if pid := find_supervisord(settings):
        yield ok(f"supervisord runs: process {pid}")
        return
    pid = _read_pid(folder)
    left = [name for name in (_PID_FILE, _SOCKET) if os.path.lexists(folder / name)]
    if pid and _is_supervisord(pid, folder):
        yield problem(
            f"supervisord, process {pid}, does not listen in {str(folder)!r} any more",
            f"end it (kill {pid}) and start `plugvisor up` again",
        )
    elif left:
        process = f" of process {pid}, which has ended" if pid else ""
        yield warning(
            f"an earlier Plugvisor was killed and has left {' and '.join(left)}{process}",
            "`plugvisor up` replaces them, and ends what the plugins have left running",
        )
    elif not foreign:
        yield ok("no supervisord runs here")


def _find_foreign(settings: Settings) -> list[str]:
    owners = {os.geteuid()}
    if settings.users is not None:
        owners |= {0, settings.users.service.uid, settings.users.plugins.uid}
    found = []
    for path in sorted(settings.run_dir.iterdir()):
        with suppress(OSError):
            if path.lstat().st_uid not in owners:
                found.append(path.name)
    return found


def _read_pid(folder: Path) -> int:
    with suppress(OSError, ValueError):
        return int((folder / _PID_FILE).read_text(encoding="ascii"))
    return 0


def _is_supervisord(pid: int, folder: Path) -> bool:
    """Whether a process is the supervisord of this run folder, and not another one that has its number now."""
    with suppress(OSError):
        process = Path(f"/proc/{pid}")
        variable = b"PLUGVISOR_RUN_DIR=" + os.fsencode(folder)
        is_ours = b"plugvisor.engines.supervisord.extension" in (process / "cmdline").read_bytes()
        return is_ours and variable in (process / "environ").read_bytes().split(b"\0")
    return False
