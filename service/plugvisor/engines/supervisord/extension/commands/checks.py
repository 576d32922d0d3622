"""The commands of `exec` checks. The name of each is `<plugin>.<check>`."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from supervisor.options import signame
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.processes.spawn import describe_spawn_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.extension.commands.commands import Commands
    from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


class CheckCommands:
    """Runs the commands of checks, at most one at a time for each check.

    Args:
        report: writes a result to the state stream.
    """

    def __init__(self, commands: Commands, report: Callable[[dict[str, Any]], object]) -> None:
        self._commands = commands
        self._report = report

    def begin(self, process: PluginProcess, check: str, timeout_seconds: float, number: int) -> None:
        """Run a check's command; its end, or why it cannot be executed, is reported under that number.

        An attempt before it that has not ended is killed, without a report.

        Raises:
            RPCError: supervisord lacks what it takes; that says nothing of the plugin.
        """
        name = f"{process.name}.{check}"
        if self._commands.runs(name):
            self._commands.kill(name)
        launch = process.launch
        if launch is None or not launch.checks.get(check):
            self._report(_make_result(process.name, number, error="its process was started without this check"))
            return
        on_end = partial(self._note_ended, process.name, number)
        command = launch._replace(arguments=launch.checks[check])
        try:
            self._commands.begin(name, command, process.config.uid, timeout_seconds, on_end, plugin=process.name)
        except OSError as error:
            if error.errno in SHORTAGES:
                raise RPCError(Faults.FAILED, describe_spawn_error(error, launch.directory)) from error
            self._report(_make_result(process.name, number, error=describe_spawn_error(error, launch.directory)))

    def _note_ended(self, plugin: str, number: int, status: int | None) -> None:
        if status is None:
            self._report(_make_result(plugin, number, timed_out=True))
        elif os.WIFSIGNALED(status):
            self._report(_make_result(plugin, number, signal=signame(os.WTERMSIG(status))))
        else:
            self._report(_make_result(plugin, number, code=os.WEXITSTATUS(status)))


def _make_result(plugin: str, number: int, **result: Any) -> dict[str, Any]:
    return {"name": plugin, "number": number, **result}
