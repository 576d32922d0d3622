"""`supervisorctl stop` of a plugin that has no process, but is about to be started.

supervisor 4.3.0 restarts a process that has ended at once, and answers NOT_RUNNING if it is stopped before that. Under
a restart policy it waits for up to `max_delay`, a queued start for its dependencies, and a restart for the end of the
process before: a stop cancels each.

A stop that waits for the end looks for it every 0.05 seconds; supervisor's own keeps its loop busy until then.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from supervisor import rpcinterface
from supervisor.http import NOT_DONE_YET
from supervisor.states import RUNNING_STATES, STOPPED_STATES

from plugvisor.engines.supervisord.extension.patches.event_loop import DEFERRED_SECONDS
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

if TYPE_CHECKING:
    from collections.abc import Callable

_STOP_PROCESS = rpcinterface.SupervisorNamespaceRPCInterface.stopProcess


def install_stops() -> None:
    """Have the stops of supervisor's own interface, of one program or of all, cancel restarts and queued starts."""
    rpcinterface.SupervisorNamespaceRPCInterface.stopProcess = stop_process
    rpcinterface.isRunning = can_stop
    rpcinterface.isNotRunning = _can_start


@functools.wraps(_STOP_PROCESS)
def stop_process(interface: Any, name: str, wait: bool = True) -> Any:
    """Stop a program, or cancel its start."""
    interface._update("stopProcess")  # noqa: SLF001 - raises while supervisord is shutting down
    _, process = interface._getGroupAndProcess(name)  # noqa: SLF001
    if not isinstance(process, PluginProcess) or not _cancel_start(process):
        answer = _STOP_PROCESS(interface, name, wait)
        if callable(answer):
            answer.delay = DEFERRED_SECONDS
        return answer
    return _make_wait(interface, process) if wait and process.state not in STOPPED_STATES else True


def _cancel_start(process: PluginProcess) -> bool:
    return process.queued.cancel() | process.cancel_pending_start() | process.cancel_restart()


def _make_wait(interface: Any, process: PluginProcess) -> Callable[[], Any]:
    """Make a deferred response, which supervisord calls until the process has ended."""

    def wait() -> Any:
        process.stop_report()
        return True if process.state in STOPPED_STATES else NOT_DONE_YET

    wait.delay = DEFERRED_SECONDS  # type: ignore[attr-defined]
    wait.rpcinterface = interface  # type: ignore[attr-defined]
    return wait


def can_stop(process: Any) -> bool:
    """Whether a program runs, or is about to be started."""
    is_to_start = any(getattr(process, name, False) for name in ("restarts_by_itself", "queued", "start_pending"))
    return process.get_state() in RUNNING_STATES or is_to_start


def _can_start(process: Any) -> bool:
    return process.get_state() not in RUNNING_STATES
