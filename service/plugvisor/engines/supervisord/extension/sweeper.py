"""Runs inside supervisord: ends what a plugin has left behind, whenever its main process has ended.

In a container the service is another user than the plugins, and could neither find their processes nor end them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.extension.orphans import Census, Ending, Member, end_all, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.1
"""Between two looks at whether what was signalled is gone; they become longer."""
FAREWELL_SECONDS = 2.0
"""So long supervisord waits at its own end for what is left."""


class Sweeper:
    """Takes one census for all who have ended, in slices, and repeats it until nothing of them is left.

    Args:
        run_dir: the run folder, which the mark names.
        find_main_pid: the process id of a plugin's main process, 0 where it has none.
        look_as: see `Census`.
    """

    def __init__(
        self,
        run_dir: str,
        find_main_pid: Callable[[str], int],
        log: Callable[[str], object],
        look_as: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._census = Census(run_dir, look_as)
        self._find_main_pid = find_main_pid
        self._log = log
        self._endings: dict[str, Ending] = {}  # of who has ended, until a census finds nothing of it
        self._counted: set[str] = set()  # those of them who had ended when the census under way began
        self._under_way: Generator[None] | None = None
        self._next_at = 0.0
        self._pause_seconds = SHORTEST_PAUSE_SECONDS
        # what an earlier supervisord has left behind belongs to plugins that have not been started yet
        self._is_first = True

    def ask(self, name: str) -> None:
        """A plugin's main process has ended: end what is left of its family."""
        self._endings.setdefault(name, Ending())
        self._counted.discard(name)
        self._next_at = 0.0
        self._pause_seconds = SHORTEST_PAUSE_SECONDS

    def is_swept(self, name: str) -> bool:
        """Whether nothing is left of a plugin that has ended."""
        return name not in self._endings and not self._is_first

    def step(self) -> float | None:
        """Go on for a slice; returns in how many seconds there is more to do, None where there is not."""
        if not self._is_first and not self._endings:
            return None
        if self._under_way is None and (left := self._next_at - time.monotonic()) > 0:
            return left
        if self._under_way is None:
            self._begin()
        if self._go_on():
            return 0.0
        self._judge()
        return max(0.0, self._next_at - time.monotonic()) if self._endings else None

    def finish(self, name: str) -> None:
        """A plugin is about to be started: whatever is left of it is killed before that, without a pause."""
        if self.is_swept(name):
            return
        self._begin()
        while self._go_on():
            pass
        self._judge(name)

    def say_farewell(self) -> None:
        """End what is left of every plugin, now that no main process is alive; this blocks."""
        left = end_all(self._census.take_now, FAREWELL_SECONDS)
        if left.ended:
            self._log(f"plugins: ended what was left of all plugins: {left}")

    def _begin(self) -> None:
        self._counted = set(self._endings)
        self._under_way = self._census.take()

    def _go_on(self) -> bool:
        """Whether the census goes on."""
        if self._under_way is not None:
            for _ in self._under_way:
                return True
        self._under_way = None
        return False

    def _judge(self, starting: str | None = None) -> None:
        """Signal whom the census has found to be left behind; `starting` is about to be started."""
        left: dict[str, list[Member]] = {}
        for member in self._census.members:
            is_meant = self._is_first or member.plugin_id in self._counted
            if is_meant and member.main_pid != self._find_main_pid(member.plugin_id) and is_alive(member):
                left.setdefault(member.plugin_id, []).append(member)
        self._is_first = False
        for name, members in left.items():
            is_needed = name == starting or self._find_main_pid(name) != 0
            self._endings.setdefault(name, Ending()).press(members, at_once=is_needed)
        for name in self._counted - left.keys():
            ending = self._endings.pop(name)
            if ending.ended:
                self._log(f"plugins: ended what {name!r} had left behind: {ending}")
        self._counted = set()
        self._next_at = time.monotonic() + self._pause_seconds if left else 0.0
        self._pause_seconds = min(self._pause_seconds * 1.5, LONGEST_PAUSE_SECONDS)
