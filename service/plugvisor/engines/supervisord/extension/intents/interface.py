"""Notes what is asked for by supervisor's own interface: starts and stops of one program, of a group, or of all.

supervisor 4.3.0 starts and stops groups, and all programs, by the methods for one program.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from supervisor.options import split_namespec
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface

from plugvisor.engines.supervisord.extension.patches.stops import stop_process
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.intents.requests import Requests

_START_PROCESS = SupervisorNamespaceRPCInterface.startProcess
_STOP_GROUP = SupervisorNamespaceRPCInterface.stopProcessGroup


def note_requests(requests: Requests) -> None:
    """Have requests for plugins noted from now on; one that fails before it has changed anything is none."""

    @functools.wraps(_START_PROCESS)
    def start(interface: Any, name: str, wait: bool = True) -> Any:
        process = _find_plugin(interface, name)
        launches = process.launches if process is not None else 0
        try:
            return _START_PROCESS(interface, name, wait)
        finally:
            if process is not None and process.launches != launches:  # else it was stopping, and stays so
                requests.note_start(process)

    @functools.wraps(stop_process)
    def stop(interface: Any, name: str, wait: bool = True) -> Any:
        process = _find_plugin(interface, name)
        answer = stop_process(interface, name, wait)
        if process is not None:
            requests.note_stop(process)
        return answer

    @functools.wraps(_STOP_GROUP)
    def stop_group(interface: Any, name: str, wait: bool = True) -> Any:
        stop_all = _STOP_GROUP(interface, name, wait)

        @functools.wraps(stop_all)
        def go_on() -> Any:
            with requests.stopping_group():
                return stop_all()

        return go_on

    SupervisorNamespaceRPCInterface.startProcess = start
    SupervisorNamespaceRPCInterface.stopProcess = stop
    SupervisorNamespaceRPCInterface.stopProcessGroup = stop_group


def _find_plugin(interface: Any, name: str) -> PluginProcess | None:
    group_name, process_name = split_namespec(name)
    group = interface.supervisord.process_groups.get(group_name)
    process = group.processes.get(process_name) if group is not None else None
    return process if isinstance(process, PluginProcess) else None
