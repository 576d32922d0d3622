"""When supervisord is ready and when it ends, for systemd."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from supervisor import events
from supervisor.states import ProcessStates, SupervisorStates

from plugvisor.engines.supervisord.extension.patches.operators import SERVICE
from plugvisor.engines.supervisord.extension.service_manager.notify_socket import READY, STOPPING, NotifySocket
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.stream import StateStream


class Notifications:
    """Sends READY=1 once the service runs and follows the state stream, and STOPPING=1 when supervisord is to end."""

    def __init__(self, supervisord: Any, stream: StateStream) -> None:
        self.logger = supervisord.options.logger
        self._supervisord = supervisord
        self._stream = stream
        self._socket = _get_socket()
        self._is_ready = False
        stream.on_reader.append(self._check)
        events.subscribe(events.ProcessStateRunningEvent, self._check)
        events.subscribe(events.Tick5Event, self._check)  # if it could not be sent
        events.subscribe(events.SupervisorStoppingEvent, self._on_stopping)

    def recover(self) -> None:
        """Send it again at the next event."""
        self._is_ready = False

    @guarded
    def _check(self, _event: Any = None) -> None:
        if not self._is_ready and self._stream.readers and self._is_service_running():
            self._is_ready = self._send(READY)

    def _is_service_running(self) -> bool:
        group = self._supervisord.process_groups.get(SERVICE)  # None if something else has started the service
        return group is None or all(process.state == ProcessStates.RUNNING for process in group.processes.values())

    @guarded
    def _on_stopping(self, _event: Any) -> None:
        if self._supervisord.options.mood != SupervisorStates.RESTARTING:
            self._send(STOPPING)

    def _send(self, message: bytes) -> bool:
        """Send a message; returns whether there is nothing more to do about it."""
        try:
            self._socket.send(message)
        except BlockingIOError:  # the receiver does not keep up
            return False
        except OSError as error:
            text = f"plugins: cannot notify the service manager: {error.strerror}"
            self.logger.warn(text)  # noqa: G010 - supervisor has its own loggers
        return True


@functools.cache
def _get_socket() -> NotifySocket:
    """The same for a supervisord that has restarted itself, which finds the variable no more."""
    return NotifySocket()
