"""Runs inside supervisord: puts one program in the place of another, or takes it away, without reading the others."""

from __future__ import annotations

import configparser
import os
import re
from typing import Any

from supervisor.options import UnhosedConfigParser
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.histories import restarts_by_itself
from plugvisor.models.process import ProcessState

_NEVER_STARTED_BUT_STAY_SO = 0.5
"""A `laststart` that supervisord shows as 0 and takes for true: it does not start such a program by itself."""


class Swap:
    """Changes which programs a supervisord has.

    Args:
        programs_dir: the folder that holds `<name>.conf` for each program.
    """

    def __init__(self, supervisord: Any, programs_dir: str) -> None:
        self._supervisord = supervisord
        self._programs_dir = programs_dir

    def replace(self, name: str) -> None:
        """See `PluginsNamespace.replace`; raises `RPCError`, having changed nothing."""
        config = self._parse(name)
        old = self._supervisord.process_groups.get(name)
        if old is not None and old.get_unstopped_processes():
            raise RPCError(Faults.STILL_RUNNING, name)
        config.after_setuid()
        new = config.make_group()
        process = new.processes[name]
        # never started by the swap: supervisord starts what is STOPPED and has no `laststart`
        process.laststart = _NEVER_STARTED_BUT_STAY_SO
        if old is not None and name in old.processes:
            before = old.processes[name]
            process.laststart = before.laststart or _NEVER_STARTED_BUT_STAY_SO
            process.laststop = before.laststop
            process.exitstatus = before.exitstatus
            process.spawnerr = before.spawnerr
            process.state = before.state
            if restarts_by_itself(process):
                process.state = ProcessState.STOPPED.value
        if old is not None:
            _disarm(old)
        self._supervisord.process_groups[name] = new
        self._keep_config(name, config)

    def remove(self, name: str) -> None:
        """See `PluginsNamespace.remove`; raises `RPCError`, having changed nothing."""
        group = self._supervisord.process_groups.get(name)
        if group is None:
            raise RPCError(Faults.BAD_NAME, name)
        if group.get_unstopped_processes():
            raise RPCError(Faults.STILL_RUNNING, name)
        _disarm(group)
        self._supervisord.remove_process_group(name)
        self._keep_config(name, None)

    def _parse(self, name: str) -> Any:
        """One program's group configuration, read as supervisord reads it (`ServerOptions.read_config`)."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise RPCError(Faults.BAD_NAME, name)
        options = self._supervisord.options
        parser = UnhosedConfigParser()
        parser.expansions = options.environ_expansions
        path = os.path.join(self._programs_dir, f"{name}.conf")
        try:
            if not parser.read(path):
                raise RPCError(Faults.BAD_NAME, name)
            parser.expand_here(self._programs_dir)
            configs = options.process_groups_from_parser(parser)
        except (ValueError, OSError, configparser.Error) as error:
            raise RPCError(Faults.CANT_REREAD, str(error)) from error
        found = [(config.name, process.name) for config in configs for process in config.process_configs]
        if parser.sections() != [f"program:{name}"] or found != [(name, name)]:
            raise RPCError(Faults.CANT_REREAD, f"{path} must hold the section [program:{name}] and no other")
        for process_config in configs[0].process_configs:
            process_config.environment = options.configroot.supervisord.environment | process_config.environment
        return configs[0]

    def _keep_config(self, name: str, config: Any | None) -> None:
        """What supervisord has read must agree with what it runs, for `addProcessGroup` and for its lists."""
        options = self._supervisord.options
        kept = [known for known in options.process_group_configs if known.name != name]
        options.process_group_configs = sorted([*kept, config] if config is not None else kept)


def _disarm(group: Any) -> None:
    """supervisord may be in the middle of a round with this group in its list: nothing must start there."""
    for process in group.processes.values():
        process.laststart = process.laststart or _NEVER_STARTED_BUT_STAY_SO
        process.state = ProcessState.STOPPED.value
