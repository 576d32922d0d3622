"""Commits of the store against those of a bare loop over SQLite, and what the store costs while nothing happens."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.models.stored.intent import Intent
from plugvisor.store.schema import open_database
from plugvisor.store.store import Store
from plugvisor.store.tables.intents import save_intent

from benchmarks.result import Result, Sample
from benchmarks.rounds import run_alternately
from benchmarks.systems.supervisord import name_plugins

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from benchmarks.testbed import Testbed

ROUNDS = 7
WRITES = 300
IDLE_SECONDS = 20.0
BARE = "a bare loop over SQLite"


def measure_store(testbed: Testbed) -> Iterator[Result]:
    """Each write is on the disk before the next one of the same caller begins."""
    names = name_plugins(testbed.plugins)
    # the temporary folder can be in memory, and a commit must reach a disk
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as root, asyncio.Runner() as runner:
        store = Store(Path(root) / "state")
        runner.run(store.open())
        connection = open_database(Path(root) / "bare.db")
        measured = run_alternately(
            {
                "one": lambda: runner.run(_write(store, names, callers=1)),
                "many": lambda: runner.run(_write(store, names, callers=len(names))),
                "bare": partial(_commit, connection, names),
            },
            ROUNDS,
            seconds=30,
        )
        connection.close()
        idle = runner.run(_measure_idle())
        runner.run(store.close())
    bare = Sample.typical(measured["bare"]["per_second"])
    for what, name in (("one caller", "one"), (f"{len(names)} callers at once", "many")):
        yield Result(
            f"durable writes of {what}",
            testbed.plugins,
            "commits/s",
            Sample.typical(measured[name]["per_second"]),
            BARE,
            bare,
            more_is_better=True,
        )
    yield Result("CPU of an idle store", testbed.plugins, "%", Sample(idle, None, 1))


def _save(connection: sqlite3.Connection, name: str) -> None:
    save_intent(connection, name, Intent("running", "admin", time.time()))


async def _write(store: Store, names: Sequence[str], callers: int) -> dict[str, float]:
    async def call(name: str) -> None:
        for _ in range(WRITES // 10 if callers > 1 else WRITES):
            await store.write(partial(_save, name=name))

    began = time.perf_counter()
    await asyncio.gather(*(call(name) for name in names[:callers]))
    count = callers * (WRITES // 10) if callers > 1 else WRITES
    return {"per_second": count / (time.perf_counter() - began)}


def _commit(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, float]:
    began = time.perf_counter()
    for number in range(WRITES):
        connection.execute("BEGIN IMMEDIATE")
        _save(connection, names[number % len(names)])
        connection.execute("COMMIT")
    return {"per_second": WRITES / (time.perf_counter() - began)}


async def _measure_idle() -> float:
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used / (time.perf_counter() - began) * 100
