"""The folders of the settings: which path is valid, and where they are by default."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOTS_RUN_DIR = Path("/run/plugvisor")
ROOTS_LOG_DIR = Path("/var/log/plugvisor")
ROOTS_STATE_DIR = Path("/var/lib/plugvisor")
ADDRESS_FILE = "address"
"""In the run folder: where the service is, for commands."""

# The run and log folders appear in supervisord's configuration, where white space separates, `%` is
# expanded (twice in log file names), `;` and `#` begin a comment, and an include is a glob. The file is
# UTF-8; bytes that are not are surrogates here.
UNSAFE_IN_CONFIGURATION = re.compile(r"""[\s%;#*?\[\]'"\\,\x00-\x1f\x7f\ud800-\udfff]""")

# supervisord binds `<socket>.<pid>` first; sun_path holds 104 bytes on macOS, 108 on Linux.
LONGEST_SOCKET_PATH_BYTES = 103 - len(".4194304")


def find_run_dir(environ: Mapping[str, str]) -> Path:
    """Return the run folder: the one that is set, or the default."""
    has_users = environ.get("PLUGVISOR_SERVICE_USER") and environ.get("PLUGVISOR_PLUGIN_USER") and os.geteuid() == 0
    path = environ.get("PLUGVISOR_RUN_DIR") or str(ROOTS_RUN_DIR if has_users else find_default_run_dir(environ))
    return read_folder("PLUGVISOR_RUN_DIR", path)


def find_default_run_dir(environ: Mapping[str, str]) -> Path:
    """Return a folder of this user for sockets: where nothing is cleaned up, if there is such a folder."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "plugvisor"
    home = environ.get("HOME", "")
    state = Path(environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")) / "plugvisor"
    longest = LONGEST_SOCKET_PATH_BYTES - len("/supervisor.sock")
    is_short = state.is_absolute() and len(os.fsencode(state)) <= longest
    if is_short and not UNSAFE_IN_CONFIGURATION.search(str(state)) and _can_create(state):
        return state
    return Path(tempfile.gettempdir()) / f"plugvisor-{os.getuid()}"


def find_default_state_dir(environ: Mapping[str, str], run_dir: Path) -> Path:
    """Return a folder of this user for what is remembered; the run folder if the user has no home."""
    home = environ.get("HOME", "")
    state = Path(environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")) / "plugvisor"
    return state if state.is_absolute() and _can_create(state) else run_dir


def _can_create(path: Path) -> bool:
    """Whether a folder, or the first one above it that there is, belongs to this user and is writable."""
    there = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    return there.is_dir() and there.stat().st_uid == os.geteuid() and os.access(there, os.W_OK | os.X_OK)


def read_path(name: str, value: str) -> Path:
    """An absolute path; a relative one is relative to the working directory."""
    try:
        # abspath, not resolve: an operator who names a symbolic link expects to see that name again
        return Path(os.path.abspath(Path(value).expanduser()))
    except RuntimeError as error:
        raise ConfigurationError(
            f"cannot use {name} {value!r}: there is no user of that name with a home folder; write the whole path"
        ) from error


def read_folder(name: str, value: str) -> Path:
    """The path of a folder that supervisord's configuration can name."""
    path = str(read_path(name, value))
    unsafe = UNSAFE_IN_CONFIGURATION.search(path)
    if unsafe:
        raise ConfigurationError(
            f"cannot use {name} {path!r}: supervisord's configuration does not allow {unsafe.group()!r} in a path; "
            "choose a folder without blanks, quotes or any of % ; # * ? [ ] \\ ,"
        )
    return Path(path)


def is_roots(path: Path) -> bool:
    """Whether a file or a folder belongs to root."""
    try:
        return path.stat().st_uid == 0
    except OSError:
        return False
