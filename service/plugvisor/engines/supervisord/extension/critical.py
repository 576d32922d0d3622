"""Critical programs: if one of them becomes FATAL, supervisord shuts everything down and exits with status 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.states import SupervisorStates

from plugvisor.engines.supervisord.extension.processes.launch_file import LaunchFileError
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch

EXIT_STATUS = 1


class CriticalPrograms:
    """Ends supervisord when a critical program has failed.

    Args:
        run: supervisord's main loop.
        read_launch: reads a program's launch file.
    """

    def __init__(self, supervisord: Any, run: Callable[[], None], read_launch: Callable[[str], Launch]) -> None:
        self.logger = supervisord.options.logger
        self._options = supervisord.options
        self._run = run
        self._read_launch = read_launch
        self._has_failed = False
        supervisord.runforever = self._run_until_end
        events.subscribe(events.ProcessStateFatalEvent, self._on_fatal)

    def recover(self) -> None:
        """Nothing is lost when a failure could not be examined (`stream.guarded`)."""

    @guarded
    def _on_fatal(self, event: Any) -> None:
        process = event.process
        is_running = self._options.mood >= SupervisorStates.RUNNING
        if is_running and isinstance(process, PluginProcess) and self._is_critical(process):
            text = f"plugins: {process.name!r} is critical and has failed ({process.spawnerr}): shutting down"
            self.logger.critical(text)
            self._has_failed = True
            self._options.mood = SupervisorStates.SHUTDOWN

    def _is_critical(self, process: PluginProcess) -> bool:
        try:
            launch = process.launch or self._read_launch(process.name)  # it may never have been started
        except LaunchFileError:
            return False
        return launch.critical

    def _run_until_end(self) -> None:
        try:
            self._run()
        except asyncore.ExitNow:
            if self._has_failed:
                raise SystemExit(EXIT_STATUS) from None  # supervisor makes 0 of the other
            raise
