"""Adding, replacing and removing one program without reading the files of the others."""

from __future__ import annotations

import configparser
import os
import re
import time
from typing import TYPE_CHECKING, Any

from supervisor.options import UnhosedConfigParser
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.generated import is_foreign
from plugvisor.engines.supervisord.extension.patches.log_files import make_folder
from plugvisor.engines.supervisord.extension.patches.operators import get_names
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess
from plugvisor.engines.supervisord.extension.processes.queued_start import NEVER_STARTED

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.patches.operators import Operators

Stamp = tuple[int, int, int]
"""Of a file: when it was written, its size and its inode; every version is a new file."""


class Programs:
    """The programs of a supervisord that are plugins.

    Args:
        programs_dir: the folder that holds `<name>.conf` for each program.
        operators: whose names no plugin can have.
    """

    def __init__(self, supervisord: Any, programs_dir: str, operators: Operators) -> None:
        self._operators = operators
        self._supervisord = supervisord
        self._programs_dir = programs_dir
        self._applied = {name: self._read_stamp(name) for name in supervisord.process_groups}
        names = [name for name in self._list_files() if name not in supervisord.process_groups]
        self._foreign = [name for name in names if is_foreign(self._find_file(name))]
        self._unread = [name for name in names if name not in self._foreign]
        self._read: list[Any] = []

    def read_more(self, until: float) -> list[PluginProcess] | None:
        """Add the programs that supervisord did not read at its start, until a time on the monotonic clock.

        Returns:
            None while there is more to read; then those that were added, in the order in which to start them.
        """
        while self._foreign:
            self._add_foreign(self._foreign.pop())
        while self._unread:
            if time.monotonic() >= until:
                return None
            name = self._unread.pop()
            if not self._is_taken(name):
                try:
                    config = self._parse(name)
                    self._make_group(name, config)
                except RPCError as error:
                    self._log_rejection(error.text)
                    continue
                self._read.append(config)
                self._applied[name] = self._read_stamp(name)
        read, self._read = sorted(self._read), []
        options = self._supervisord.options
        options.process_group_configs = sorted([*options.process_group_configs, *read])
        found = [self.find(config.name) for config in read]
        return [process for process in found if process is not None]

    def will_read(self, name: str) -> bool:
        """Whether a program's file is among those still to be read."""
        return name in self._unread and name not in self._supervisord.process_groups

    @property
    def is_reading(self) -> bool:
        """Whether there are programs that supervisord has still to read."""
        return bool(self._foreign or self._unread or self._read)

    def find(self, name: str) -> PluginProcess | None:
        """A plugin's process; None if there is no program of that name, or it is no plugin."""
        group = self._supervisord.process_groups.get(name)
        process = group.processes.get(name) if group is not None else None
        return process if isinstance(process, PluginProcess) else None

    def get(self, name: str) -> PluginProcess:
        """A plugin's process; raises `RPCError`."""
        process = self.find(name)
        if process is None:
            raise RPCError(Faults.BAD_NAME, name)
        return process

    def prepare(self, name: str) -> PluginProcess:
        """Add a program, or read its file if that has changed, for the next start to apply; nothing is started.

        Raises:
            RPCError: the file of a new program is missing, a file is not what it must be, or the program is no
                plugin; nothing was changed.
        """
        process = self.find(name)
        stamp = self._read_stamp(name)
        if process is not None and stamp in (None, self._applied.get(name)):
            return process  # a file that somebody has removed has not changed
        if process is None and self._is_taken(name):
            raise RPCError(Faults.ALREADY_ADDED, name)
        config = self._parse(name)
        if process is None:
            process = self._add(name, config)
        else:
            process.next_config = config
            if process.is_stopped:
                process.apply_config()
        self._keep_config(name, config)
        self._applied[name] = stamp
        return process

    def remove(self, name: str) -> None:
        """Forget a stopped program; raises `RPCError`."""
        process = self.get(name)
        if not process.is_stopped or process.restarts_by_itself:
            raise RPCError(Faults.STILL_RUNNING, name)
        self._supervisord.remove_process_group(name)
        self._keep_config(name, None)
        self._applied.pop(name, None)

    def _is_taken(self, name: str) -> bool:
        return name in self._supervisord.process_groups or name in self._operators.names

    def _add_foreign(self, name: str) -> None:
        """Add the programs of an operator's file, which supervisord did not read at its start."""
        try:
            parser = self._read_file(name)
            configs = self._read_groups(parser)
        except (RPCError, ValueError, OSError, configparser.Error) as error:
            self._log_rejection(str(error))
            return
        for config in configs:
            config.after_setuid()
            if self._supervisord.add_process_group(config):
                self._keep_config(config.name, config)
        self._operators.names.update(get_names(parser))

    def _add(self, name: str, config: Any) -> PluginProcess:
        process = self._make_group(name, config)
        process.laststart = NEVER_STARTED  # else supervisord starts it by itself
        process.queued.clear()
        return process

    def _make_group(self, name: str, config: Any) -> PluginProcess:
        config.after_setuid()
        group = config.make_group()
        process = group.processes[name]
        if not isinstance(process, PluginProcess):
            raise RPCError(Faults.CANT_REREAD, f"{name} must be run by its launch script")
        self._supervisord.process_groups[name] = group
        return process

    def _log_rejection(self, reason: str) -> None:
        self._supervisord.options.logger.critical(f"plugins: a program was not added: {reason}")  # noqa: G004

    def _list_files(self) -> list[str]:
        try:
            names = os.listdir(self._programs_dir)
        except OSError:
            return []
        return sorted((name.removesuffix(".conf") for name in names if name.endswith(".conf")), reverse=True)

    def _read_stamp(self, name: str) -> Stamp | None:
        try:
            status = os.stat(self._find_file(name))
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _parse(self, name: str) -> Any:
        """One program's group configuration, read as supervisord reads it (`ServerOptions.read_config`)."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise RPCError(Faults.BAD_NAME, name)
        try:
            parser = self._read_file(name)
            configs = self._read_groups(parser)
        except (ValueError, OSError, configparser.Error) as error:
            raise RPCError(Faults.CANT_REREAD, str(error)) from error
        found = [(config.name, process.name) for config in configs for process in config.process_configs]
        if parser.sections() != [f"program:{name}"] or found != [(name, name)]:
            raise RPCError(
                Faults.CANT_REREAD, f"{self._find_file(name)} must hold the section [program:{name}] and no other"
            )
        return configs[0]

    def _read_file(self, name: str) -> Any:
        parser = UnhosedConfigParser()
        parser.expansions = self._supervisord.options.environ_expansions
        if not parser.read(self._find_file(name)):
            raise RPCError(Faults.BAD_NAME, name)
        parser.expand_here(self._programs_dir)
        return parser

    def _read_groups(self, parser: Any) -> Any:
        options = self._supervisord.options
        make_folder(options.childlogdir)  # the parser rejects a log whose folder is gone
        configs = options.process_groups_from_parser(parser)
        for config in configs:
            for process in config.process_configs:
                process.environment = options.configroot.supervisord.environment | process.environment
        return configs

    def _find_file(self, name: str) -> str:
        return os.path.join(self._programs_dir, f"{name}.conf")

    def _keep_config(self, name: str, config: Any | None) -> None:
        """Make supervisord's configuration agree with what it runs, for `addProcessGroup` and its lists."""
        options = self._supervisord.options
        kept = [known for known in options.process_group_configs if known.name != name]
        options.process_group_configs = sorted([*kept, config] if config is not None else kept)
