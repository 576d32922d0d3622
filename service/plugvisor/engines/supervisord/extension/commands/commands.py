"""Commands: processes that supervisord runs beside the plugins' main processes, because it alone may become their user.

Each is in a process group of its own, with a process tag of its own whose name has a dot, as no plugin's id has. While
it runs it is a main process. What it leaves behind is ended as a plugin's orphans are, and so is the command itself
when its time is over. Its output is discarded.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.engines.supervisord.extension.processes.launch_number import numbering_children
from plugvisor.engines.supervisord.extension.processes.process_tag import TAG_VARIABLE, ProcessTag
from plugvisor.engines.supervisord.extension.processes.variable_reader import spawn_launch
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
    from plugvisor.engines.supervisord.extension.processes.orphans import Orphans

    OnEnd = Callable[[int | None], object]


class Commands:
    """The commands that run, at most one of each name.

    Args:
        supervisord: the one that runs them.
        run_dir, boot_id: what their process tags consist of.
    """

    def __init__(self, supervisord: Any, run_dir: str, boot_id: str, orphans: Orphans) -> None:
        self.logger = supervisord.options.logger
        self._main_processes: dict[int, Any] = supervisord.options.pidhistory
        self._run_dir = run_dir
        self._boot_id = boot_id
        self._orphans = orphans
        self._running: dict[str, _Command] = {}
        self._count = 0

    def begin(
        self,
        name: str,
        launch: Launch,
        uid: int | None,
        timeout_seconds: float,
        on_end: OnEnd,
        *,
        plugin: str = "",
        stdin: int | None = None,
    ) -> None:
        """Run a command; none of this name may be running, and the orphans of the last one are killed.

        Args:
            on_end: called with its wait status, or None if its time is over; not if it is ended otherwise.
            plugin: it is ended with that plugin's process.
            stdin: a descriptor; None for the null device.

        Raises:
            OSError: it cannot be started.
        """
        self._orphans.kill_now(name)
        self._count += 1
        tag = ProcessTag(self._run_dir, name, f"{self._boot_id}-{self._count}")
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            with numbering_children(tag):
                environment = launch.build_environment(os.environ) | {TAG_VARIABLE: tag.render()}
                pid, reader = spawn_launch(launch, environment, null if stdin is None else stdin, null, uid)
        finally:
            os.close(null)
        if reader is not None:
            reader.close()  # a command that cannot be executed fails
        self._running[name] = _Command(plugin, tag, pid, time.monotonic() + timeout_seconds, on_end)
        self._main_processes[pid] = _Reaped(self, name)
        self._orphans.note_spawned(pid, tag)

    def runs(self, name: str) -> bool:
        """Whether a command of that name runs."""
        return name in self._running

    def find_launch(self, name: str) -> ProcessTag | None:
        """The process tag of a command that runs; None if there is none of that name."""
        command = self._running.get(name)
        return command.tag if command is not None else None

    @guarded
    def step(self) -> float | None:
        """End the commands whose time is over; returns in how many seconds to call this again."""
        now = time.monotonic()
        for name in [name for name, command in self._running.items() if command.deadline <= now]:
            on_end = self._running[name].on_end
            self.kill(name)
            on_end(None)
        return min((command.deadline - now for command in self._running.values()), default=None)

    @guarded
    def end(self, plugin: str | None = None) -> None:
        """End the commands of a plugin, or all; that says nothing of the plugin, so it is not reported."""
        for name in [name for name, command in self._running.items() if plugin in (command.plugin, None)]:
            self.kill(name)

    def kill(self, name: str) -> None:
        """Freeze and kill a command and all that it has started, as orphans."""
        command = self._running.pop(name)
        self._orphans.note_descendants(command.pid, command.tag)
        self._main_processes.pop(command.pid, None)
        self._orphans.note_ended(name)
        self._orphans.kill_now(name)

    def note_ended(self, name: str, status: int) -> None:
        """A command has ended by itself."""
        command = self._running.pop(name)
        self._orphans.note_ended(name)
        command.on_end(status)

    def recover(self) -> None:
        """An end may not be reported: the service waits for it no longer than the command may take."""


class _Command(NamedTuple):
    plugin: str
    tag: ProcessTag
    pid: int
    deadline: float
    on_end: OnEnd


class _Reaped:
    """An entry of `options.pidhistory`: supervisord calls `finish` when the process was reaped."""

    def __init__(self, commands: Commands, name: str) -> None:
        self.pid = 0
        self._commands = commands
        self._name = name

    def finish(self, _pid: int, status: int) -> None:
        """Called when the process was reaped."""
        self._commands.note_ended(self._name, status)
