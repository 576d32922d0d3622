"""supervisord's main loop, at a cost that depends on what happens and not on how many programs there are.

supervisor 4.3.0 asks every process and every pipe in each round whether there is something to do: with 1,000 programs
a round takes 5 to 10 ms, and every request waits for one. Here the pipes of plugins stay registered from spawn to end,
and a plugin's process is looked at when its state says that it is due. Programs that are no plugins, and supervisord's
own sockets, are asked in each round, as supervisor does.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import time
import traceback
from typing import TYPE_CHECKING, Any

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.states import ProcessStates, SupervisorStates

from plugvisor.engines.supervisord.extension.patches.waker import Waker
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.extension.patches.clock import SteadyClock

ROUND_SECONDS = 1.0
"""A round is never longer, as in supervisor."""
DEFERRED_SECONDS = 0.05
"""How often a call that waits (`supervisorctl stop`) is looked at."""
SLICE_SECONDS = 0.01
"""How long processes that are due, such as all of them at the start, may hold up everything else."""
MOST_REAPED = 10_000
"""The most orphans that are reaped in one round, whatever time that takes: those that are left make every search
for orphans longer, and on an overloaded machine a plugin that forks all the time would outrun it."""
MOST_DUE = 256
"""So many entries, and four for each program, may wait in the queue of what is due."""

_MASKS = {
    (True, False): selectors.EVENT_READ,
    (False, True): selectors.EVENT_WRITE,
    (True, True): selectors.EVENT_READ | selectors.EVENT_WRITE,
}


class EventLoop:
    """Takes the place of `Supervisor.runforever`.

    Args:
        before_poll: called once in each round, when every state is settled; returns in how many seconds it wants to be
            called again, or None.
        is_clear: whether nothing is left that the end of supervisord must wait for.
        is_held: whether the group of that name is not to be stopped yet.
    """

    def __init__(
        self,
        supervisord: Any,
        clock: SteadyClock,
        before_poll: Callable[[], float | None],
        is_clear: Callable[[], bool],
        on_unknown_reaped: Callable[[], object],
        *,
        is_held: Callable[[str], bool],
    ) -> None:
        self._supervisord = supervisord
        self._options = supervisord.options
        self._clock = clock
        self._before_poll = before_poll
        self._is_held = is_held
        self._is_clear = is_clear
        self._on_unknown_reaped = on_unknown_reaped
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._selector.register(self._waker.reading, selectors.EVENT_READ, self._waker)
        self._asked: dict[int, tuple[Any, int]] = {}  # the descriptors that are asked in each round
        self._due: list[tuple[float, int, PluginProcess]] = []
        self._due_count = 0
        self._other_groups: list[Any] = []
        self.update_groups()

    # -- what the extension tells it

    def update_groups(self) -> None:
        """A group was added or removed."""
        groups = self._supervisord.process_groups.values()
        self._other_groups = [group for group in groups if not all(map(is_plugin, group.processes.values()))]

    def watch(self, dispatchers: dict[int, Any]) -> None:
        """Read from a plugin's new pipes until `unwatch`."""
        for descriptor, dispatcher in dispatchers.items():
            self._forget(descriptor)  # a socket that was closed in this round may have had the same number
            if dispatcher.readable():
                self._selector.register(descriptor, selectors.EVENT_READ, dispatcher)

    def watch_input(self, dispatchers: dict[int, Any]) -> None:
        """Write what waits for a plugin's standard input, as soon as its pipe takes more."""
        for descriptor, dispatcher in dispatchers.items():
            if dispatcher.writable() and descriptor not in self._selector.get_map():
                self._selector.register(descriptor, selectors.EVENT_WRITE, dispatcher)

    def unwatch(self, dispatchers: dict[int, Any]) -> None:
        """The pipes are about to be closed."""
        for descriptor in dispatchers:
            self._unregister(descriptor)

    def schedule(self, process: PluginProcess) -> None:
        """The state of a plugin's process has changed: look at it when it is due."""
        due_at = process.find_due(self._clock.time())
        if due_at is not None:
            self._due_count += 1
            heapq.heappush(self._due, (due_at, self._due_count, process))
            if len(self._due) > MOST_DUE + 4 * len(self._supervisord.process_groups):
                self.reschedule_all()  # most of them were due in a state that is long over

    def reschedule_all(self) -> None:
        """Rebuild the queue: every time that processes remember was moved, or most entries are outdated."""
        self._due.clear()
        for process in self.plugins:
            self.schedule(process)

    @property
    def plugins(self) -> list[PluginProcess]:
        """The process of every plugin."""
        groups = self._supervisord.process_groups.values()
        return [process for group in groups for process in group.processes.values() if is_plugin(process)]

    def close(self) -> None:
        """Watch nothing more: supervisord is about to end, or to close every descriptor and restart."""
        self._waker.close()
        self._selector.close()

    # -- the loop

    def run(self) -> None:
        """Go round until supervisord is to end; then raise `ExitNow`, as `runforever` does."""
        events.notify(events.SupervisorRunningEvent())
        while True:
            if self._options.mood < SupervisorStates.RUNNING and self._shut_down():
                raise asyncore.ExitNow
            wanted_seconds = self._before_poll()
            self._ask_sockets()  # after it: it may have written to them
            for key, mask in self._selector.select(self._find_timeout(wanted_seconds)):
                self._handle(key.fd, key.data, mask)
            self._do_what_is_due()
            self._reap()
            while self._options.signal_receiver._signals_recvd:  # noqa: SLF001 - supervisor takes one in each round
                self._supervisord.handle_signal()
            self._supervisord.tick()

    def _shut_down(self) -> bool:
        """Stop everything; returns whether everything has ended."""
        supervisord = self._supervisord
        if not supervisord.stopping:
            supervisord.stopping = True
            supervisord.stop_groups = sorted(supervisord.process_groups.values())
            events.notify(events.SupervisorStoppingEvent())
        # supervisor stops one group after another, the last first; the extension stops all whose turn it is
        while supervisord.stop_groups and not supervisord.stop_groups[-1].get_unstopped_processes():
            supervisord.stop_groups.pop()
        if supervisord.stop_groups:
            if not self._is_held(supervisord.stop_groups[-1].config.name):
                supervisord.stop_groups[-1].stop_all()
            if time.time() > supervisord.lastshutdownreport + ROUND_SECONDS:
                supervisord.shutdown_report()
            return False
        return self._is_clear()

    def _ask_sockets(self) -> None:
        """Register what supervisord's sockets, and the pipes of programs that are no plugins, wait for."""
        dispatchers: dict[int, Any] = dict(self._options.get_socket_map())
        for group in self._other_groups:
            dispatchers.update(group.get_dispatchers())
        for descriptor, (dispatcher, _) in list(self._asked.items()):
            if dispatchers.get(descriptor) is not dispatcher:
                self._forget(descriptor)
        for descriptor, dispatcher in dispatchers.items():
            mask = _MASKS.get((bool(dispatcher.readable()), bool(dispatcher.writable())), 0)
            if mask == (self._asked[descriptor][1] if descriptor in self._asked else 0):
                continue
            self._forget(descriptor)
            if not mask:
                continue
            try:
                self._selector.register(descriptor, mask, dispatcher)
            except PermissionError:  # epoll takes no regular file, which is always ready
                dispatcher.handle_write_event()
            else:
                self._asked[descriptor] = dispatcher, mask

    def _find_timeout(self, wanted_seconds: float | None) -> float:
        timeouts = [ROUND_SECONDS]
        if wanted_seconds is not None:
            timeouts.append(wanted_seconds)
        if self._due:
            timeouts.append(max(0.0, self._due[0][0] - self._clock.time()))
        if any(getattr(dispatcher, "delay", 0) for dispatcher in self._options.get_socket_map().values()):
            timeouts.append(DEFERRED_SECONDS)
        return min(timeouts)

    def _handle(self, descriptor: int, dispatcher: Any, mask: int) -> None:
        key = self._selector.get_map().get(descriptor)
        if key is None or key.data is not dispatcher:
            return  # closed meanwhile
        try:
            if mask & selectors.EVENT_READ:
                dispatcher.handle_read_event()
            if mask & selectors.EVENT_WRITE:
                dispatcher.handle_write_event()
        except asyncore.ExitNow:
            raise
        except BaseException:  # noqa: BLE001 - as `runforever`: it belongs to the dispatcher
            dispatcher.handle_error()
        is_wanted = descriptor in self._asked or dispatcher is self._waker or dispatcher.readable()
        if not is_wanted and not dispatcher.writable():
            self._unregister(descriptor)  # a plugin has closed its output, or read all of its input

    def _do_what_is_due(self) -> None:
        for group in self._other_groups:
            group.transition()
        until = time.monotonic() + SLICE_SECONDS
        now = self._clock.time()
        while self._due and self._due[0][0] <= now and time.monotonic() < until:
            _, _, process = heapq.heappop(self._due)
            due_at = process.find_due(now)
            is_known = self._supervisord.process_groups.get(process.name) is process.group
            if is_known and due_at is not None and due_at <= now:
                self._transition(process)

    def _transition(self, process: PluginProcess) -> None:
        """Have a process do what is due; if that fails, the others and supervisord go on."""
        try:
            process.transition()
        except Exception:  # noqa: BLE001 - it would end supervisord
            self._options.logger.critical(_describe_failure())
            if process.state == ProcessStates.STARTING and not process.pid:
                process.fail_start("supervisord could not start it; supervisord's log says why")

    def _reap(self) -> None:
        until = time.monotonic() + SLICE_SECONDS
        unknown = 0
        while unknown < MOST_REAPED:
            pid, status = self._options.waitpid()
            if not pid:
                return
            process = self._options.pidhistory.pop(pid, None)
            if process is None:
                unknown += 1
                self._on_unknown_reaped()
                continue
            self._finish(process, pid, status)
            if time.monotonic() > until:
                break
        self._waker.wake()

    def _finish(self, process: Any, pid: int, status: int) -> None:
        """Have a process record its end; even if that fails, it has no process afterwards."""
        try:
            process.finish(pid, status)
        except Exception:  # noqa: BLE001 - it would end supervisord
            self._options.logger.critical(_describe_failure())
            if is_plugin(process):
                process.abandon()
            process.pid = 0

    def _forget(self, descriptor: int) -> None:
        if self._asked.pop(descriptor, None) is not None:
            self._unregister(descriptor)

    def _unregister(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)


def _describe_failure() -> str:
    return f"plugins: {traceback.format_exc()}"


def is_plugin(process: Any) -> bool:
    """Whether a process is a plugin's."""
    return isinstance(process, PluginProcess)
