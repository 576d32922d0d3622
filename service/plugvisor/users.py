"""The two users to whom supervisord, started as root, gives its rights away: the service's and the plugins'."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from plugvisor.errors import ConfigurationError

# From <linux/capability.h>; who has no other may still start a process as another user, and end it.
_NEEDED_CAPABILITIES = {5: "KILL", 6: "SETGID", 7: "SETUID"}


@dataclass(frozen=True)
class User:
    """One of the system's users."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class Users:
    """Who runs what, where supervisord is root."""

    service: User
    plugins: User


def find_users(service: str, plugins: str) -> Users:
    """Look both users up and check that they keep apart what they are to keep apart.

    Raises:
        ConfigurationError
    """
    users = Users(_find_user("PLUGVISOR_SERVICE_USER", service), _find_user("PLUGVISOR_PLUGIN_USER", plugins))
    if users.service.uid == users.plugins.uid:
        raise ConfigurationError(
            f"cannot keep the plugins out of the service: PLUGVISOR_SERVICE_USER and PLUGVISOR_PLUGIN_USER are both "
            f"{service!r}; name two users"
        )
    if users.service.gid in os.getgrouplist(users.plugins.name, users.plugins.gid):
        raise ConfigurationError(
            f"cannot keep the plugins out of the service: PLUGVISOR_PLUGIN_USER {plugins!r} is in the group of "
            f"PLUGVISOR_SERVICE_USER {service!r}, whose files it could read; take it out of that group"
        )
    return users


def join_service_group(users: Users) -> None:
    """Make this process, which is root, a member of the service's group, and so supervisord, which it becomes.

    Thus it can hand files to the service by their group, and read the service's, without the right to
    pass by every file's permissions (CAP_CHOWN, CAP_DAC_OVERRIDE), which a container need not have.

    Raises:
        ConfigurationError: this root may not even become other users.
    """
    missing = [name for bit, name in _NEEDED_CAPABILITIES.items() if not _read_capabilities() >> bit & 1]
    if missing:
        raise ConfigurationError(
            f"cannot run the service as {users.service.name!r} and plugins as {users.plugins.name!r}: this process "
            f"lacks {', '.join(f'CAP_{name}' for name in missing)}; add what is missing (docker: "
            f"{' '.join(f'--cap-add {name}' for name in missing)}), or start all of it as one ordinary user"
        )
    if users.service.gid not in os.getgroups():
        os.setgroups([*os.getgroups(), users.service.gid])


def become_user(user: User) -> None:
    """Give up root's rights for those of a user, for good; raises `OSError`."""
    os.initgroups(user.name, user.gid)
    os.setgid(user.gid)
    os.setuid(user.uid)


def _find_user(variable: str, name: str) -> User:
    try:
        entry = pwd.getpwnam(name)
        grp.getgrgid(entry.pw_gid)  # supervisord wants the group to exist as well
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"cannot use {variable} {name!r}: there is no such user with a group; create it, or name another"
        ) from error
    if entry.pw_uid == 0:
        raise ConfigurationError(f"cannot use {variable} {name!r}: that is root; name an ordinary user")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def _read_capabilities() -> int:
    """The effective ones as bits; all of them where this system has none."""
    if sys.platform != "linux":
        return -1
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return -1
    return next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), -1)
