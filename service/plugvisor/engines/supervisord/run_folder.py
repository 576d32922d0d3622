"""The run, log and state folders, and their owners and permissions.

If everything runs as one user, they are that user's alone. If supervisord is root, root owns them and gives the
service's group the access that the service needs:

    <run_dir>         root:service  0711  sockets, pid file, lock
      admin_code      root:service  0640
      webhook_secret  root:service  0640
      asked.json      root:root     0600  what operators asked for by supervisorctl
      address         root:root     0644  where the service is, for commands
      users.conf      root:service  0644  which users supervisord is to use
      install-*.sock  root:service  0660  the workers of the install folder
      conf.d/         root:service  2770  the service publishes programs
      launch/         root:service  2770  likewise; their environments may hold secrets
    <log_dir>         root:service  2750  supervisord writes, the service reads
    <state_dir>       root:service  2770  the service writes; its files are 0660
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.extension.folders import check_can_write, open_folder
from plugvisor.engines.supervisord.program import conf_path, launch_path
from plugvisor.engines.supervisord.publisher import Publisher
from plugvisor.errors import ConfigurationError
from plugvisor.setting_folders import ADDRESS_FILE
from plugvisor.store.folder import UnsafeFolder, check_folder
from plugvisor.users import User, Users, get_user, join_service_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugvisor.settings import Settings


def prepare_folders(settings: Settings) -> None:
    """Make the run and log folders, or check those that are there.

    Raises:
        ConfigurationError: one cannot be used, belongs to another user, or others can write there.
    """
    users = settings.users
    is_root = os.geteuid() == 0
    folders = (("PLUGVISOR_RUN_DIR", settings.run_dir, 0o711), ("PLUGVISOR_LOG_DIR", settings.log_dir, 0o2750))
    if users is not None and is_root:
        join_service_group(users)
    for variable, path, mode in folders:
        with _folder_errors(variable, path):
            descriptor = open_folder(path)
            try:
                if users is not None and is_root:
                    _share_folder(descriptor, users, mode)
                status = os.fstat(descriptor)
                is_own = status.st_uid == (os.getuid() if users is None else 0)
                is_safe = is_own and not status.st_mode & 0o022
                # of root's folders the service needs no more than what is in them
                if is_safe and (users is None or is_root):
                    if not os.access(path, os.W_OK | os.X_OK):
                        raise PermissionError(0, "you may not write there")
                    check_can_write(descriptor)
            finally:
                os.close(descriptor)
        if not is_safe:
            why = "it belongs to another user"
            if is_own:
                why = "others can write there and so have Plugvisor run anything"
            raise ConfigurationError(
                f"cannot use the folder {str(path)!r}: {why}; set {variable} to a folder of your own"
            )
    if settings.engine == "swarm":  # no programs are published here
        return
    with run_dir_errors(settings):
        Publisher(settings.run_dir).prepare()
        if users is not None and is_root:
            for path in (conf_path(settings.run_dir, "").parent, launch_path(settings.run_dir, "").parent):
                descriptor = open_folder(path)
                try:
                    _set_access(descriptor, users, 0o2770)
                finally:
                    os.close(descriptor)


def prepare_state_folder(settings: Settings) -> str:
    """Make the folder of the store, or check the one that is there.

    Returns:
        a warning if it cannot be used, for that keeps nothing from running; else nothing.
    """
    path, users = settings.state_dir, settings.users
    try:
        descriptor = open_folder(path)
        try:
            if users is None:
                check_can_write(descriptor)
            elif os.geteuid() == 0:
                _share_state_folder(descriptor, settings, users)
        finally:
            os.close(descriptor)
        check_folder(path, [users.service.uid] if users is not None else [])
    except (OSError, UnsafeFolder) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return (
            f"cannot use the folder {str(path)!r}: {why}; nothing will be remembered until that is mended, or "
            "PLUGVISOR_STATE_DIR set to another folder"
        )
    return ""


def _share_state_folder(descriptor: int, settings: Settings, users: Users) -> None:
    status = os.fstat(descriptor)
    if status.st_uid == users.service.uid:
        return
    for other in (settings.run_dir, settings.log_dir):  # which the service must not be able to write
        if other.exists() and os.path.samestat(status, other.stat()):
            raise FileExistsError(errno.EEXIST, "it is the run or the log folder")
    _share_folder(descriptor, users, 0o2770)
    if status.st_gid == users.service.gid or os.fstat(descriptor).st_gid != users.service.gid:
        return
    # it was root's alone until now; what root's service has left there is for the new one
    for name in os.listdir(descriptor):
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                _set_access(file, users, 0o660)
        finally:
            os.close(file)


def write_users_conf(settings: Settings) -> None:
    """Write `users.conf`, which supervisord.conf includes: the users to run as, if supervisord is root.

    Raises:
        ConfigurationError
    """
    path = settings.run_dir / "users.conf"
    with run_dir_errors(settings):
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8") as file:
            file.write(_render_users_conf(settings.users))


def write_address(settings: Settings) -> None:
    """Write where the service is, for this user's commands; raises `ConfigurationError`."""
    path, text = settings.run_dir / ADDRESS_FILE, f"{settings.url}\n{settings.public_url or ''}\n"
    with run_dir_errors(settings):
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return  # of a folder of root's, `up` has written it, and the service could not
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8") as file:
            file.write(text)


def read_plugins_user(run_dir: Path) -> User | None:
    """The user whom a supervisord that is root runs plugins as; None if it runs everything as one user."""
    try:
        text = (run_dir / "users.conf").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = re.search(r"^plugins_uid=(\d+)$", text, re.MULTILINE)
    return get_user(int(found[1])) if found else None


@contextlib.contextmanager
def run_dir_errors(settings: Settings) -> Iterator[None]:
    """Turn what the system says of the run folder into a `ConfigurationError`."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the run folder {str(settings.run_dir)!r}: {error.filename or 'a file in it'}: "
            f"{error.strerror}; mend that, or set PLUGVISOR_RUN_DIR to another folder"
        ) from error


@contextlib.contextmanager
def _folder_errors(variable: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the folder {str(path)!r}: {error.strerror}; set {variable} to a folder of your own"
        ) from error


_OWN_NAMES = re.compile(
    r"conf\.d|launch|log|lock|address|admin_code|webhook_secret|users\.conf|supervisord\.pid|(state|supervisor|install-[0-9]+)\.sock"
    r"|.+\.log(\.[0-9]+)?|.+\.tmp|asked\.json|plugvisor\.(db|lock).*|lost\+found"
)
"""Names that one of the folders can contain before it is shared; a new volume contains `lost+found`."""


def _share_folder(descriptor: int, users: Users, mode: int) -> None:
    """Share a folder of root's, or close one that is empty: a container's tmpfs begins open to everyone.

    Raises:
        OSError: it is another program's; its group and mode are not changed.
    """
    status = os.fstat(descriptor)
    if status.st_uid != 0:
        return  # it will be refused
    foreign = [name for name in os.listdir(descriptor) if not _OWN_NAMES.fullmatch(name)]
    if foreign and status.st_gid != users.service.gid:
        raise FileExistsError(errno.EEXIST, f"it holds {min(foreign)!r}, which is not Plugvisor's")
    check_can_write(descriptor)
    if status.st_mode & 0o022:
        os.fchmod(descriptor, 0o700)
        if os.listdir(descriptor):  # after it was closed: nobody can put anything there between the two
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            return
    _set_access(descriptor, users, mode)


def _set_access(descriptor: int, users: Users, mode: int) -> None:
    os.fchown(descriptor, -1, users.service.gid)
    os.fchmod(descriptor, mode)


def _render_users_conf(users: Users | None) -> str:
    if users is None:
        # named, or supervisord warns that it has not given up root's rights
        user = "[supervisord]\nuser=root\n" if os.geteuid() == 0 else ""
        return f"; generated by `plugvisor up`: all of it runs as one user\n{user}"
    return f"""\
; generated by `plugvisor up`, which was started as root
[supervisord]
user=root

[unix_http_server]
chown=root:{users.service.gid}
chmod=0770

[rpcinterface:plugins]
service_uid={users.service.uid}
service_gid={users.service.gid}
plugins_uid={users.plugins.uid}

[fcgi-program:plugvisor]
user={users.service.uid}
"""
