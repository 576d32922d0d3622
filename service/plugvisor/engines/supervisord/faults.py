"""What each fault of supervisord means for each method; the only place that knows them.

Which method raises which was read in `supervisor/rpcinterface.py` and `supervisor/xmlrpc.py` of supervisor 4.3.0.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from plugvisor.errors import (
    AlreadyRunning,
    NotRunning,
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


class AlreadyAdded(Exception):
    """supervisord has a group of that name already."""


class ConfigurationRejected(Exception):
    """supervisord cannot read its configuration, or a program is not in it."""


class NoExtension(Exception):
    """It is a stock supervisord, which does not know the extension's methods."""


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
    "supervisor.getAllProcessInfo": {},
    "supervisor.getProcessInfo": {Fault.BAD_NAME: NoSuchProgram},
    "supervisor.getPID": {},
    "supervisor.getState": {},
    "supervisor.getSupervisorVersion": {},
    "supervisor.startProcess": {
        Fault.BAD_NAME: NoSuchProgram,
        Fault.NO_FILE: StartFailed,
        Fault.NOT_EXECUTABLE: StartFailed,
        Fault.FAILED: StartFailed,
        Fault.ABNORMAL_TERMINATION: StartFailed,
        Fault.SPAWN_ERROR: StartFailed,
        Fault.ALREADY_STARTED: AlreadyRunning,
    },
    "supervisor.stopProcess": {
        Fault.BAD_NAME: NoSuchProgram,
        Fault.NOT_RUNNING: NotRunning,
        Fault.FAILED: StopTimeout,  # kill() failed: whatever the reason, the process is alive
    },
    "supervisor.signalProcess": {
        Fault.BAD_NAME: NoSuchProgram,
        Fault.NOT_RUNNING: NotRunning,
        Fault.FAILED: StopTimeout,
    },
    "supervisor.reloadConfig": {Fault.CANT_REREAD: ConfigurationRejected},
    "supervisor.addProcessGroup": {Fault.BAD_NAME: ConfigurationRejected, Fault.ALREADY_ADDED: AlreadyAdded},
    "supervisor.removeProcessGroup": {Fault.BAD_NAME: NoSuchProgram, Fault.STILL_RUNNING: StillRunning},
    "system.multicall": {},
    # the extension's own
    "plugins.sync": {},
    "plugins.settle": {Fault.BAD_NAME: NoSuchProgram},
    "plugins.replace": {
        Fault.BAD_NAME: ConfigurationRejected,
        Fault.CANT_REREAD: ConfigurationRejected,
        Fault.STILL_RUNNING: StillRunning,
    },
    "plugins.sweep": {Fault.UNKNOWN_METHOD: NoExtension},
    "plugins.remove": {Fault.BAD_NAME: NoSuchProgram, Fault.STILL_RUNNING: StillRunning},
}


def translate_fault(method: str, code: int, text: str) -> Exception:
    """What a fault of a method means, as an exception to raise."""
    if code == Fault.SHUTDOWN_STATE:
        return SupervisorUnavailable("supervisord is shutting down; try again when it has been started anew")
    try:
        meaning = _MEANINGS[method][Fault(code)]
    except (KeyError, ValueError):
        return SupervisorConfused(f"supervisord answered {method} with the fault {code}, which makes no sense there")
    return meaning(text)
