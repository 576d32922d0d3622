"""Watches and changes the plugins of one supervisord."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor import events
from supervisor.options import ProcessConfig
from supervisor.states import STOPPED_STATES, ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.clock import SteadyClock
from plugvisor.engines.supervisord.extension.event_loop import SLICE_SECONDS, EventLoop, is_plugin
from plugvisor.engines.supervisord.extension.launch_file import (
    Launch,
    LaunchFileError,
    parse_launch,
    read_launch_file,
)
from plugvisor.engines.supervisord.extension.orphans import END_SECONDS, Orphans, end_tagged
from plugvisor.engines.supervisord.extension.plugin_process import NEVER_STARTED, PluginProcess
from plugvisor.engines.supervisord.extension.programs import Programs
from plugvisor.engines.supervisord.extension.shortages import prepare_for_shortages
from plugvisor.engines.supervisord.extension.stream import StateStream, guarded
from plugvisor.engines.supervisord.extension.subreaper import become_subreaper

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.guard import Guard
    from plugvisor.engines.supervisord.extension.process_tag import ProcessTag
    from plugvisor.engines.supervisord.extension.stdout import StdoutLog

AWAITED_SECONDS = 1.0
"""How long a pending start waits for a call that waits for the stop, and may have gone away."""
HEARTBEAT_SECONDS = 0.9
"""Not sooner after the last line than this; supervisord goes round at least every second."""
_MAKE_PROCESS = ProcessConfig.make_process
_ALIVE = (ProcessStates.STARTING, ProcessStates.RUNNING)
_NOT_SPAWNED = (ProcessStates.BACKOFF, ProcessStates.FATAL)


class Extension:
    """See the module.

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
        self._launch_dir = os.path.join(self.run_dir, "launch")
        self._sequence = 0
        self._changed: dict[str, None] = {}  # names, in order
        self._written_at = 0.0
        self._end_by: float | None = None
        self._pending: dict[str, PluginProcess] = {}  # start as soon as nothing of them is alive
        prepare_for_shortages()
        become_subreaper()
        self.clock = SteadyClock()
        self.clock.install()
        self._orphans = Orphans(
            self.run_dir,
            self._find_launch,
            supervisord.options.pidhistory.__contains__,
            self.logger.info,
            guard.as_plugins if guard else None,
        )
        self._end_earlier_orphans()
        self._adopt_programs()
        self._programs = Programs(supervisord, programs_dir)
        # from now on `reloadConfig` reads them too
        supervisord.options.environ_expansions["ENV_PLUGVISOR_PROGRAMS"] = os.path.join(programs_dir, "*.conf")
        self._loop = EventLoop(supervisord, self.clock, self._before_poll, self._is_clear, self._orphans.note_reaped)
        supervisord.runforever = self._loop.run
        self._loop.reschedule_all()
        self._stream = StateStream(stream, self.logger, self._make_snapshot, readers_gid)
        events.subscribe(events.ProcessStateEvent, self._on_process_state)
        events.subscribe(events.ProcessGroupEvent, self._on_group)
        events.subscribe(events.SupervisorStoppingEvent, self._on_stopping)

    # -- what the namespace offers; each raises `RPCError`

    def flush(self) -> int:
        """Write what has changed since the last time; returns the sequence number of the last line."""
        changed, self._changed = self._changed, {}
        try:
            for name in changed:
                self._sequence += 1
                process = self._find_any(name)
                if process is None:
                    self._write({"type": "removed", "name": name})
                else:
                    self._write({"type": "process", "process": _describe(process)})
        except Exception:  # whoever called sees it too, but the change is lost to the readers
            self.recover()
            raise
        return self._sequence

    def sync(self) -> int:
        """See `PluginsNamespace.sync`."""
        self._check_mood()
        return self.flush()

    def add(self, name: str) -> int:
        """See `PluginsNamespace.add`."""
        self._check_mood()
        if not self._programs.will_read(name):
            self._programs.prepare(name)
        self._note(name)
        return self.flush()

    def start(self, name: str) -> int:
        """See `PluginsNamespace.start`."""
        self._check_mood()
        process = self._programs.find(name)
        if process is not None and process.state in _ALIVE:
            raise RPCError(Faults.ALREADY_STARTED, name)
        process = self._programs.prepare(name)
        if process.state == ProcessStates.BACKOFF or process.restarts_by_itself:
            process.change_state(ProcessStates.STOPPED)  # this start is no restart by supervisord
        self._start_when_clear(process)
        if process.state in _NOT_SPAWNED and not process.start_pending:
            self.flush()
            raise RPCError(Faults.SPAWN_ERROR, process.spawnerr)
        return self.flush()

    def stop(self, name: str) -> int:
        """See `PluginsNamespace.stop`."""
        if self._programs.will_read(name):
            self._programs.prepare(name)  # which keeps it from being started
            return self.flush()
        process = self._programs.get(name)
        was_pending = self._cancel_start(process)
        if process.state == ProcessStates.STOPPED and process.find_due(self.clock.time()) is not None:
            process.laststart = NEVER_STARTED  # it waits for its turn at the start of everything
        elif process.restarts_by_itself:
            process.change_state(ProcessStates.STOPPED)
        elif process.state in (*_ALIVE, ProcessStates.BACKOFF):
            self._begin_stop(process)
        elif process.state != ProcessStates.STOPPING and not self._orphans.has(name) and not was_pending:
            raise RPCError(Faults.NOT_RUNNING, name)
        return self.flush()

    def restart(self, name: str) -> int:
        """See `PluginsNamespace.restart`."""
        self._check_mood()
        process = self._programs.prepare(name)
        if process.state in (*_ALIVE, ProcessStates.BACKOFF):
            self._begin_stop(process)
        self._start_when_clear(process)
        return self.flush()

    def remove(self, name: str) -> int:
        """See `PluginsNamespace.remove`."""
        self._check_mood()
        self._programs.remove(name)
        self._pending.pop(name, None)
        self._note(name)
        return self.flush()

    # -- starting and stopping

    def _start_when_clear(self, process: PluginProcess) -> None:
        process.start_pending = True
        self._pending[process.name] = process
        self._note(process.name)
        if not self._orphans.has(process.name):
            self._start_pending(process)

    def _start_pending(self, process: PluginProcess) -> None:
        """Start a process whose start is pending, if nothing of it is alive."""
        if not process.is_stopped or self._supervisord.options.mood < SupervisorStates.RUNNING:
            return
        if time.monotonic() - process.stop_awaited_at < AWAITED_SECONDS:
            return  # `supervisorctl stop` would wait for the end of the new process, if it never saw the old one's
        self._cancel_start(process)
        process.backoff = 0
        process.spawn()
        process.transition()  # with `startsecs` 0 it counts as running at once

    def _cancel_start(self, process: PluginProcess) -> bool:
        process.start_pending = False
        was_pending = self._pending.pop(process.name, None) is not None
        if was_pending:
            self._note(process.name)
        return was_pending

    def _begin_stop(self, process: PluginProcess) -> None:
        if error := process.stop():
            raise RPCError(Faults.FAILED, error)

    # -- what a plugin's process needs (`plugin_process.Owner`)

    def read_launch(self, name: str) -> Launch:
        """A program's launch file; raises `LaunchFileError`."""
        try:
            with self._guard.as_service() if self._guard else contextlib.nullcontext():
                return parse_launch(read_launch_file(os.path.join(self._launch_dir, f"{name}.sh")))
        except OSError as error:
            raise LaunchFileError(f"its launch file cannot be read: {error.strerror}") from error

    def has_orphans(self, name: str) -> bool:
        """Whether something of an earlier process of a program is alive."""
        return self._orphans.has(name)

    @guarded
    def prepare_spawn(self, process: PluginProcess) -> None:
        """Kill what is left of the program: supervisorctl starts it without asking."""
        self._pending.pop(process.name, None)
        self._orphans.kill_now(process.name)

    @guarded
    def process_spawned(self, process: PluginProcess) -> None:
        """Read what it prints, and remember whose process that is."""
        self._orphans.note_spawned(process.pid, process.tag)
        self._loop.watch(process.dispatchers)

    def process_changed(self, process: PluginProcess) -> None:
        """Something other than its state has changed."""
        self._note(process.name)

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

    # -- callbacks

    def recover(self) -> None:
        """A change may have been lost: every reader must begin anew, with a snapshot."""
        self._stream.disconnect()

    def _before_poll(self) -> float | None:
        """Once in each round, when everything has been reaped: go on with orphans and pending starts, and tell."""
        self._follow_clock()
        wait_seconds = self._go_on_with_orphans()
        self._read_programs()
        self._tell()
        return 0.0 if self._changed or self._programs.is_reading else wait_seconds

    @guarded
    def _read_programs(self) -> None:
        """Go on adding the programs that supervisord did not read at its start; they start when all are known."""
        if self._programs.is_reading and self._supervisord.options.mood >= SupervisorStates.RUNNING:
            added = self._programs.read_more(time.monotonic() + SLICE_SECONDS)
            for process in added or ():
                self._note(process.name)
                self._loop.schedule(process)

    @guarded
    def _go_on_with_orphans(self) -> float | None:
        cleared, wait_seconds = self._orphans.step(self._list_urgent())
        for name in cleared:
            self._note(name)
            process = self._programs.find(name)
            if process is not None:
                self._loop.schedule(process)
        for process in list(self._pending.values()):
            if not self._orphans.has(process.name):
                self._start_pending(process)
        return wait_seconds

    @guarded
    def _tell(self) -> None:
        self.flush()
        if time.monotonic() - self._written_at >= HEARTBEAT_SECONDS:
            self._write({"type": "heartbeat"})

    @guarded
    def _on_process_state(self, event: Any) -> None:
        """Note who has changed: its pid and times are not settled yet in the middle of a change."""
        process = event.process
        if process.group is not None and process.group.config.name == process.config.name:
            self._note(process.config.name)
        if is_plugin(process):
            self._loop.schedule(process)

    @guarded
    def _on_group(self, event: Any) -> None:
        self._note(event.group)
        self._loop.update_groups()
        process = self._programs.find(event.group)
        if self._pending.get(event.group, process) is not process:
            del self._pending[event.group]  # removed by supervisorctl
        if process is not None:
            self._loop.schedule(process)

    @guarded
    def _on_stopping(self, _event: Any) -> None:
        """Stop every group at once; supervisord would go one by one, a second or more each."""
        if self._guard is not None:
            self._guard.forbid_restart()
        self.logger.info("plugins: stopping every program at once")
        self._pending.clear()
        for group in self._supervisord.process_groups.values():
            self._stop_group(group)
        self._write({"type": "stopping"})
        self._stream.close_all()

    @guarded
    def _stop_group(self, group: Any) -> None:
        group.stop_all()

    def _is_clear(self) -> bool:
        """Whether no orphan is left, now that every program has ended; else it is ended first."""
        try:
            if self._end_by is None:
                self._end_by = time.monotonic() + END_SECONDS
                self._orphans.end_all()
                self._orphans.step()
            if not self._orphans.names or time.monotonic() > self._end_by:
                self._close()
                return True
        except Exception:  # noqa: BLE001 - the end of supervisord must not depend on it
            self.logger.error("plugins: cannot end what is left of the plugins")
            return True
        return False

    # -- parts

    def _adopt_programs(self) -> None:
        """Make supervisord's programs that are plugins ours, before anything is started."""

        def make_process(config: Any, group: Any = None) -> Any:
            if config.command != f"/bin/sh {self._launch_dir}/{config.name}.sh":
                return _MAKE_PROCESS(config, group)
            process = PluginProcess(config, self)
            process.group = group
            return process

        ProcessConfig.make_process = make_process
        groups = self._supervisord.process_groups
        for name, group in groups.items():
            if [process.config.command for process in group.processes.values()] == [
                f"/bin/sh {self._launch_dir}/{name}.sh"
            ]:
                groups[name] = group.config.make_group()

    def _end_earlier_orphans(self) -> None:
        """End what a supervisord that was killed has left running; nothing is served yet, so this may block."""
        ended = end_tagged(self.run_dir)
        if ended:
            self.logger.info(_describe_earlier(len(ended)))

    def _list_urgent(self) -> list[str]:
        """Programs that wait for nothing but the end of their orphans."""
        groups = self._supervisord.process_groups
        found = [self._programs.find(name) for name in self._orphans.names if name in groups]
        return [
            process.name
            for process in found
            if process is not None and (process.pid or process.start_pending or process.find_due(0.0) is not None)
        ]

    def _find_launch(self, name: str) -> ProcessTag | None:
        process = self._programs.find(name)
        return process.tag if process is not None and process.pid and process.state not in STOPPED_STATES else None

    def _note(self, name: str) -> None:
        self._changed[name] = None

    def _find_any(self, name: str) -> Any | None:
        group = self._supervisord.process_groups.get(name)
        return group.processes.get(name) if group is not None else None

    def _write(self, message: dict[str, Any]) -> None:
        self._written_at = time.monotonic()
        if self._stream.readers:
            self._stream.write(json.dumps(message | {"seq": self._sequence}).encode() + b"\n")

    def _make_snapshot(self) -> bytes:
        self.flush()
        found = [self._find_any(name) for name in self._supervisord.process_groups]
        processes = [_describe(process) for process in found if process is not None]
        return json.dumps({"type": "snapshot", "seq": self._sequence, "processes": processes}).encode() + b"\n"

    @guarded
    def _follow_clock(self) -> None:
        groups = self._supervisord.process_groups
        jump = self.clock.follow(process for group in groups.values() for process in group.processes.values())
        if jump:
            text = f"plugins: the clock was set by {jump:+.1f} seconds; every time is moved with it"
            self.logger.warn(text)  # noqa: G010 - supervisor has its own loggers
            self._loop.reschedule_all()
            for name in groups:
                self._note(name)  # the time of the next try is another

    def _close(self) -> None:
        self._loop.close()
        if self._supervisord.options.mood == SupervisorStates.RESTARTING and self.stdout is not None:
            self.stdout.close()  # supervisord closes every descriptor when it begins anew

    def _check_mood(self) -> None:
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)


def _describe(process: Any) -> dict[str, Any]:
    """A program's line in the state stream; of one that is no plugin the state and the process id."""
    if is_plugin(process):
        return process.describe()  # type: ignore[no-any-return]
    return {"name": process.config.name, "state": process.state, "pid": process.pid, "is_foreign": True}


def _describe_earlier(count: int) -> str:
    return f"plugins: ended {count} processes that an earlier supervisord had left running"
