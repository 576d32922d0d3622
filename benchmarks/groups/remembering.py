"""What it costs to remember: reads, operations and the start, with the store and without."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.models.stored.intent import Intent
from plugvisor.store.schema import open_database
from plugvisor.store.store import FILE_NAME
from plugvisor.store.tables.intents import save_intent

from benchmarks.load import run_load
from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately, time_call
from benchmarks.systems.plugvisor_stack import ApiClient, make_manifest, make_manifests, start_plugvisor
from benchmarks.systems.supervisord import INSTANT_PLUGIN, name_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.testbed import Testbed

CONNECTIONS = 32
ROUNDS = 40
ROUND_SECONDS = 0.4
OPERATIONS = 200
OPERATION_SECONDS = 8.0
BOOTS = 5
WITH, WITHOUT = "with the store", "without a store"
MOST_PLUGINS_FOR_READS = 200
"""More are measured at the start alone."""


def make_unusable(folder: Path) -> None:
    """Put a link where the database should be, which is refused: nothing is remembered."""
    (folder / FILE_NAME).symlink_to("nothing")


def measure_remembering(testbed: Testbed) -> Iterator[Result]:
    """With the store against a service whose store cannot be used, at the same time."""
    if testbed.plugins <= MOST_PLUGINS_FOR_READS:
        yield from _measure_requests(testbed)
    else:
        yield from _measure_boot(testbed.plugins)


def _measure_requests(testbed: Testbed) -> Iterator[Result]:
    manifests = make_manifests(testbed.plugins)
    with (
        start_plugvisor(manifests) as remembering,
        start_plugvisor(manifests, make_unusable, PLUGVISOR_REMEMBER="false") as forgetful,
    ):
        stacks = {WITH: remembering, WITHOUT: forgetful}
        for stack in stacks.values():
            stack.wait_until_up()
        clients = {name: ApiClient(stack.port) for name, stack in stacks.items()}
        loads = {name: partial(_put_load, stack.port) for name, stack in stacks.items()}
        plain = run_alternately(loads, ROUNDS, seconds=60)
        for client in clients.values():
            _set_intents(client, testbed.plugins)
        read = run_alternately(loads, ROUNDS, seconds=60)
        calls = {name: partial(_change, client) for name, client in clients.items()}
        changed = run_alternately(calls, OPERATIONS, OPERATION_SECONDS)
    for name, measured, goal in (
        ("GET /plugins", plain, Goal(0.97, is_ratio=True)),
        ("GET /plugins, every plugin with an intent, which makes the body larger", read, None),
    ):
        yield Result(
            name,
            testbed.plugins,
            "requests/s",
            Sample.typical(measured[WITH]["per_second"]),
            WITHOUT,
            Sample.typical(measured[WITHOUT]["per_second"]),
            more_is_better=True,
            goal=goal,
        )
    for verb in ("start", "stop"):
        yield Result(
            f"{verb} over HTTP with intent and journal",
            testbed.plugins,
            "ms",
            Sample.of(changed[WITH][verb]),
            WITHOUT,
            Sample.of(changed[WITHOUT][verb]),
            goal=Goal(1.1, is_ratio=True),
        )


def _set_intents(client: ApiClient, count: int) -> None:
    for name in name_plugins(count):
        client.post(f"/plugin/{name}/stop")
        client.post(f"/plugin/{name}/start")


def _put_load(port: int) -> dict[str, float]:
    return {"per_second": run_load(port, "/plugins", CONNECTIONS, ROUND_SECONDS).per_second}


def _change(client: ApiClient) -> dict[str, float]:
    return {verb: time_call(partial(client.post, f"/plugin/{INSTANT_PLUGIN}/{verb}")) for verb in ("stop", "start")}


def _measure_boot(plugins: int) -> Iterator[Result]:
    """The same programs run in the end: by intents, or because their manifests say so."""
    running: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for _ in range(BOOTS):
        for name, seconds in running.items():
            is_remembered = name == WITH
            manifests = {one: make_manifest(one, auto_start=not is_remembered) for one in name_plugins(plugins)}
            prepare = partial(write_intents, plugins) if is_remembered else lambda _folder: None
            with start_plugvisor(manifests, prepare) as stack:
                seconds.append(stack.wait_until_up()[1])
    yield Result(
        "plugvisor up until all are running, each by its intent",
        plugins,
        "s",
        Sample.of(running[WITH]),
        "auto_start, no intent",
        Sample.of(running[WITHOUT]),
        goal=Goal(1.05, is_ratio=True),
    )


def write_intents(count: int, folder: Path) -> None:
    """A store that says of each plugin that it is to run."""
    with contextlib.closing(open_database(folder / FILE_NAME)) as connection:
        connection.execute("BEGIN")
        for name in name_plugins(count):
            save_intent(connection, name, Intent("running", "ops", time.time()))
        connection.execute("COMMIT")
