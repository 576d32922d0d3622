"""Requests of operators by supervisor's own interface, for example with supervisorctl.

The service remembers it as what is wanted of the plugin. Only requests are noted, never what becomes of a process: not
a crash, a restart, the end of supervisord, or what the service itself asks for.

They are kept in a file, because supervisord can end while no service runs that would remember them.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.engines.supervisord.extension.intents.request_file import REQUESTS_FILE, read_requests, write_requests
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTLE_SECONDS = 2.0
"""`supervisorctl update` stops a group just as an operator does, and removes it at once when it has ended."""


class _GroupStop(NamedTuple):
    """A stop of a plugin's group, which is a request only if the group stays."""

    process: Any
    launches: int
    asked_at: float
    ended_at: float | None = None
    """When it was first seen without a process, on the monotonic clock."""


class Requests:
    """The last request for each plugin.

    Args:
        run_dir: the folder of the file that keeps them when supervisord ends.
        boot_id: is part of every token, so that no two requests have the same.
        find: a plugin's process by its name.
        on_change: called with a plugin's name when there is another request.
    """

    def __init__(
        self,
        run_dir: str,
        boot_id: str,
        logger: Any,
        find: Callable[[str], Any],
        on_change: Callable[[str], object],
    ) -> None:
        self.logger = logger
        self._path = os.path.join(run_dir, REQUESTS_FILE)
        self._boot_id = boot_id
        self._find = find
        self._on_change = on_change
        self._count = 0
        self._last = self._load()
        self._is_saved = True
        self._has_saved_now = False
        # `plugvisor up` passes its settings on; what is not to be remembered now is not to be found by a later one
        self._is_kept = os.environ.get("PLUGVISOR_REMEMBER") != "false"
        self._group_stops: dict[str, _GroupStop] = {}
        self._is_group_stop = False

    def recover(self) -> None:
        """Forget the stops of groups: the next step must not fail for the same reason (`stream.guarded`)."""
        self._group_stops.clear()

    def get(self, name: str) -> dict[str, Any] | None:
        """The last request, as the state stream shows it; None if there was none."""
        return self._last.get(name)

    def note_start(self, process: Any) -> None:
        """An operator has started a plugin."""
        self._note(process.name, "running", time.time())

    def note_stop(self, process: Any) -> None:
        """An operator has stopped a plugin, or `supervisorctl update` is about to remove or replace it."""
        if self._is_group_stop:
            self._group_stops[process.name] = _GroupStop(process, process.launches, time.time())
        else:
            self._note(process.name, "stopped", time.time())

    @contextlib.contextmanager
    def stopping_group(self) -> Iterator[None]:
        """Treat every stop inside this context as part of a stop of the whole group."""
        self._is_group_stop = True
        try:
            yield
        finally:
            self._is_group_stop = False

    @guarded
    def step(self) -> float | None:
        """Decide on the groups that were stopped.

        Returns:
            in how many seconds to call this again, even if nothing has changed; None if that is not needed.
        """
        now = time.monotonic()
        for name, stop in list(self._group_stops.items()):
            if self._is_over(stop):
                del self._group_stops[name]
            elif not stop.process.is_stopped:
                continue
            elif stop.ended_at is None:
                self._group_stops[name] = stop._replace(ended_at=now)
            elif now - stop.ended_at >= SETTLE_SECONDS:
                self._note(name, "stopped", stop.asked_at)
        self._save()
        self._has_saved_now = False
        ended = [stop.ended_at for stop in self._group_stops.values() if stop.ended_at is not None]
        return max(0.0, min(ended) + SETTLE_SECONDS - now) if ended else None

    @guarded
    def settle(self) -> None:
        """supervisord is stopping: nothing is removed any more."""
        for name, stop in list(self._group_stops.items()):
            if not self._is_over(stop):
                self._note(name, "stopped", stop.asked_at)
        self._group_stops.clear()
        self._save()

    def _is_over(self, stop: _GroupStop) -> bool:
        """Whether the group was removed, or somebody has started it again."""
        process = stop.process
        is_started = process.launches != stop.launches or process.start_pending or process.queued
        return bool(is_started) or self._find(process.name) is not process

    def _note(self, name: str, wanted: str, at: float) -> None:
        self._count += 1
        self._last[name] = {"wanted": wanted, "token": f"{self._boot_id}-{self._count}", "at": at}
        self._is_saved = False
        self._group_stops.pop(name, None)
        self._on_change(name)
        if not self._has_saved_now:  # before it is answered; of all that are asked for at once, the others in `step`
            self._has_saved_now = True
            self._save()

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            return read_requests(self._path)
        except (OSError, ValueError) as error:
            text = f"plugins: cannot read {self._path}, which keeps what operators asked for: {error}"
            self.logger.warn(text)  # noqa: G010 - supervisor has its own loggers
            return {}

    def _save(self) -> None:
        """Write the file if there was a request; the next one tries it again."""
        if self._is_saved or not self._is_kept:
            return
        self._is_saved = True
        try:
            write_requests(self._path, self._last)
        except OSError as error:
            text = f"plugins: cannot write {self._path}, which keeps what operators asked for: {error}"
            self.logger.warn(text)  # noqa: G010
