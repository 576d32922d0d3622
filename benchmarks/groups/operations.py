"""Start, stop and reload of one plugin that obeys SIGTERM."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from plugvisor.models.process import ProcessState

from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import Values, run_alternately, time_call
from benchmarks.systems.plugvisor_stack import ApiClient
from benchmarks.systems.state_stream import StateStreamReader
from benchmarks.systems.supervisord import DEFAULT_PLUGIN, INSTANT_PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.systems.plain_supervisord import PlainSupervisord
    from benchmarks.systems.plugvisor_stack import PlugvisorStack
    from benchmarks.testbed import Testbed

ROUNDS = 150
SECONDS = 4.0
SLOW_SECONDS = 3.0
"""For plugins with startsecs 1: each round takes longer than two seconds."""
GOAL_RATIO = 1.5
GOAL_START_MS = 5.0
"""With 10 plugins."""


class Method(Protocol):
    """One way to start, stop and reload a program; each call returns when that is done."""

    name: str

    def start(self, name: str) -> None:
        """Start a program that is stopped."""

    def stop(self, name: str) -> None:
        """Stop a program that is running."""

    def reload(self, name: str) -> None:
        """Stop and start a program that is running."""

    def settle(self, name: str) -> None:
        """Wait until a started program can be stopped; not measured."""


class Api:
    """Plugvisor's HTTP API."""

    name = "plugvisor"

    def __init__(self, stack: PlugvisorStack) -> None:
        self._client = ApiClient(stack.port)

    def start(self, name: str) -> None:
        """The response comes when the process was spawned."""
        self._client.post(f"/plugin/{name}/start")

    def stop(self, name: str) -> None:
        """The response comes when the process is gone."""
        self._client.post(f"/plugin/{name}/stop")

    def reload(self, name: str) -> None:
        """The response comes when the program is running."""
        self._client.post(f"/plugin/{name}/reload")

    def settle(self, name: str) -> None:
        """Nothing to wait for."""


class ExtensionCall:
    """The extension's XML-RPC methods on the same supervisord, and waiting by the state stream as the service does."""

    name = "XML-RPC call plugins.* to the same supervisord"

    def __init__(self, stack: PlugvisorStack) -> None:
        self._plugins = stack.connect().plugins
        self._stream = StateStreamReader(stack.state_stream_path)

    def close(self) -> None:
        """Disconnect."""
        self._stream.close()

    def start(self, name: str) -> None:
        """The result comes when the process was spawned."""
        self._plugins.start(name)

    def stop(self, name: str) -> None:
        """The result comes at once; then it waits for the end."""
        self._stream.discard()
        self._plugins.stop(name)
        self._stream.wait_for(name, _is_stopped)

    def reload(self, name: str) -> None:
        """The result comes at once; then it waits until the program is running."""
        self._stream.discard()
        self._plugins.restart(name)
        self._stream.wait_for(name, _is_running)

    def settle(self, name: str) -> None:
        """Nothing to wait for."""


class SupervisorCall:
    """supervisord's own methods on the same supervisord, and waiting by the state stream."""

    name = "XML-RPC call supervisor.* to the same supervisord"

    def __init__(self, stack: PlugvisorStack) -> None:
        self._supervisor = stack.connect().supervisor
        self._stream = StateStreamReader(stack.state_stream_path)

    def close(self) -> None:
        """Disconnect."""
        self._stream.close()

    def start(self, name: str) -> None:
        """The result comes when the process was spawned."""
        self._supervisor.startProcess(name, False)

    def stop(self, name: str) -> None:
        """The result comes at once; then it waits for the end."""
        self._stream.discard()
        self._supervisor.stopProcess(name, False)
        self._stream.wait_for(name, _is_stopped)

    def reload(self, name: str) -> None:
        """Two calls."""
        self.stop(name)
        self.start(name)

    def settle(self, name: str) -> None:
        """Nothing to wait for."""


class PlainCall:
    """XML-RPC to a supervisord without Plugvisor; its methods wait by themselves."""

    name = "supervisord without Plugvisor, XML-RPC with wait=True"

    def __init__(self, supervisord: PlainSupervisord) -> None:
        self._supervisord = supervisord
        self._supervisor = supervisord.server.supervisor

    def start(self, name: str) -> None:
        """The result comes when the program is running."""
        self._supervisor.startProcess(name, True)

    def stop(self, name: str) -> None:
        """The result comes when the process is gone."""
        self._supervisor.stopProcess(name, True)

    def reload(self, name: str) -> None:
        """Two calls."""
        self.stop(name)
        self.start(name)

    def settle(self, name: str) -> None:
        """Until its process has executed the command, a SIGTERM may be lost."""
        self._supervisord.wait_for_exec(name)


def measure_operations(testbed: Testbed) -> Iterator[Result]:
    """Milliseconds of start, stop and reload, with `startsecs` 0 and with the default."""
    plugins = testbed.plugins
    api, plain = Api(testbed.plugvisor), PlainCall(testbed.plain_supervisord)
    with (
        contextlib.closing(ExtensionCall(testbed.plugvisor)) as extension_call,
        contextlib.closing(SupervisorCall(testbed.plugvisor)) as supervisor_call,
    ):
        references = (extension_call, supervisor_call, plain)
        measured = _run((api, *references), INSTANT_PLUGIN, SECONDS)
    for verb in ("start", "stop", "reload"):
        value = Sample.of(measured[api.name][verb])
        name = f"{verb} over HTTP" + ("" if verb == "stop" else ", startsecs 0")
        for method in references:
            is_goal = method is extension_call and verb != "reload" and plugins == 200
            goal = Goal(GOAL_RATIO, is_ratio=True) if is_goal else None
            if method is extension_call and verb == "start" and plugins == 10:
                goal = Goal(GOAL_START_MS)
            yield Result(name, plugins, "ms", value, method.name, Sample.of(measured[method.name][verb]), goal=goal)
    measured = _run((api, plain), DEFAULT_PLUGIN, SLOW_SECONDS)
    for verb, name in (
        ("start", "start over HTTP, startsecs 1: returns when it is spawned; the reference when it is running"),
        ("reload", "reload over HTTP, startsecs 1"),
    ):
        value, reference = (Sample.of(measured[method.name][verb]) for method in (api, plain))
        yield Result(name, plugins, "ms", value, plain.name, reference)


def _run(methods: tuple[Method, ...], program: str, seconds: float) -> dict[str, Values]:
    return run_alternately(
        {method.name: partial(_measure_round, method, program) for method in methods}, ROUNDS, seconds
    )


def _measure_round(method: Method, program: str) -> dict[str, float]:
    """Stop, start and reload a program that is running; milliseconds."""
    milliseconds = {}
    for verb, call in (("stop", method.stop), ("start", method.start), ("reload", method.reload)):
        milliseconds[verb] = time_call(partial(call, program))
        if verb != "stop":
            method.settle(program)
    return milliseconds


def _is_stopped(process: dict[str, Any]) -> bool:
    return process["state"] == ProcessState.STOPPED and not process["orphans"]


def _is_running(process: dict[str, Any]) -> bool:
    return process["state"] == ProcessState.RUNNING and not process["start_pending"]
