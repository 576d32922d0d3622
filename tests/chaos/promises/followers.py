"""Commands that follow the service all the while, whatever happens to it: `logs -f` and `ls --watch`."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from tests.helpers.running_command import run_command
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.helpers.running_command import RunningCommand
    from tests.helpers.stack import PlugvisorStack

COUNTING = "counting"
"""The plugin whose log is followed; its lines are never the same."""
CATCH_UP_SECONDS = 20.0
"""Within this a command is connected again, and has printed what it has missed."""
POLL_SECONDS = 0.1


class Followers:
    """Compares at rest what the commands have printed with what there is."""

    def __init__(
        self, stack: PlugvisorStack, watcher: ProcessWatcher, log: RunningCommand, listing: RunningCommand
    ) -> None:
        self._stack = stack
        self._watcher = watcher
        self._log = log
        self._listing = listing

    def check(self) -> int:
        """Report what a command has lost, or printed twice, and one that has ended; returns the number of lines."""
        written = self._read_log()  # once: more is written all the while
        self._wait_for(lambda: self._find_lost_lines(written))
        self._wait_for(self._find_other_states)
        printed = Counter(self._log.lines)
        if twice := [line for line, count in printed.items() if count > 1]:
            self._watcher.report(f"12: logs -f printed twice: {twice[:5]} of {len(twice)}; {self._log.words[-2000:]}")
        for one in (self._log, self._listing):
            if one.process.poll() is not None or "Traceback" in one.words:
                self._watcher.report(f"12: {one.process.args!r} {one.process.poll()}: {one.words[-2000:]}")
        return len(printed)

    def _wait_for(self, find_wrong: Callable[[], str]) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while wrong := find_wrong():
            if time.monotonic() > deadline:
                self._watcher.report(f"12: {wrong}")
                return
            time.sleep(POLL_SECONDS)

    def _read_log(self) -> list[str]:
        """The whole lines of the log that is followed."""
        path: Path = self._stack.log_dir / f"{COUNTING}.log"
        with contextlib.suppress(FileNotFoundError):  # it has not been written again since it was deleted
            written = path.read_bytes()
            return written[: written.rfind(b"\n") + 1].decode(errors="replace").splitlines()
        return []

    def _find_lost_lines(self, written: list[str]) -> str:
        printed = {*self._log.lines}
        if lost := [line for line in written if line not in printed]:
            return f"logs -f has not printed {lost[:5]} of {len(lost)}; {self._log.words[-2000:]}"
        return ""

    def _find_other_states(self) -> str:
        shown: dict[str, dict[str, Any]] = {}
        before: dict[str, Any] = {}
        for line in self._listing.lines:
            with contextlib.suppress(ValueError):  # it is just being written
                before = json.loads(line)
                if "id" in before:
                    shown[before["id"]] = before
        shown = {plugin_id: one for plugin_id, one in shown.items() if "removed" not in one}
        try:
            now = self._stack.get("/plugin/status").raise_for_status().json()["plugins"]
        except httpx.HTTPError as error:
            return f"no answer: {error!r}"
        other = {
            plugin_id: (_pick(shown.get(plugin_id)), _pick(now.get(plugin_id)))
            for plugin_id in shown.keys() | now.keys()
            if _pick(shown.get(plugin_id)) != _pick(now.get(plugin_id))
        }
        return f"ls --watch shows, and there is: {other}; {self._listing.words[-2000:]}" if other else ""


def _pick(plugin: dict[str, Any] | None) -> tuple[Any, ...] | None:
    return None if plugin is None else tuple(plugin.get(key) for key in ("status", "pid", "detail"))


@contextlib.contextmanager
def follow(stack: PlugvisorStack, watcher: ProcessWatcher) -> Iterator[Followers]:
    """Run the commands until the end of the block; the service must answer until both have begun."""
    with contextlib.ExitStack() as commands:
        running = []
        for number, words in enumerate((["logs", "-f", "-n", "1000", COUNTING], ["ls", "--watch", "--json"])):
            folder = stack.root / f"command-{number}"
            folder.mkdir()
            running.append(commands.enter_context(run_command(stack, folder, *words)))
        stack.post(f"/plugin/{COUNTING}/start")
        wait_for(lambda: all(one.lines for one in running), "the first line of each command", CATCH_UP_SECONDS)
        yield Followers(stack, watcher, *running)
