"""The users that the service and the plugins run as, if supervisord is root."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from plugvisor.errors import ConfigurationError

# From <linux/capability.h>: enough to start a process as another user, and to end it.
_NEEDED_CAPABILITIES = {5: "KILL", 6: "SETGID", 7: "SETUID"}


@dataclass(frozen=True)
class User:
    """A user of the system."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class Users:
    """The two users."""

    service: User
    plugins: User


def find_users(service: str, plugins: str) -> Users:
    """Look up both users, and check that a plugin cannot read the service's files.

    Raises:
        ConfigurationError
    """
    users = Users(_find_user("PLUGVISOR_SERVICE_USER", service), _find_user("PLUGVISOR_PLUGIN_USER", plugins))
    if users.service.uid == users.plugins.uid:
        raise ConfigurationError(
            f"cannot separate the plugins from the service: PLUGVISOR_SERVICE_USER and PLUGVISOR_PLUGIN_USER are both "
            f"{service!r}; name two users"
        )
    if users.service.gid in os.getgrouplist(users.plugins.name, users.plugins.gid):
        raise ConfigurationError(
            f"cannot separate the plugins from the service: PLUGVISOR_PLUGIN_USER {plugins!r} is in the group of "
            f"PLUGVISOR_SERVICE_USER {service!r}, whose files it could read; take it out of that group"
        )
    return users


def join_service_group(users: Users) -> None:
    """Add the service's group to this process, which is root and becomes supervisord.

    It can then share files with the service through their group, without CAP_CHOWN and CAP_DAC_OVERRIDE,
    which a container need not have.

    Raises:
        ConfigurationError: this process lacks the capabilities to switch users.
    """
    missing = [name for bit, name in _NEEDED_CAPABILITIES.items() if not _read_capabilities() >> bit & 1]
    if missing:
        raise ConfigurationError(
            f"cannot run the service as {users.service.name!r} and plugins as {users.plugins.name!r}: this process "
            f"lacks {', '.join(f'CAP_{name}' for name in missing)}; add them (docker: "
            f"{' '.join(f'--cap-add {name}' for name in missing)}), or start Plugvisor as an ordinary user"
        )
    if users.service.gid not in os.getgroups():
        os.setgroups([*os.getgroups(), users.service.gid])


def become_user(user: User) -> None:
    """Switch this process from root to a user, permanently; raises `OSError`."""
    os.initgroups(user.name, user.gid)
    os.setgid(user.gid)
    os.setuid(user.uid)


def permits(status: os.stat_result, user: User, wanted: int) -> bool:
    """Whether a user has rights to a file, given as those of others, such as `S_IWOTH`."""
    mode = status.st_mode
    if status.st_uid == user.uid:
        mode >>= 6
    elif status.st_gid in os.getgrouplist(user.name, user.gid):
        mode >>= 3
    return mode & wanted == wanted


def get_user(uid: int) -> User:
    """The user of that id; raises `ConfigurationError`."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        raise ConfigurationError(f"cannot find the user {uid}: create it again, or restart `plugvisor up`") from error
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def _find_user(variable: str, name: str) -> User:
    try:
        entry = pwd.getpwnam(name)
        grp.getgrgid(entry.pw_gid)  # supervisord requires the group to exist as well
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"cannot use {variable} {name!r}: there is no such user with a group; create it, or name another"
        ) from error
    if entry.pw_uid == 0:
        raise ConfigurationError(f"cannot use {variable} {name!r}: that is root; name an ordinary user")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def _read_capabilities() -> int:
    """Return the effective capabilities as bits; all of them on a system without capabilities."""
    if sys.platform != "linux":
        return -1
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return -1
    return next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), -1)
