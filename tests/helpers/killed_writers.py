"""Writers that are killed again and again: `python -m tests.helpers.killed_writers FOLDER KILLS SEED`.

Each is a forked process that begins ten thousand writes to one store, says of each when it was answered, and is killed
somewhere in the middle. Prints as JSON what was answered and is not there.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.models.stored.intent import Intent
from plugvisor.store.schema import open_database
from plugvisor.store.store import FILE_NAME, Store
from plugvisor.store.tables import intents

if TYPE_CHECKING:
    import sqlite3

WRITES = 10_000
WORKERS = 20
"""Each writes the intent of a plugin of its own, and an entry of the journal with it."""
PAUSE_SECONDS = 0.1
"""After a write that was not answered, before the next one."""


def write_until_killed(folder: Path, start: int, answers: int) -> None:
    """Write numbers from `start` on; a line for each answer goes to a pipe."""

    async def work(store: Store, worker: int) -> None:
        for number in range(start + worker, start + WRITES, WORKERS):
            try:
                await store.write(lambda connection, n=number: write_number(connection, n))  # type: ignore[misc]
            except StoreUnavailable:  # on a busy machine it may take longer than the store waits
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                os.write(answers, b"%d\n" % number)

    async def run() -> None:
        store = Store(folder)
        await store.open()
        await asyncio.gather(*(work(store, worker) for worker in range(WORKERS)))

    asyncio.run(run())


def write_number(connection: sqlite3.Connection, number: int) -> None:
    """One change, in two tables."""
    intents.save_intent(connection, f"p{number % WORKERS}", Intent("running", "ops", float(number)))
    connection.execute(
        "INSERT INTO journal (sequence, at, until, kind, plugin_id, facts) VALUES (?1, 0, 0, 'state', '', ?2)",
        (number, "x" * (number % 3000)),
    )


def run_and_kill(folder: Path, start: int, chance: random.Random) -> list[int]:
    """Kill one writer after some answers, or a while after; returns what it has answered."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            write_until_killed(folder, start, writing)
        except BaseException:  # noqa: BLE001 - nothing else would show why this process ends
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    data = bytearray()
    wanted = chance.randrange(1, 300)
    while data.count(b"\n") < wanted and (part := os.read(reading, 65536)):
        data += part
    ends_at = time.monotonic() + chance.random() * 0.005
    while (left := ends_at - time.monotonic()) > 0 and select.select([reading], [], [], left)[0]:
        data += os.read(reading, 65536)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it has ended by itself"
    while part := os.read(reading, 65536):
        data += part
    os.close(reading)
    return [int(line) for line in data.split(b"\n")[:-1]]


def find_lost(path: Path, answered: set[int]) -> list[str]:
    """What was answered and is not there, and what is wrong with the file."""
    with closing(open_database(path)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        there = {row[0] for row in connection.execute("SELECT sequence FROM journal")}
        found = intents.load(connection).intents
    problems += [f"entry {number}" for number in sorted(answered - there)]
    last = {f"p{number % WORKERS}": number for number in sorted(answered)}
    problems += [f"intent of {name}" for name, number in last.items() if found[name].at < number]
    # a change is there as a whole, or not at all
    problems += [f"half of {intent.at}" for intent in found.values() if intent.at not in there]
    return problems


def main(folder: Path, kills: int, seed: int) -> None:
    """Kill that many writers; the next one, or a look at the file, recovers what each has left."""
    chance = random.Random(seed)
    answered: set[int] = set()
    problems: list[str] = []
    for number in range(kills):
        answered.update(run_and_kill(folder, number * WRITES, chance))
        if chance.random() < 0.1 or number == kills - 1:
            problems += find_lost(folder / FILE_NAME, answered)
    sys.stdout.write(json.dumps({"answered": len(answered), "problems": problems, "files": sorted(os.listdir(folder))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
