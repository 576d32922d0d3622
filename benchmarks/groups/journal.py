"""What the journal and the identities cost: a crash loop, one page of a million entries, the check of one token."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.admin_code import AdminCode
from plugvisor.manager.identities.identities import Identities
from plugvisor.store.schema import open_database
from plugvisor.store.store import FILE_NAME, Store

from benchmarks.groups.remembering import WITHOUT, make_unusable
from benchmarks.machine import read_cpu_seconds
from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import time_call
from benchmarks.systems.plugvisor_stack import ApiClient, make_manifest, make_manifests, start_plugvisor
from benchmarks.systems.supervisord import DEFAULT_PLUGIN, name_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

LOOP_SECONDS = 20.0
SETTLE_SECONDS = 5.0
RESTART = "restart.delay = 0.5\nrestart.factor = 1\nrestart.max_restarts = 1000000"
"""Each plugin crashes about twice a second, for ever."""
ENTRIES = 1_000_000
FACTS = b'{"status":"error","state":"EXITED","last_exit":{"code":1,"at":"2026-01-01T00:00:00.000000+00:00"}}'
PAGES = 200
IDENTITIES = 10_000
CHECKS = 20_000


def measure_journal(testbed: Testbed) -> Iterator[Result]:
    """CPU of the service in a crash loop, with the journal and without; pages and tokens."""
    yield from _measure_crash_loop(testbed.plugins)
    yield from _measure_pages(testbed.plugins)
    yield _measure_tokens()


def _measure_crash_loop(plugins: int) -> Iterator[Result]:
    manifests = {name: make_manifest(name, ("false",), startsecs=0, restart=RESTART) for name in name_plugins(plugins)}
    with (
        start_plugvisor(manifests) as journaling,
        start_plugvisor(manifests, make_unusable, PLUGVISOR_REMEMBER="false") as silent,
    ):
        stacks = {"with": journaling, "without": silent}
        for stack in stacks.values():
            stack.connect_to_api()
        time.sleep(SETTLE_SECONDS)
        pids = {name: stack.service_pid for name, stack in stacks.items()}
        before = {name: read_cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(LOOP_SECONDS)
        busy = {name: (read_cpu_seconds(pid) - before[name]) / LOOP_SECONDS * 100 for name, pid in pids.items()}
    yield Result(
        "the journal's CPU while every plugin crashes twice a second",
        plugins,
        "%",
        Sample(busy["with"] - busy["without"], None, 1),
        f"the service's own, {WITHOUT}",
        Sample(busy["without"], None, 1),
        goal=Goal(2.0) if plugins == 100 else None,
    )


def _measure_pages(plugins: int) -> Iterator[Result]:
    fill = partial(write_journal, name_plugins(plugins))
    with start_plugvisor(make_manifests(plugins), fill, PLUGVISOR_JOURNAL_MB="1000") as stack:
        stack.connect_to_api()
        client = ApiClient(stack.port)
        milliseconds = [
            time_call(partial(client.get, f"/journal?plugin_id={DEFAULT_PLUGIN}&limit=100")) for _ in range(PAGES)
        ]
    yield Result(
        f"GET /journal: the 100 newest of one plugin, of {ENTRIES:,}",
        plugins,
        "ms",
        Sample.of(milliseconds),
        goal=Goal(10.0),
    )


def write_journal(names: list[str], folder: Path) -> None:
    """A journal of a million entries, of every plugin in turn."""
    began = time.time() - ENTRIES * 0.01
    rows = (
        (number + 1, began + number * 0.01, began + number * 0.01, "state", names[number % len(names)], FACTS)
        for number in range(ENTRIES)
    )
    with contextlib.closing(open_database(folder / FILE_NAME)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO journal (sequence, at, until, kind, plugin_id, facts) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        connection.execute("COMMIT")


def _measure_tokens() -> Result:
    with tempfile.TemporaryDirectory() as folder:
        microseconds = asyncio.run(_check_tokens(Path(folder)))
    return Result(
        f"whose token it is, of {IDENTITIES:,} identities", IDENTITIES, "µs", Sample.of(microseconds), goal=Goal(50.0)
    )


async def _check_tokens(folder: Path) -> list[float]:
    tokens = [f"pv_{number:022}".encode() for number in range(IDENTITIES)]
    with contextlib.closing(open_database(folder / FILE_NAME)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO identity (name, role, plugins, token_sha256, created_at, created_by) "
            "VALUES (?, 'operator', '[\"web-*\"]', ?, 0, 'admin')",
            ((f"one-{number}", hashlib.sha256(token).digest()) for number, token in enumerate(tokens)),
        )
        connection.execute("COMMIT")
    store = Store(folder)
    await store.open()
    identities = Identities(store, AdminCode("an-admin-code-for-benchmarks"))
    await identities.load()
    microseconds = []
    for number in range(CHECKS):
        token = tokens[number % IDENTITIES]
        began = time.perf_counter()
        identity = identities.find(token)
        microseconds.append((time.perf_counter() - began) * 1e6)
        assert identity is not None
    await store.close()
    return microseconds
