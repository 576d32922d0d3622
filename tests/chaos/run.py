"""Playing rounds on one Plugvisor, and looking for fewer operations that fail too."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos.activity import Activity
from tests.chaos.author import Author
from tests.chaos.clients import Clients
from tests.chaos.faults import REPORTS, TRACES, Faults
from tests.chaos.promises.boot import BootCheck
from tests.chaos.promises.followers import COUNTING, Followers, follow
from tests.chaos.promises.intents import IntentRecord
from tests.chaos.promises.process_watcher import ProcessWatcher
from tests.chaos.promises.rest import RestCheck
from tests.chaos.promises.start_order import StartOrder
from tests.helpers.processes import find_processes, kill_all
from tests.helpers.stack import run_stack

if TYPE_CHECKING:
    import collections
    from collections.abc import Callable, Iterator, Sequence

    from tests.chaos.cast.cast import Cast
    from tests.chaos.operations import Operation
    from tests.helpers.stack import PlugvisorStack


@dataclass
class Result:
    """What a run found."""

    rounds: int
    seconds: float
    operations: collections.Counter[str]
    answers: collections.Counter[str]
    looks: int
    ordered_starts: int
    violations: list[str]
    last_round: int
    logs: str = ""
    followed: int = 0
    """The lines of a log that `plugvisor logs -f` has printed."""
    suspended: int = 0
    """How often watching was found to be suspended."""

    @property
    def count(self) -> int:
        """How many operations were done."""
        return sum(self.operations.values())

    def __str__(self) -> str:
        counts = [
            ", ".join(f"{count} {kind}" for kind, count in sorted(counter.items()))
            for counter in (self.operations, self.answers)
        ]
        summary = (
            f"{self.rounds} rounds, {self.count} operations in {self.seconds:.0f} s "
            f"({self.count / max(self.seconds, 0.001):.1f} a second), {self.looks} looks at the processes, "
            f"{self.ordered_starts} starts after what they require, {self.followed} lines followed, watching suspended "
            f"{self.suspended} times"
        )
        return "\n".join([summary, *counts, *self.violations, self.logs])


def run_rounds(
    cast: Cast,
    rounds: Iterator[tuple[int, Sequence[Operation]]],
    seconds: float,
    report: Callable[[str], object] = lambda _: None,
    is_over: Callable[[], bool] = lambda: False,
    *,
    users: Sequence[str] = (),
) -> Result:
    """Play rounds on one Plugvisor until the time is over, a promise is broken, or `is_over`.

    Args:
        users: the service's user and the plugins' user, if this is root and they are to be two.
    """
    activity = Activity(cast.plugins)
    played = number = 0
    followed = [0]
    with run_stack() as stack, ProcessWatcher(stack.run_dir, activity) as watcher:
        _prepare_folders(stack, users)
        intents = IntentRecord(stack, watcher)
        author = Author(stack, activity, watcher)
        faults = Faults(stack, activity, watcher, intents, author.write_code)
        order = StartOrder(stack, activity, watcher)
        rest = RestCheck(stack, activity, watcher, order, intents)
        clients = Clients(stack, activity, watcher, faults, intents, author=author)
        for name, behaviour in cast.plugins.items():
            faults.write_plugin(name, auto_start=bool(behaviour.requires))
        began = time.monotonic()
        try:
            stack.up()
            rest.come_to_rest(faults.service_kills)
            for name in cast.plugins:
                faults.write_plugin(name)
            with _follow(cast, stack, watcher) as followers:
                for number, operations in rounds:
                    activity.begin_round(process.plugin_id for process in watcher.read() if process.is_main)
                    clients.play(operations)
                    rest.come_to_rest(faults.service_kills)
                    intents.check()
                    author.check(faults.service_kills)
                    followed += [one.check() for one in followers]
                    played += 1
                    report(f"round {number}: {clients.done.total()} operations, {watcher.looks} looks")
                    if watcher.violations or time.monotonic() - began > seconds or is_over():
                        break
            author.check_secrets()
            if not watcher.violations:
                boot = BootCheck(stack, activity, watcher)
                stack.down()
                boot.check()
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - or nobody would learn what was found until then
            watcher.report(f"the test itself: {traceback.format_exc()}")
        took = time.monotonic() - began
        stack.down()
        order.close()
        rest.check_reports()  # until its end nobody else may have had the port
        result = Result(
            played, took, clients.done, clients.answers, watcher.looks, order.checked, watcher.violations, number
        )
        result.followed, result.suspended = followed[-1], author.suspended
        if watcher.violations:
            names = ("_supervisord", "_server")
            result.logs = "".join(f"--- {name}\n{stack.read_log(name)[-6000:]}" for name in names)
            kept = Path(tempfile.gettempdir()) / f"chaos-{os.getpid()}"
            shutil.copytree(stack.root, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
            result.violations.append(f"its files are in {kept}")
            kill_all(find_processes(stack.root))  # what a supervisord that has ended has left
    return result


@contextlib.contextmanager
def _follow(cast: Cast, stack: PlugvisorStack, watcher: ProcessWatcher) -> Iterator[list[Followers]]:
    if COUNTING not in cast.plugins:
        yield []
        return
    with follow(stack, watcher) as followers:
        yield [followers]


def _prepare_folders(stack: PlugvisorStack, users: Sequence[str]) -> None:
    folders = [stack.root / REPORTS, stack.root / TRACES]
    for folder in folders:
        folder.mkdir()
    if users:
        service, plugins = users
        stack.root.chmod(0o755)
        for folder in folders:
            folder.chmod(0o777)
        stack.log_dir = stack.root / "log"  # root's default is the system's folder for logs
        stack.environ |= {"PLUGVISOR_SERVICE_USER": service, "PLUGVISOR_PLUGIN_USER": plugins}
        stack.environ["PLUGVISOR_LOG_DIR"] = str(stack.log_dir)


def shrink(cast: Cast, operations: Sequence[Operation], users: Sequence[str], tries: int = 3) -> Sequence[Operation]:
    """Fewer operations that still break a promise, at least once in so many tries."""

    def fails(some: Sequence[Operation]) -> bool:
        return any(run_rounds(cast, iter([(0, some)]), seconds=0, users=users).violations for _ in range(tries))

    size = len(operations) // 2
    while size:
        for begin in range(0, len(operations), size):
            fewer = [*operations[:begin], *operations[begin + size :]]
            if fewer and fails(fewer):
                operations = fewer
                break
        else:
            size //= 2
    return operations
