"""How soon plugins that depend on each other are all ready."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import make_manifest, start_plugvisor
from benchmarks.systems.supervisord import name_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.testbed import Testbed

ROUNDS = 3
RANKS = 5
CHAIN = 10
"""Up to this many plugins are a chain, more are ranks."""
CHECK_PORT = 7008
"""Below the system's ephemeral ports; each plugin has an address of its own."""
POLL_SECONDS = 0.05
"""Each read costs the service a little, which the start should have."""
LISTENS = "import socket, sys, time; time.sleep(float(sys.argv[2])); \
server = socket.create_server((sys.argv[1], {port})); [server.accept()[0].close() for _ in iter(int, 1)]"
"""A plugin that begins to listen after a while."""


def measure_dependencies(testbed: Testbed) -> Iterator[Result]:
    """A chain that one request starts, or ranks that are started together with Plugvisor."""
    names = name_plugins(testbed.plugins)
    if testbed.plugins <= CHAIN:
        yield _measure_chain(names)
    else:
        yield _measure_ranks(names)


def _measure_chain(names: list[str]) -> Result:
    """From the start of the last until the checks of all have passed; each passes at once."""
    manifests = {
        name: _make_manifest(name, number, names[number - 1 : number], ready_after=0, period=0.2, auto_start=False)
        for number, name in enumerate(names)
    }
    seconds = []
    with start_plugvisor(manifests) as stack:
        client = stack.connect_to_api()
        for _ in range(ROUNDS):
            began = time.monotonic()
            client.post(f"/plugin/{names[-1]}/start", may_wait=True)
            client.wait_until(_is_healthy, POLL_SECONDS)
            seconds.append(time.monotonic() - began)
            client.post("/plugins/stop")
    return Result(
        f"start of the last of a chain of {len(names)} until all are ready",
        len(names),
        "s",
        Sample.of(seconds),
        goal=Goal(3.0) if len(names) == CHAIN else None,
    )


def _measure_ranks(names: list[str]) -> Result:
    """Plugins that need half a second each; each requires two of the rank before."""
    size = len(names) // RANKS
    ranks = [names[begin : begin + size] for begin in range(0, size * RANKS, size)]
    many: dict[str, str] = {}
    for rank, before in zip(ranks, [[], *ranks], strict=False):
        for number, name in enumerate(rank):
            required = {before[number], before[number - 1]} if before else set()
            many[name] = _make_manifest(name, len(many), sorted(required), ready_after=0.5, period=0.5)
    chain = [rank[0] for rank in ranks]
    alone = {
        name: _make_manifest(name, number, chain[number - 1 : number], ready_after=0.5, period=0.5)
        for number, name in enumerate(chain)
    }
    seconds: dict[str, list[float]] = {"many": [], "alone": []}
    for _ in range(ROUNDS):
        for key, manifests in (("many", many), ("alone", alone)):
            with start_plugvisor(manifests) as stack:
                stack.connect_to_api().wait_until(_is_healthy, POLL_SECONDS)
                seconds[key].append(stack.read_seconds())
    return Result(
        f"plugvisor up until all are ready, {RANKS} ranks of {size}",
        len(many),
        "s",
        Sample.of(seconds["many"]),
        f"one chain of {RANKS} alone",
        Sample.of(seconds["alone"]),
        goal=Goal(1.3, is_ratio=True) if len(names) == 100 else None,
    )


def _make_manifest(
    name: str, number: int, required: list[str], *, ready_after: float, period: float, auto_start: bool = True
) -> str:
    address = f"127.1.{number >> 8}.{number & 255}"
    command = (sys.executable, "-I", "-S", "-c", LISTENS.format(port=CHECK_PORT), address, str(ready_after))
    tables = f'[plugin_runtime.checks.port]\ntcp = "{address}:{CHECK_PORT}"\nperiod = {period}\n'
    tables += "".join(f"[plugin_runtime.depends_on.{one}]\n" for one in required)
    return make_manifest(name, command, tables, auto_start=auto_start)


def _is_healthy(status: Mapping[str, Any]) -> bool:
    return status.get("health") == "healthy"
