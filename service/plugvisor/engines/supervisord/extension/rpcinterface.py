"""Runs inside supervisord, as its documented extension point `[rpcinterface:plugins]`.

It tells every change of state at once (`stream.py`), reaps promptly, swaps and removes one program without
reading the others, ends what plugins leave behind (`sweeper.py`), and stops all of them together at the end.
Everything else works without it, slower.

It lives in supervisord's one thread: nothing here blocks, and no exception leaves a callback. What it
relies on in supervisor 4.3.0, which is pinned, is named where it is used.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.states import SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.alarm import Alarm
from plugvisor.engines.supervisord.extension.clock import SteadyClock
from plugvisor.engines.supervisord.extension.guard import Guard
from plugvisor.engines.supervisord.extension.histories import Histories, restarts_by_itself
from plugvisor.engines.supervisord.extension.shortages import prepare_for_shortages
from plugvisor.engines.supervisord.extension.stdout import StdoutLog
from plugvisor.engines.supervisord.extension.stream import StateStream, Waker, guarded
from plugvisor.engines.supervisord.extension.swap import Swap
from plugvisor.engines.supervisord.extension.sweeper import Sweeper
from plugvisor.models.process import ProcessState

HEARTBEAT_SECONDS = 0.5
"""Not sooner after the last line than this; supervisord goes its round every second at least."""
_ENDS = (ProcessState.STOPPED, ProcessState.EXITED, ProcessState.BACKOFF)
_ENDED = (*_ENDS, ProcessState.FATAL)

_instances: list[tuple[Any, Extension]] = []


def make_rpcinterface(
    supervisord: Any,
    stream: str,
    programs: str,
    *,
    log_to_stdout: str = "false",
    service_uid: str = "",
    service_gid: str = "",
    plugins_uid: str = "",
) -> PluginsNamespace:
    """supervisord calls this once for each of its HTTP servers; all of them share one extension.

    Args:
        stream: path of the state stream's socket.
        programs: the folder that holds `<name>.conf` for each plugin.
        log_to_stdout: "true" to write all logs to standard output as well.
        service_uid: where supervisord is root, the user that writes the programs' files.
        service_gid: a group that may read the state stream too.
        plugins_uid: where supervisord is root, the user that every plugin must run as.
    """
    for known, extension in _instances:
        if known is supervisord:
            return PluginsNamespace(extension)
    _instances.clear()  # a supervisord that reloads itself is another object
    guard = Guard(supervisord, int(service_uid), int(plugins_uid)) if plugins_uid else None
    extension = Extension(supervisord, stream, programs, int(service_gid) if service_gid else None, guard)
    if log_to_stdout == "true":
        extension.stdout = StdoutLog(supervisord)
    _instances.append((supervisord, extension))
    return PluginsNamespace(extension)


class PluginsNamespace:
    """The XML-RPC methods `plugins.*`: supervisord publishes every method whose name has no underscore first."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension

    def sync(self) -> int:
        """Write to the state stream what has changed; what this returns, a later line's `seq` reaches.

        @return int result  the sequence number of the last change
        """
        return self._extension.flush()

    def settle(self, name: str) -> bool:
        """Make a program that has exited, and is about to be started again, STOPPED instead.

        @param string name     the program's name
        @return boolean result  False where there was nothing to settle
        """
        return self._extension.settle(name)

    def replace(self, name: str) -> bool:
        """Read one program's file and put it in the place of the stopped program of that name, or add it.

        It is STOPPED afterwards, or EXITED or FATAL as it was, whatever its autostart says.

        @param string name     the program's name
        @return boolean result True
        """
        self._extension.replace(name)
        return True

    def remove(self, name: str) -> bool:
        """Forget a stopped program; it does not come back, even if it was about to be restarted.

        @param string name     the program's name
        @return boolean result True
        """
        self._extension.remove(name)
        return True

    def sweep(self, name: str) -> bool:
        """Tell whether nothing is left of a plugin that has ended, its children included; else ask again soon.

        @param string name     the program's name
        @return boolean result  False while something of it is alive
        """
        return self._extension.sweep(name)


class Extension:
    """Watches one supervisord."""

    def __init__(
        self, supervisord: Any, stream: str, programs: str, readers_gid: int | None = None, guard: Guard | None = None
    ) -> None:
        self.logger = supervisord.options.logger
        self._guard = guard
        self.stdout: StdoutLog | None = None
        self._supervisord = supervisord
        self._swap = Swap(supervisord, programs)
        self._sequence = 0
        self._changed: dict[str, None] = {}  # names, in order
        self._histories = Histories()
        self._wait_statuses: dict[int, int] = {}
        self._last_line = 0.0
        self._clock = SteadyClock()
        self._clock.install()
        prepare_for_shortages()
        self._sweeper = Sweeper(
            str(Path(programs).parent), self._find_main_pid, self.logger.info, guard.as_plugins if guard else None
        )
        self._sweep_in: float | None = None
        self._waker = Waker(self.logger)
        self._alarm = Alarm()
        self._stream = StateStream(stream, self.logger, self._before_poll, self._make_snapshot, readers_gid)
        signal.set_wakeup_fd(self._waker.descriptor, warn_on_full_buffer=False)
        self._waitpid = supervisord.options.waitpid
        supervisord.options.waitpid = self._note_waitpid
        events.subscribe(events.ProcessStateEvent, self._on_process_state)
        events.subscribe(events.ProcessGroupEvent, self._on_group)
        events.subscribe(events.SupervisorStoppingEvent, self._on_stopping)
        self._waker.wake()  # else it sleeps a second before it starts anything

    # -- what the namespace offers

    def flush(self) -> int:
        """Write what has changed since the last time; returns the sequence number of the last line."""
        changed, self._changed = self._changed, {}
        try:
            for name in changed:
                self._sequence += 1
                process = self._find(name)
                if process is None:
                    self._histories.forget(name)
                    self._alarm.forget(name)
                    self._write({"type": "removed", "name": name})
                else:
                    self._write({"type": "process", "process": self._describe(name, process)})
        except Exception:  # whoever called is told too, but the change is lost to the readers
            self.recover()
            raise
        return self._sequence

    def sweep(self, name: str) -> bool:
        """See `PluginsNamespace.sweep`."""
        self._sweep_on()
        return self._sweeper.is_swept(name)

    def settle(self, name: str) -> bool:
        """See `PluginsNamespace.settle`."""
        self._check_mood()
        process = self._find(name)
        if process is None:
            raise RPCError(Faults.BAD_NAME, name)
        if not restarts_by_itself(process):
            return False
        process.change_state(ProcessState.STOPPED.value)  # it has a `laststart`, so it stays that
        return True

    def replace(self, name: str) -> None:
        """See `PluginsNamespace.replace`; raises `RPCError`, having changed nothing."""
        self._check_mood()
        self._swap.replace(name)
        self._alarm.forget(name)
        self._note(name)
        self.flush()

    def remove(self, name: str) -> None:
        """See `PluginsNamespace.remove`; raises `RPCError`, having changed nothing."""
        self._check_mood()
        self._swap.remove(name)
        self.flush()

    # -- callbacks

    def recover(self) -> None:
        """A change may have been lost: every reader must begin anew, with a snapshot."""
        self._stream.disconnect()

    @guarded
    def _before_poll(self) -> None:
        """Once in each round, when everything has been reaped and every state is settled."""
        self._follow_clock()
        self._sweep_on()
        for name in self._histories.end_flapping():
            self._note(name)
        self.flush()
        if time.monotonic() - self._last_line >= HEARTBEAT_SECONDS:
            self._write({"type": "heartbeat"})
        self._set_timer()

    @guarded
    def _on_process_state(self, event: Any) -> None:
        """Note who has changed: its pid and times are not settled yet in the middle of a change."""
        process = event.process
        name = process.config.name
        if process.state in _ENDS:
            self._say_farewell()
        if process.group is None or process.group.config.name != name:
            return  # of a group of several: no plugin's
        state = process.state
        wait_status = self._wait_statuses.pop(process.pid, None) if state in _ENDS else None
        self._histories.note_state(name, process, event.from_state, wait_status)
        if state == ProcessState.STOPPED:
            process.backoff = 0  # else the next start, which a person asks for, has fewer tries
        self._sweep_after(name, state)
        self._alarm.watch(name, process)
        self._note(name)

    @guarded
    def _on_group(self, event: Any) -> None:
        self._note(event.group)

    @guarded
    def _on_stopping(self, _event: Any) -> None:
        """Stop every group at once; supervisord would go one by one, a second or more each."""
        if self._guard is not None:
            self._guard.forbid_restart()
        self.logger.info("plugins: stopping every program at once")
        for group in self._supervisord.process_groups.values():
            self._stop_group(group)
        self._say_farewell()
        self._stream.close_all()
        self._alarm.stop()
        if self._supervisord.options.mood == SupervisorStates.RESTARTING:
            # supervisord closes every descriptor when it begins anew
            signal.set_wakeup_fd(-1)
            self._waker.close()
            if self.stdout is not None:
                self.stdout.close()

    @guarded
    def _stop_group(self, group: Any) -> None:
        group.stop_all()

    def _note_waitpid(self) -> tuple[int | None, int | None]:
        """`ServerOptions.waitpid`, of which supervisord keeps only that a signal ended the process, not which."""
        pid, status = self._waitpid()
        self._keep_wait_status(pid, status)
        return pid, status

    @guarded
    def _keep_wait_status(self, pid: int | None, status: int | None) -> None:
        if pid and status is not None and pid in self._supervisord.options.pidhistory:
            self._wait_statuses[pid] = status

    @guarded
    def _sweep_on(self) -> None:
        """Go on sweeping for a slice, and come back when there is more to do."""
        self._sweep_in = self._sweeper.step()
        if self._sweep_in == 0:
            self._waker.wake()

    @guarded
    def _sweep_after(self, name: str, state: int) -> None:
        """A main process has ended, or is about to begin: nothing of the one before may be there then."""
        if state == ProcessState.STARTING:
            self._sweeper.finish(name)
        elif state in _ENDS:
            self._sweeper.ask(name)

    @guarded
    def _say_farewell(self) -> None:
        """When the last program has ended supervisord ends in the same round: nobody sweeps after that."""
        if self._supervisord.options.mood < SupervisorStates.RUNNING and not any(
            group.get_unstopped_processes() for group in self._supervisord.process_groups.values()
        ):
            self._sweeper.say_farewell()

    # -- parts

    def _find_main_pid(self, name: str) -> int:
        """The process that is the plugin; 0 where there is none, also in the middle of its end."""
        process = self._find(name)
        return process.pid if process is not None and process.state not in _ENDED else 0

    def _note(self, name: str) -> None:
        self._changed[name] = None

    def _find(self, name: str) -> Any | None:
        group = self._supervisord.process_groups.get(name)
        return group.processes.get(name) if group is not None else None

    def _write(self, message: dict[str, Any]) -> None:
        self._last_line = time.monotonic()
        if self._stream.readers:
            self._stream.write(json.dumps(message | {"seq": self._sequence}).encode() + b"\n")

    def _make_snapshot(self) -> bytes:
        self.flush()
        names = self._supervisord.process_groups
        found = [(name, self._find(name)) for name in names]
        processes = [self._describe(name, process) for name, process in found if process is not None]
        return json.dumps({"type": "snapshot", "seq": self._sequence, "processes": processes}).encode() + b"\n"

    def _describe(self, name: str, process: Any) -> dict[str, Any]:
        history = self._histories.get(name)
        return {
            "name": name,
            "state": process.state,
            "pid": process.pid,
            "uptime": time.monotonic() - history.started if process.pid else 0,
            "exit_status": process.exitstatus or 0,
            "spawn_error": process.spawnerr or "",
            "retry_at": process.delay if process.state == ProcessState.BACKOFF else None,
            "restarts": history.restarts,
            "last_exit": history.last_exit,
            "flapping": history.flapping,
        }

    def _follow_clock(self) -> None:
        groups = self._supervisord.process_groups
        jump = self._clock.follow(process for group in groups.values() for process in group.processes.values())
        if jump:
            text = f"plugins: the clock was set by {jump:+.1f} seconds; every time is moved with it"
            self.logger.warn(text)  # noqa: G010 - supervisor has its own loggers
            for name in groups:
                self._note(name)  # when it is tried again is told anew

    def _set_timer(self) -> None:
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            return  # a SIGALRM that comes after the end of Python's own handlers kills
        self._alarm.set(self._clock.time(), self._sweep_in)

    def _check_mood(self) -> None:
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)
