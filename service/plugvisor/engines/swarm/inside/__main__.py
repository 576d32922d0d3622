"""Run a plugin in a task: bring its folder, become its user, and execute its command.

python -P -m plugvisor.engines.swarm.inside               the plugin
python -P -m plugvisor.engines.swarm.inside check NAME    the command of one of its checks
"""

from __future__ import annotations

import glob
import grp
import io
import os
import pwd
import signal
import sys
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.inside.launch import (
    DATA_VARIABLE,
    FOLDER_FILE,
    SECRET_FILE,
    Launch,
    LaunchError,
    read_launch,
)
from plugvisor.engines.swarm.inside.parent import name_mark, run_as_parent, run_check
from plugvisor.engines.swarm.inside.unpack import UnpackError, unpack_folder
from plugvisor.variable_files import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

USER_VARIABLE = "PLUGVISOR_PLUGIN_USER"
"""In the image's environment: whom plugins run as."""


def main(arguments: list[str], environ: Mapping[str, str], secret_file: str, folder_file: str) -> int:
    """Returns only if the plugin's command is not executed in the place of this program."""
    os.dup2(1, 2)  # one log, in which the lines keep their order
    try:
        launch = read_launch(secret_file)
        if arguments[:1] == ["check"]:
            command = launch.checks.get(arguments[1], [])
            if not command:
                raise LaunchError("it has no check of that name")  # noqa: TRY301
        else:
            command = launch.arguments
            bring_folder(launch.directory, folder_file)
        account = become_user(environ.get(USER_VARIABLE, ""), launch)
        environment = launch.build_environment({**environ, **account})
        enter_folder(launch.directory)
        if arguments[:1] == ["check"]:
            return run_check(command, environment, name_mark(launch.directory))
        if launch.exitcodes != [0] or launch.checks:
            return run_as_parent(command, environment, launch.exitcodes, name_mark(launch.directory))
        execute(command, environment)
    except (LaunchError, UnpackError) as error:
        print(f"plugvisor: {error}", flush=True)  # noqa: T201
    return 1


def bring_folder(directory: str, folder_file: str) -> None:
    """Unpack the folder where it is on the manager, if it has come by configs; raises `LaunchError`, `UnpackError`."""
    count = len(glob.glob(f"{glob.escape(folder_file)}*"))
    if not count:
        return
    try:
        parts = [_read(f"{folder_file}{number}") for number in range(count)]
    except OSError as error:
        raise LaunchError(f"its folder cannot be read: {error.strerror}") from error
    unpack_folder(io.BytesIO(b"".join(parts)), directory, replace=True)


def become_user(name: str, launch: Launch) -> dict[str, str]:
    """Become the plugins' user if this is root; returns the variables that describe who this is.

    Raises:
        LaunchError
    """
    try:
        account = pwd.getpwnam(name) if name and os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        if account.pw_uid != os.geteuid():
            grp.getgrgid(account.pw_gid)
            _prepare_data(launch.environment.get(DATA_VARIABLE, ""), account)
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
    except KeyError as error:
        if not name and os.geteuid():
            return {}  # a number without a name
        raise LaunchError(f"the image has no user {name!r}") from error
    except OSError as error:
        raise LaunchError(f"cannot become the user {name!r}: {error.strerror}") from error
    return {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}


def enter_folder(directory: str) -> None:
    """Make it the current folder; raises `LaunchError`."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise LaunchError(f"cannot enter its folder: {error.strerror}") from error


def execute(command: list[str], environment: Mapping[str, str]) -> None:
    """Replace this program; raises `LaunchError`."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    try:
        encoded = {encode(name): encode(value) for name, value in environment.items()}
        os.execvpe(encode(command[0]), [encode(word) for word in command], encoded)
    except OSError as error:
        raise LaunchError(f"cannot execute its command: {error.strerror}") from error


def _prepare_data(path: str, account: pwd.struct_passwd) -> None:
    """Give a new volume to the plugin."""
    if path:
        os.makedirs(path, mode=0o755, exist_ok=True)
        if os.lstat(path).st_uid == 0:
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ, SECRET_FILE, FOLDER_FILE))
