"""A plugin that attacks its own folder in the install folder, or all of it: `python attacker.py OWN OUTSIDE SEED HOW`.

It undoes each attack after a moment, so that what it attacks is whole in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 0.1
NONSENSE: list[bytes] = [
    b"",
    b"{}",
    b"null",
    b"\xff\xfe" * 100,
    b"[" * 60_000,
    b'{"id":' * 9_000,
    b"x" * 10_000_000,
    b'{"id": "echo", "current": "../../../outside", "versions": {"../../../outside": {}}}',
    b'{"id": "echo", "current": 5, "versions": []}',
    b'{"id": "echo", "current": "1-0", "versions": {"1-0": {}}, "pending": {"version": "/etc"}, "before": {}}',
    b'{"id": "other", "versions": {"1": 1e999}}',
    b'{"id": "echo", "versions": {}, "before": {"before": {"before": {"current": "\\u0000"}}}}',
]
"""Records that are none."""


class Attacks:
    """Every attack is a context manager: what it has done is undone at its end.

    Args:
        own: the folder of the plugin.
        outside: a folder that nobody may change.
    """

    def __init__(self, own: Path, outside: Path, chance: random.Random) -> None:
        self._own = own
        self._root = own.parent
        self._outside = outside
        self._chance = chance

    # -- of its own folder

    def change_current(self) -> contextlib.AbstractContextManager[None]:
        """`current` leads somewhere else."""
        return self._put_in_place(self._own / "current")

    def change_versions(self) -> contextlib.AbstractContextManager[None]:
        """`versions` is something else."""
        return self._put_in_place(self._own / "versions")

    def change_data(self) -> contextlib.AbstractContextManager[None]:
        """`data` is something else."""
        return self._put_in_place(self._own / "data")

    def change_own(self) -> contextlib.AbstractContextManager[None]:
        """The whole folder is something else."""
        return self._put_in_place(self._own)

    def change_record(self) -> contextlib.AbstractContextManager[None]:
        """The record is something else."""
        return self._put_in_place(self._own / "installed.json")

    @contextlib.contextmanager
    def write_record(self) -> Iterator[None]:
        """The record is nonsense."""
        path = self._own / "installed.json"
        before = path.read_bytes()
        path.write_bytes(self._chance.choice(NONSENSE))
        try:
            yield
        finally:
            path.write_bytes(before)

    @contextlib.contextmanager
    def forge_record(self) -> Iterator[None]:
        """The record names versions that are not there, or an update that has never been."""
        path = self._own / "installed.json"
        before = path.read_bytes()
        record = json.loads(before)
        record["versions"]["9-000000000000"] = next(iter(record["versions"].values()), {})
        record[self._chance.choice(["previous", "current"])] = "9-000000000000"
        if self._chance.random() < 0.5:
            record["pending"] = {"version": record.get("current") or "9-000000000000", "previous": "9-000000000000"}
        path.write_text(json.dumps(record))
        try:
            yield
        finally:
            path.write_bytes(before)

    @contextlib.contextmanager
    def add_versions(self) -> Iterator[None]:
        """There are things in `versions` that are no versions."""
        folder = self._own / "versions"
        names = [b"a\nb", b"\xff", b"-rf", b"x" * 255, b"1-000000000000", b".hidden", b"$(reboot)"]
        made = [os.path.join(os.fsencode(folder), name) for name in names]
        for path in made:
            with contextlib.suppress(OSError):
                make = self._chance.choice([os.mkdir, os.mkfifo, lambda path: os.symlink(self._outside, path)])
                make(path)
        yield
        for path in made:
            with contextlib.suppress(OSError):
                os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    @contextlib.contextmanager
    def close(self) -> Iterator[None]:
        """Nobody may look into a folder."""
        path = self._chance.choice([self._own, self._own / "versions", self._own / "data"])
        mode = path.lstat().st_mode & 0o777
        path.chmod(0)
        try:
            yield
        finally:
            path.chmod(mode)

    @contextlib.contextmanager
    def add_file(self) -> Iterator[None]:
        """There is a file that no installation makes."""
        path = self._own / "evil\nname"
        path.touch()
        try:
            yield
        finally:
            path.unlink()

    @contextlib.contextmanager
    def fill_data(self) -> Iterator[None]:
        """The data is deep, and has odd names."""
        descriptor = os.open(self._own / "data", os.O_RDONLY | os.O_DIRECTORY)
        try:
            for _ in range(300):
                os.mkdir("d", dir_fd=descriptor)
                inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            os.symlink(self._outside, "link", dir_fd=descriptor)
            os.mkfifo("pipe", dir_fd=descriptor)
        finally:
            os.close(descriptor)
        yield
        shutil.rmtree(self._own / "data" / "d", ignore_errors=True)

    # -- of what all plugins share

    def change_staging(self) -> contextlib.AbstractContextManager[None]:
        """The staging folder is something else."""
        return self._put_in_place(self._root / ".staging")

    def change_cache(self) -> contextlib.AbstractContextManager[None]:
        """The cache is something else."""
        return self._put_in_place(self._root / ".cache")

    @contextlib.contextmanager
    def change_staged(self) -> Iterator[None]:
        """What is staged is something else."""
        staged = list((self._root / ".staging").glob("*/*")) or list((self._root / ".staging").glob("*"))
        with self._put_in_place(self._chance.choice(staged)) if staged else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def lock_staging(self) -> Iterator[None]:
        """Somebody else has locked the staging folder."""
        descriptor = os.open(self._root / ".staging", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def stop_workers(self) -> Iterator[None]:
        """The workers are frozen, or killed."""
        number = self._chance.choice([signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM])
        workers = list(self._find_workers())
        for pid in workers:
            os.kill(pid, number)
        yield
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _find_workers(self) -> Iterator[int]:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    b"plugvisor.installer" in (process / "cmdline").read_bytes()
                    and os.fsencode(self._root.parent) in (process / "environ").read_bytes()
                ):
                    yield int(process.name)

    # -- parts

    @contextlib.contextmanager
    def _put_in_place(self, path: Path) -> Iterator[None]:
        """Something is in the place of what is there, which comes back."""
        aside = self._root.parent / "aside" / f"{self._chance.random()}"
        path.rename(aside)
        try:
            with contextlib.suppress(OSError):
                self._make(path)
            yield
        finally:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            aside.rename(path)

    def _make(self, path: Path) -> None:
        kind = self._chance.choice([0, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7])
        if kind == 0:
            path.symlink_to(self._outside)
        elif kind == 1:
            path.symlink_to(self._outside / path.name)
        elif kind == 2:
            path.symlink_to(self._root / "other" / path.name)
        elif kind == 3:
            path.symlink_to(path.name)  # to itself
        elif kind == 4:
            os.mkfifo(path)
        elif kind == 5:
            path.write_bytes(self._chance.choice(NONSENSE))
        elif kind == 6:
            path.mkdir(mode=self._chance.choice([0, 0o755]))
        elif len(os.fsencode(path)) < 100:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))


SHARED = ("change_staging", "change_cache", "change_staged", "lock_staging", "stop_workers")


def main(own: Path, outside: Path, seed: int, how: str) -> None:
    """Attack until SIGTERM; says `attacked <n>` then."""
    chance = random.Random(seed)
    attacks = Attacks(own, outside, chance)
    names = [name for name in dir(Attacks) if not name.startswith("_") and (how == "everything" or name not in SHARED)]
    names += ["change_own", "change_versions"] * 2
    is_over, count = False, 0

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)  # noqa: T201
    while not is_over:
        attack: Callable[[], contextlib.AbstractContextManager[None]] = getattr(attacks, chance.choice(names))
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError, TypeError), attack():
            count += 1
            time.sleep(chance.random() * LONGEST_SECONDS)
        time.sleep(chance.random() * LONGEST_PAUSE_SECONDS)
    print(f"attacked {count}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
