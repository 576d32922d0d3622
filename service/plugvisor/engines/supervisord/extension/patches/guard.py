"""In a supervisord that is root: lets the service run programs as the plugins' user, and nothing else.

The service writes the program files that root reads. An attacker who controls the service could have root run
anything, write to any file as a log, or read any file by a link to it. So once supervisord runs they are read
with the service's own rights, and what they say is checked here. At the start nobody else has had a say:
`plugvisor up` has just written every file, as root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from typing import TYPE_CHECKING, Any

from supervisor.options import ProcessConfig, ProcessGroupConfig, UnhosedConfigParser
from supervisor.states import SupervisorStates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Guard:
    """Checks every program that supervisord reads (`ServerOptions.process_groups_from_parser`)."""

    def __init__(self, supervisord: Any, service_uid: int, plugins_uid: int) -> None:
        self._options = supervisord.options
        self.plugins_uid = plugins_uid
        self._plugins_gid = pwd.getpwuid(plugins_uid).pw_gid
        self._service_uid = service_uid
        self._service_gid = pwd.getpwuid(service_uid).pw_gid
        _read_files_as(self._service_uid, self._service_gid)
        self._log_dir = self._options.childlogdir
        # root's own, which is the service, may be read again as it is, but not otherwise
        self._own = {
            config.name: config for config in self._options.process_group_configs if not self._is_plugin(config)
        }
        self._read_groups = self._options.process_groups_from_parser
        self._options.process_groups_from_parser = self._read_checked

    def as_service(self) -> AbstractContextManager[None]:
        """Be the service's user for a moment, to read what it has written with its rights and no more."""
        return _being(self._service_uid, self._service_gid)

    def as_plugins(self) -> AbstractContextManager[None]:
        """Be the plugins' user for a moment: it may look at their processes, root without CAP_SYS_PTRACE may not."""
        return _being(self.plugins_uid, self._plugins_gid)

    def forbid_restart(self) -> None:
        """End supervisord instead of restarting it: it would read files that the service wrote, without this guard."""
        if self._options.mood == SupervisorStates.RESTARTING:
            self._options.logger.error("plugins: as root this supervisord cannot restart itself; it ends instead")
            self._options.mood = SupervisorStates.SHUTDOWN

    def _read_checked(self, parser: Any) -> Any:
        groups = self._read_groups(parser)
        for group in groups:
            own = self._own.get(group.name)
            is_own = own is not None and type(group) is type(own) and group == own  # its socket included
            if not is_own and not self._is_plugin(group):
                raise ValueError(f"the program {group.name!r} is refused: as root, supervisord runs plugins alone")
        return groups

    def _is_plugin(self, group: Any) -> bool:
        """Whether it is one ordinary program, run by the plugins' user, that logs to its own file and no other."""
        processes = group.process_configs
        if type(group) is not ProcessGroupConfig or [type(process) for process in processes] != [ProcessConfig]:
            return False
        [process] = processes
        return (
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", group.name) is not None
            and process.name == group.name
            and process.uid == self.plugins_uid
            and process.stdout_logfile == os.path.join(self._log_dir, f"{group.name}.log")
            and not isinstance(process.stderr_logfile, str)
        )


@contextlib.contextmanager
def _being(uid: int, gid: int) -> Iterator[None]:
    """Be another user for a moment, with the rights of that user and no more."""
    own_uid, own_gid, own_groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups([gid])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(own_uid)
        os.setegid(own_gid)
        os.setgroups(own_groups)


def _read_files_as(uid: int, gid: int) -> None:
    """Have supervisord read what its configuration includes, and the extension each program's file, as that user."""
    read = UnhosedConfigParser.read

    def read_as(parser: UnhosedConfigParser, filenames: Any, **kwargs: Any) -> Any:
        with _being(uid, gid):
            return read(parser, filenames, **kwargs)

    UnhosedConfigParser.read = read_as
