"""Spawning a plugin's process in one step.

`subprocess.Popen` without `preexec_fn` uses vfork(2) if it can, and waits for exec: when `spawn` returns,
the program has been executed, or the error says why not. A signal sent afterwards is never lost. A process with
limits takes fork(2), since it has to set them itself.

If memory or CPU time runs out, supervisord and the service come before the plugins (`put_behind`).
"""

from __future__ import annotations

import errno
import functools
import grp
import os
import pwd
import subprocess
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.extension.processes.precedence import put_behind
from plugvisor.variable_files import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch


def spawn(
    launch: Launch,
    environment: Mapping[str, str],
    stdin: int,
    stdout: int,
    uid: int | None,
    *,
    enter: Callable[[], object] | None = None,
    descriptors: tuple[int, ...] = (),
) -> int:
    """Start a program in a process group of its own; returns its process id.

    Args:
        stdout: descriptor for standard output and standard error.
        uid: the user to run it as; None for this process's own.
        enter: called in the new process, with this process's rights.
        descriptors: those that it inherits besides.

    Raises:
        OSError: it cannot be started.
    """
    try:
        credentials = _find_credentials(uid)
        process = subprocess.Popen(
            [encode(argument) for argument in launch.arguments],
            cwd=encode(launch.directory),
            env={encode(name): encode(value) for name, value in environment.items()},
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=descriptors,
            **(credentials if enter is None else {"preexec_fn": functools.partial(_enter, enter, credentials)}),
        )
    except (subprocess.SubprocessError, KeyError) as error:  # a credential could not be set, or the user is gone
        raise OSError(errno.EPERM, os.strerror(errno.EPERM)) from error
    process.returncode = 0  # else `Popen.__del__` would wait for the process in supervisord's place
    put_behind(process.pid, uid)
    return process.pid


def describe_spawn_error(error: OSError, directory: str, purpose: str = "execute its command") -> str:
    """Why a program was not started, without its arguments, which may hold a secret."""
    match error.errno:
        case errno.EMFILE | errno.ENFILE:
            return "too many open files"
        case errno.EAGAIN:
            return "too many processes"
    what = "enter its folder" if error.filename == encode(directory) else purpose
    return f"cannot {what}: {error.strerror}"


def _find_credentials(uid: int | None) -> dict[str, Any]:
    if uid is None or uid == os.getuid():
        return {}
    gid, groups = _find_groups(uid)
    return {"user": uid, "group": gid, "extra_groups": groups}


def _enter(enter: Callable[[], object], credentials: Mapping[str, Any]) -> None:
    """Prepare the new process. Its user is changed here, because `Popen` does that before it calls this."""
    enter()
    if credentials:
        os.setgroups(credentials["extra_groups"])
        os.setregid(credentials["group"], credentials["group"])
        os.setreuid(credentials["user"], credentials["user"])


@functools.cache
def _find_groups(uid: int) -> tuple[int, tuple[int, ...]]:
    """A user's group, and all of its groups, as supervisord determines them (`ServerOptions.drop_privileges`)."""
    user = pwd.getpwuid(uid)
    more = (group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem)
    return user.pw_gid, (user.pw_gid, *more)
