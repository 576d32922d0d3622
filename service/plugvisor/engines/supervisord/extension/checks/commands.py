"""The commands of `exec` checks, which supervisord runs because it alone may become the plugins' user.

A command is a process beside the plugin's, in a process group of its own and with a process tag of its own, in which
the name is `<plugin>.<check>`: no plugin's id has a dot. While it runs it is a main process. What it leaves behind is
ended as a plugin's orphans are, and so is the command itself when its time or its plugin's process is over. Its output
is discarded.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor.options import signame
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.processes.launch_number import numbering_children
from plugvisor.engines.supervisord.extension.processes.process_tag import TAG_VARIABLE, ProcessTag
from plugvisor.engines.supervisord.extension.processes.spawn import describe_spawn_error, spawn
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
    from plugvisor.engines.supervisord.extension.processes.orphans import Orphans
    from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


class CheckCommands:
    """Runs the commands of checks, at most one at a time for each check.

    Args:
        supervisord: the one that runs them.
        run_dir, boot_id: what their process tags consist of.
        report: writes a result to the state stream.
    """

    def __init__(
        self, supervisord: Any, run_dir: str, boot_id: str, orphans: Orphans, report: Callable[[dict[str, Any]], object]
    ) -> None:
        self.logger = supervisord.options.logger
        self._main_processes: dict[int, Any] = supervisord.options.pidhistory
        self._run_dir = run_dir
        self._boot_id = boot_id
        self._orphans = orphans
        self._report = report
        self._commands: dict[str, _Command] = {}
        self._count = 0

    def begin(self, process: PluginProcess, check: str, timeout_seconds: float, number: int) -> None:
        """Run a check's command; its end, or why it cannot be executed, is reported under that number.

        An attempt before it that has not ended is killed, without a report.

        Raises:
            RPCError: supervisord lacks what it takes; that says nothing of the plugin.
        """
        name = f"{process.name}.{check}"
        if name in self._commands:
            self._kill(name)
        self._orphans.kill_now(name)
        self._count += 1
        tag = ProcessTag(self._run_dir, name, f"{self._boot_id}-{self._count}")
        launch = process.launch
        if launch is None or not launch.checks.get(check):
            self._report(_make_result(process.name, number, error="its process was started without this check"))
            return
        try:
            with numbering_children(tag):
                pid = _spawn(launch, launch.checks[check], tag, process.config.uid)
        except OSError as error:
            if error.errno in SHORTAGES:
                raise RPCError(Faults.FAILED, describe_spawn_error(error, launch.directory)) from error
            self._report(_make_result(process.name, number, error=describe_spawn_error(error, launch.directory)))
            return
        self._commands[name] = _Command(process.name, tag, pid, time.monotonic() + timeout_seconds, number)
        self._main_processes[pid] = _Reaped(self, name)
        self._orphans.note_spawned(pid, tag)

    def find_launch(self, name: str) -> ProcessTag | None:
        """The process tag of a command that runs; None if there is none of that name."""
        command = self._commands.get(name)
        return command.tag if command is not None else None

    @guarded
    def step(self) -> float | None:
        """End the commands whose time is over; returns in how many seconds to call this again."""
        now = time.monotonic()
        for name in [name for name, command in self._commands.items() if command.deadline <= now]:
            command = self._kill(name)
            self._report(_make_result(command.plugin, command.number, timed_out=True))
        return min((command.deadline - now for command in self._commands.values()), default=None)

    @guarded
    def end(self, plugin: str | None = None) -> None:
        """End the commands of a plugin, or of all; that says nothing of the plugin, so it is not reported."""
        for name in [name for name, command in self._commands.items() if plugin in (command.plugin, None)]:
            self._kill(name)

    def note_ended(self, name: str, status: int) -> None:
        """A command has ended by itself."""
        command = self._commands.pop(name)
        self._orphans.note_ended(name)
        if os.WIFSIGNALED(status):
            self._report(_make_result(command.plugin, command.number, signal=signame(os.WTERMSIG(status))))
        else:
            self._report(_make_result(command.plugin, command.number, code=os.WEXITSTATUS(status)))

    def _kill(self, name: str) -> _Command:
        """Freeze and kill a command and all that it has started, as orphans."""
        command = self._commands.pop(name)
        self._orphans.note_descendants(command.pid, command.tag)
        self._main_processes.pop(command.pid, None)
        self._orphans.note_ended(name)
        self._orphans.kill_now(name)
        return command

    def recover(self) -> None:
        """A result may be lost: the service waits for it no longer than the command may take."""


class _Command(NamedTuple):
    plugin: str
    tag: ProcessTag
    pid: int
    deadline: float
    number: int


class _Reaped:
    """An entry of `options.pidhistory`: supervisord calls `finish` when the process was reaped."""

    def __init__(self, commands: CheckCommands, name: str) -> None:
        self.pid = 0
        self._commands = commands
        self._name = name

    def finish(self, _pid: int, status: int) -> None:
        """Called when the process was reaped."""
        self._commands.note_ended(self._name, status)


def _make_result(plugin: str, number: int, **result: Any) -> dict[str, Any]:
    return {"name": plugin, "number": number, **result}


def _spawn(launch: Launch, command: list[str], tag: ProcessTag, uid: int | None) -> int:
    environment = launch.build_environment(os.environ) | {TAG_VARIABLE: tag.render()}
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return spawn(launch._replace(arguments=command), environment, descriptor, descriptor, uid)
    finally:
        os.close(descriptor)
