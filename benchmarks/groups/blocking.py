"""How long other callers wait for supervisord while one program is replaced."""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.result import Result, Sample
from benchmarks.rounds import run_alternately, time_call
from benchmarks.systems.plugvisor_stack import ApiClient
from benchmarks.systems.supervisord import INSTANT_PLUGIN
from tests.helpers.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.systems.plain_supervisord import PlainSupervisord
    from benchmarks.systems.plugvisor_stack import PlugvisorStack
    from benchmarks.systems.supervisord import Supervisord
    from benchmarks.testbed import Testbed

ROUNDS = 10
SECONDS = 5.0
PAUSE_SECONDS = 0.001

PLAIN = "supervisord without Plugvisor, what supervisorctl update does"


class OtherCaller(Background):
    """Calls getPID again and again in a thread, from `with` to its end."""

    def __init__(self, supervisord: Supervisord) -> None:
        super().__init__()
        self.longest_ms = 0.0
        self._supervisor = supervisord.connect().supervisor

    def _run(self) -> None:
        while not self._end.wait(PAUSE_SECONDS):
            self.longest_ms = max(self.longest_ms, time_call(self._supervisor.getPID))


def measure_blocking(testbed: Testbed) -> Iterator[Result]:
    """Reload of one plugin whose manifest has changed: how long it takes, and how long others wait."""
    stack, plain = testbed.plugvisor, testbed.plain_supervisord
    reload = partial(ApiClient(stack.port).post, f"/plugin/{INSTANT_PLUGIN}/reload")
    methods = {
        "plugvisor": partial(_change, stack, reload, count(11)),
        PLAIN: partial(_change, plain, partial(_update, plain.connect().supervisor), count(11)),
    }
    measured = run_alternately(methods, ROUNDS, SECONDS)
    for name, key in (
        ("reload with a changed manifest, startsecs 0", "took"),
        ("reload with a changed manifest: longest wait of another XML-RPC caller", "waited"),
    ):
        value, reference = (Sample.of(measured[method][key]) for method in ("plugvisor", PLAIN))
        yield Result(name, testbed.plugins, "ms", value, PLAIN, reference)


def _change(
    supervisord: PlugvisorStack | PlainSupervisord, apply: Callable[[], object], numbers: Iterator[int]
) -> dict[str, float]:
    supervisord.wait_for_exec(INSTANT_PLUGIN)
    supervisord.change_program(INSTANT_PLUGIN, stopwaitsecs=next(numbers))
    with OtherCaller(supervisord) as caller:
        time.sleep(0.05)
        took = time_call(apply)
        supervisord.wait_for_exec(INSTANT_PLUGIN)
    return {"took": took, "waited": caller.longest_ms}


def _update(supervisor: Any) -> None:
    supervisor.reloadConfig()
    supervisor.stopProcessGroup(INSTANT_PLUGIN)
    supervisor.removeProcessGroup(INSTANT_PLUGIN)
    supervisor.addProcessGroup(INSTANT_PLUGIN)
    while not supervisor.getProcessInfo(INSTANT_PLUGIN)["pid"]:
        time.sleep(PAUSE_SECONDS)
