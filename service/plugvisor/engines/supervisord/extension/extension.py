"""Puts the parts of the extension together, and connects them to one supervisord's events and main loop."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor import events
from supervisor.states import SupervisorStates

from plugvisor.engines.supervisord.extension.changes import Changes
from plugvisor.engines.supervisord.extension.commands.checks import CheckCommands
from plugvisor.engines.supervisord.extension.commands.commands import Commands
from plugvisor.engines.supervisord.extension.commands.workers import Workers
from plugvisor.engines.supervisord.extension.critical import CriticalPrograms
from plugvisor.engines.supervisord.extension.folder_keeper import FolderKeeper
from plugvisor.engines.supervisord.extension.intents.boot_starts import BootStarts
from plugvisor.engines.supervisord.extension.intents.interface import note_requests
from plugvisor.engines.supervisord.extension.intents.requests import Requests
from plugvisor.engines.supervisord.extension.limits.launch_limits import PluginLimits
from plugvisor.engines.supervisord.extension.patches.adoption import adopt_programs
from plugvisor.engines.supervisord.extension.patches.clock import SteadyClock
from plugvisor.engines.supervisord.extension.patches.event_loop import SLICE_SECONDS, EventLoop, is_plugin
from plugvisor.engines.supervisord.extension.patches.log_files import follow_log_files
from plugvisor.engines.supervisord.extension.patches.operators import Operators
from plugvisor.engines.supervisord.extension.patches.service_socket import ServiceSocket
from plugvisor.engines.supervisord.extension.patches.shortages import prepare_for_shortages
from plugvisor.engines.supervisord.extension.patches.stops import install_stops
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch, LaunchFiles
from plugvisor.engines.supervisord.extension.processes.orphans import Orphans, end_tagged
from plugvisor.engines.supervisord.extension.processes.subreaper import become_subreaper
from plugvisor.engines.supervisord.extension.programs import Programs
from plugvisor.engines.supervisord.extension.reporter import StateReporter
from plugvisor.engines.supervisord.extension.shutdown import Shutdown
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.patches.guard import Guard
    from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess
    from plugvisor.engines.supervisord.extension.processes.process_tag import ProcessTag
    from plugvisor.engines.supervisord.extension.stdout import StdoutLog


class Extension:
    """The extension of one supervisord.

    Args:
        stream: path of the state stream's socket.
        programs_dir: the folder that holds `<name>.conf` for each plugin.
        readers_gid: a group that may read the stream, besides this user.
    """

    def __init__(
        self,
        supervisord: Any,
        stream: str,
        programs_dir: str,
        readers_gid: int | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.logger = supervisord.options.logger
        self.stdout: StdoutLog | None = None
        self.run_dir = str(Path(programs_dir).parent)
        self.boot_id = secrets.token_hex(4)
        self._guard = guard
        self._supervisord = supervisord
        launch_dir = os.path.join(self.run_dir, "launch")
        as_reader = guard.as_service if guard else contextlib.nullcontext
        self._launch_files = LaunchFiles(launch_dir, as_reader)
        starts = BootStarts(launch_dir, as_reader, self.logger.warn)
        self._service_socket = ServiceSocket(supervisord)
        prepare_for_shortages()
        follow_log_files()
        install_stops()
        become_subreaper()
        self.clock = SteadyClock()
        self.clock.install()
        self.limits = PluginLimits(self.run_dir, self.logger.warn)
        self._orphans = Orphans(
            self.run_dir,
            self._find_launch,
            supervisord.options.pidhistory.__contains__,
            self.logger.info,
            guard.as_plugins if guard else None,
            groups=self.limits.groups,
        )
        self._end_earlier_orphans()
        self._operators = Operators(supervisord, programs_dir)
        adopt_programs(supervisord.process_groups, launch_dir, self, starts.find, self._launch_files.has_dependencies)
        self._service_socket.hold()
        self._programs = Programs(supervisord, programs_dir, self._operators)
        # from now on `reloadConfig` reads them too
        supervisord.options.environ_expansions["ENV_PLUGVISOR_PROGRAMS"] = os.path.join(programs_dir, "*.conf")
        self._shutdown = Shutdown(supervisord, self._orphans)
        self._loop = EventLoop(
            supervisord,
            self.clock,
            self._before_poll,
            self._is_clear,
            self._orphans.note_reaped,
            is_held=self._shutdown.holds,
        )
        CriticalPrograms(supervisord, self._loop.run, self.read_launch)
        self._loop.reschedule_all()
        self.reporter = StateReporter(supervisord, stream, readers_gid, self._operators)
        self.requests = Requests(self.run_dir, self.boot_id, self.logger, self._programs.find, self.reporter.note)
        note_requests(self.requests, starts.find)
        self._keeper = FolderKeeper(supervisord, self.run_dir, self.reporter.stream, readers_gid)
        self._commands = Commands(supervisord, self.run_dir, self.boot_id, self._orphans)
        self.changes = Changes(
            supervisord.options,
            self._programs,
            self._orphans,
            self.reporter,
            checks=CheckCommands(self._commands, self.reporter.report_check),
            workers=Workers(self._commands, self.run_dir, guard.plugins_uid if guard else None, readers_gid),
        )
        events.subscribe(events.ProcessStateEvent, self._on_process_state)
        events.subscribe(events.ProcessGroupEvent, self._on_group)
        events.subscribe(events.SupervisorStoppingEvent, self._on_stopping)

    def recover(self) -> None:
        """A change may have been lost (`stream.guarded`)."""
        self.reporter.recover()

    # -- what a plugin's process needs (`plugin_process.Owner`)

    def read_launch(self, name: str) -> Launch:
        """A program's launch file; raises `LaunchFileError`."""
        return self._launch_files.read(name)

    def has_orphans(self, name: str) -> bool:
        """Whether something of an earlier process of a program is alive."""
        return self._orphans.has(name)

    @guarded
    def prepare_spawn(self, process: PluginProcess) -> None:
        """Kill the program's orphans: supervisorctl starts it without asking."""
        self.changes.forget_start(process.name)
        self._orphans.kill_now(process.name)

    @guarded
    def process_spawned(self, process: PluginProcess) -> None:
        """Read what it prints, and remember whose process that is."""
        self._loop.watch(process.dispatchers)
        self._orphans.note_spawned(process.pid, process.tag)

    def process_changed(self, process: PluginProcess) -> None:
        """Something other than its state has changed, such as when it is due."""
        self.reporter.note(process.name)
        self._loop.schedule(process)

    @guarded
    def process_written_to(self, process: PluginProcess) -> None:
        """Write the rest when it has read what the pipe holds."""
        self._loop.watch_input(process.dispatchers)

    @guarded
    def process_stopping(self, process: PluginProcess) -> None:
        """It is about to be sent a signal to end: afterwards nobody could tell whose its descendants are."""
        self._orphans.note_descendants(process.pid, process.tag)

    @guarded
    def process_ending(self, process: PluginProcess) -> None:
        """It is being reaped: its pipes are closed next."""
        self._loop.unwatch(process.dispatchers)
        self._orphans.note_ended(process.name)
        self._commands.end(process.name)

    # -- once in each round of the loop

    def _before_poll(self) -> float | None:
        """Everything has been reaped: go on with orphans and pending starts, and report."""
        self._follow_clock()
        self._keeper.check()
        steps = (self._commands.step, self._go_on_with_orphans, self._shutdown.step, self.requests.step)
        waits_seconds = [seconds for step in steps if (seconds := step()) is not None]
        self._read_programs()
        self.reporter.report()
        wait_seconds = min(waits_seconds, default=None)
        return 0.0 if self.reporter.has_news or self._is_reading else wait_seconds

    @guarded
    def _follow_clock(self) -> None:
        groups = self._supervisord.process_groups.values()
        jump = self.clock.follow(process for group in groups for process in group.processes.values())
        if jump:
            text = f"plugins: the clock was set by {jump:+.1f} seconds; every time is moved with it"
            self.logger.warn(text)  # noqa: G010 - supervisor has its own loggers
            self._loop.reschedule_all()
            self.reporter.note_all()  # the time of the next try is another

    @guarded
    def _go_on_with_orphans(self) -> float | None:
        cleared, wait_seconds = self._orphans.step(self._list_urgent())
        for process in map(self._programs.find, cleared):
            if process is not None:  # else it is a check, or was removed
                self.reporter.note(process.name)
                self._loop.schedule(process)
        self.changes.start_cleared()
        return wait_seconds

    @guarded
    def _read_programs(self) -> None:
        """Go on adding the programs that supervisord did not read at its start; they start when all are known."""
        if self._is_reading:
            added = self._programs.read_more(time.monotonic() + SLICE_SECONDS)
            for process in added or ():
                self.reporter.note(process.name)
                self._loop.schedule(process)

    @property
    def _is_reading(self) -> bool:
        return self._programs.is_reading and bool(self._supervisord.options.mood >= SupervisorStates.RUNNING)

    def _list_urgent(self) -> list[str]:
        """Programs that wait for nothing but the end of their orphans."""
        found = [self._programs.find(name) for name in self._orphans.names]
        return [
            process.name
            for process in found
            if process is not None and (process.pid or process.start_pending or process.is_due)
        ]

    # -- supervisord's events

    @guarded
    def _on_process_state(self, event: Any) -> None:
        process = event.process
        if process.group is not None and process.group.config.name == process.config.name:
            self.reporter.note(process.config.name)
        if is_plugin(process):
            self._loop.schedule(process)

    @guarded
    def _on_group(self, event: Any) -> None:
        self.reporter.note(event.group)
        self._loop.update_groups()
        self._service_socket.hold()
        process = self._programs.find(event.group)
        self.changes.forget_start(event.group, process)  # of one that supervisorctl has removed
        if process is not None:
            self._loop.schedule(process)
        else:
            self._launch_files.forget(event.group)
            self.limits.groups.remove(event.group)

    @guarded
    def _on_stopping(self, _event: Any) -> None:
        """Begin to stop everything; supervisord would stop one group after another, a second or more each."""
        if self._guard is not None:
            self._guard.forbid_restart()
        self.requests.settle()
        self.changes.forget_starts()
        self._commands.end()
        self._shutdown.begin()
        self.reporter.close()

    # -- the beginning and the end

    def _end_earlier_orphans(self) -> None:
        """End the orphans of a supervisord that was killed; nothing is served yet, so this may block."""
        ended = end_tagged(self.run_dir)
        if ended:
            text = f"plugins: ended what an earlier supervisord had left running: {len(ended)} processes"
            self.logger.info(text)

    def _is_clear(self) -> bool:
        """Whether nothing is left that supervisord must wait for; then everything is closed."""
        try:
            if not self._shutdown.is_complete():
                return False
            self._close()
        except Exception:  # noqa: BLE001 - the end of supervisord must not depend on it
            self.logger.error("plugins: cannot end what is left of the plugins")
        return True

    def _close(self) -> None:
        self._loop.close()
        self._service_socket.release()  # before supervisord closes every descriptor and restarts
        self._keeper.close()
        self.limits.groups.close()
        if self._supervisord.options.mood == SupervisorStates.RESTARTING and self.stdout is not None:
            self.stdout.close()  # supervisord closes every descriptor when it restarts itself

    def _find_launch(self, name: str) -> ProcessTag | None:
        process = self._programs.find(name)
        if process is None:
            return self._commands.find_launch(name)
        return process.tag if process.pid else None
