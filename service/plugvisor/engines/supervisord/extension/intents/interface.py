"""Notes what is asked for by supervisor's own interface: starts and stops of one program, of a group, or of all.

supervisor 4.3.0 starts and stops groups, and all programs, by the methods for one program.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from supervisor.options import split_namespec
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.patches.stops import can_stop, stop_process
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plugvisor.engines.supervisord.extension.intents.requests import Requests

_START_PROCESS = SupervisorNamespaceRPCInterface.startProcess
_STOP_GROUP = SupervisorNamespaceRPCInterface.stopProcessGroup
_STOP_ALL = SupervisorNamespaceRPCInterface.stopAllProcesses


def note_requests(requests: Requests, find_start: Callable[[str], bool | None]) -> None:
    """Have requests for plugins noted from now on.

    A start that fails before it has changed anything is none. A stop of a plugin that does not run is one if the next
    boot would start it.

    Args:
        find_start: whether the next boot starts a plugin; None if its section decides.
    """

    def note_needless_stop(process: Any) -> None:
        asked, start = requests.get(process.name), find_start(process.name)
        if start is None:
            start = process.state != ProcessStates.STOPPED or process.config.autostart
        # what was asked for while no service runs is not among the starts at boot
        if start or (asked is not None and asked["wanted"] == "running"):
            requests.note_stop(process)

    def note_needless_stops(processes: Iterable[Any]) -> None:
        for process in processes:
            if isinstance(process, PluginProcess) and not can_stop(process):  # supervisor leaves it out
                note_needless_stop(process)

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
        try:
            answer = stop_process(interface, name, wait)
        except RPCError as error:
            if process is not None and error.code == Faults.NOT_RUNNING:
                note_needless_stop(process)
            raise
        if process is not None:
            requests.note_stop(process)
        return answer

    @functools.wraps(_STOP_GROUP)
    def stop_group(interface: Any, name: str, wait: bool = True) -> Any:
        stop_running = _STOP_GROUP(interface, name, wait)
        group = interface.supervisord.process_groups[name]
        with requests.stopping_group():
            note_needless_stops(group.processes.values())

        @functools.wraps(stop_running)
        def go_on() -> Any:
            with requests.stopping_group():
                return stop_running()

        return go_on

    @functools.wraps(_STOP_ALL)
    def stop_all(interface: Any, wait: bool = True) -> Any:
        answer = _STOP_ALL(interface, wait)
        for group in interface.supervisord.process_groups.values():
            note_needless_stops(group.processes.values())
        return answer

    SupervisorNamespaceRPCInterface.startProcess = start
    SupervisorNamespaceRPCInterface.stopProcess = stop
    SupervisorNamespaceRPCInterface.stopProcessGroup = stop_group
    SupervisorNamespaceRPCInterface.stopAllProcesses = stop_all


def _find_plugin(interface: Any, name: str) -> PluginProcess | None:
    group_name, process_name = split_namespec(name)
    group = interface.supervisord.process_groups.get(group_name)
    process = group.processes.get(process_name) if group is not None else None
    return process if isinstance(process, PluginProcess) else None
