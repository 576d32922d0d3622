"""The meaning of supervisord's faults for each method; the only place that knows them.

Which method raises which was read in `supervisor/rpcinterface.py` and `supervisor/xmlrpc.py` of supervisor 4.3.0.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from plugvisor.errors import (
    AlreadyRunning,
    NotRunning,
    OperationInterrupted,
    StartFailed,
    StopTimeout,
    SupervisorConfused,
    SupervisorUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class NoSuchProgram(Exception):
    """supervisord has no program of that name."""


class StillRunning(Exception):
    """A group cannot be removed while a process of it is alive."""


class ForeignProgram(Exception):
    """supervisord has a program of that name that is no plugin."""


class ConfigurationRejected(Exception):
    """supervisord cannot read its configuration, or a program is not in it."""


class Fault(IntEnum):
    """supervisord's fault codes (`supervisor.xmlrpc.Faults`)."""

    UNKNOWN_METHOD = 1
    INCORRECT_PARAMETERS = 2
    BAD_ARGUMENTS = 3
    SIGNATURE_UNSUPPORTED = 4
    SHUTDOWN_STATE = 6
    BAD_NAME = 10
    BAD_SIGNAL = 11
    NO_FILE = 20
    NOT_EXECUTABLE = 21
    FAILED = 30
    ABNORMAL_TERMINATION = 40
    SPAWN_ERROR = 50
    ALREADY_STARTED = 60
    NOT_RUNNING = 70
    SUCCESS = 80
    ALREADY_ADDED = 90
    STILL_RUNNING = 91
    CANT_REREAD = 92


# The same code means different things to different methods. What is not named here is a defect: a
# fault that the method never raises, or one that says that we called it wrongly.
_MEANINGS: Mapping[str, Mapping[Fault, type[Exception]]] = {
    "supervisor.getPID": {},
    "supervisor.getState": {},
    "supervisor.getSupervisorVersion": {},
    "system.multicall": {},
    # the extension's own (`extension/rpcinterface.py`)
    "plugins.add": {
        Fault.BAD_NAME: ConfigurationRejected,
        Fault.CANT_REREAD: ConfigurationRejected,
        Fault.ALREADY_ADDED: ForeignProgram,
    },
    "plugins.start": {
        Fault.ALREADY_STARTED: AlreadyRunning,
        Fault.SPAWN_ERROR: StartFailed,
        Fault.BAD_NAME: ConfigurationRejected,
        Fault.CANT_REREAD: ConfigurationRejected,
        Fault.ALREADY_ADDED: ForeignProgram,
    },
    "plugins.stop": {
        Fault.BAD_NAME: NotRunning,
        Fault.NOT_RUNNING: NotRunning,
        # it was to be added, and cannot be
        Fault.CANT_REREAD: NotRunning,
        Fault.ALREADY_ADDED: NotRunning,
        Fault.FAILED: StopTimeout,  # kill() failed: whatever the reason, the process is alive
    },
    "plugins.restart": {
        Fault.BAD_NAME: ConfigurationRejected,
        Fault.CANT_REREAD: ConfigurationRejected,
        Fault.ALREADY_ADDED: ForeignProgram,
        Fault.FAILED: StopTimeout,
    },
    "plugins.queue": {
        Fault.BAD_NAME: ConfigurationRejected,
        Fault.CANT_REREAD: ConfigurationRejected,
        Fault.ALREADY_ADDED: ForeignProgram,
        Fault.FAILED: StopTimeout,
    },
    "plugins.fail": {},
    "plugins.end": {Fault.FAILED: StopTimeout},
    "plugins.execute": {
        Fault.BAD_NAME: NotRunning,
        Fault.NOT_RUNNING: NotRunning,
        Fault.FAILED: SupervisorUnavailable,  # it has no processes or open files left
    },
    "plugins.open_worker": {Fault.FAILED: OperationInterrupted},
    "plugins.end_workers": {},
    "plugins.remove": {Fault.BAD_NAME: NoSuchProgram, Fault.STILL_RUNNING: StillRunning},
}
SHUTTING_DOWN = "supervisord is shutting down; try again when it has been restarted"
RUN_FOLDER = "<run folder>"
"""In a message, for the path that clients are not told."""
NO_STREAM = (
    "supervisord answers, but there is no state stream in the run folder; set `stream` in its section "
    f"[rpcinterface:plugins] to {RUN_FOLDER}/state.sock, and restart it"
)
_NO_EXTENSION = f"""\
this supervisord lacks Plugvisor's extension; add these lines to its configuration, and restart it with supervisor \
4.3.0 in the Python that has Plugvisor:
[rpcinterface:plugins]
supervisor.rpcinterface_factory = plugvisor.engines.supervisord.extension.rpcinterface:make_rpcinterface
stream = {RUN_FOLDER}/state.sock
programs = {RUN_FOLDER}/conf.d"""


def translate_fault(method: str, code: int, text: str) -> Exception:
    """The exception that a fault of a method means."""
    if code == Fault.SHUTDOWN_STATE:
        return SupervisorUnavailable(SHUTTING_DOWN)
    if code == Fault.UNKNOWN_METHOD and method.startswith("plugins."):
        return SupervisorUnavailable(_NO_EXTENSION)
    try:
        meaning = _MEANINGS[method][Fault(code)]
    except (KeyError, ValueError):
        return SupervisorConfused(f"supervisord answered {method} with the fault {code}, which makes no sense there")
    return meaning(text)
