"""The labs of a test run: as many as two cores can bear, each used by one test process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import time
import zlib
from typing import TYPE_CHECKING, TextIO

from tests.helpers.swarm.images import store_image
from tests.helpers.swarm.lab import LABS, SwarmLab, clean_leftovers
from tests.helpers.swarm.node import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAB_COUNT = 2
POLL_SECONDS = 0.05


class LabPool:
    """Made by each process of a test run that needs a lab; labs end when the last one has ended, however it does.

    Args:
        run_folder: a folder that all processes of this test run share, and no other run.
        image: the image of this machine's Engine that every node has.
    """

    def __init__(self, run_folder: Path, image: str) -> None:
        self._folder = run_folder
        self._image = image
        self._users = run_folder / "labs.users"
        self._user = self._users.open("a")  # the kernel unlocks it when this process ends
        fcntl.flock(self._user, fcntl.LOCK_SH)
        self._name = f"pv-{zlib.crc32(str(run_folder).encode()):08x}"

    def close(self) -> None:
        """Use no lab any more."""
        self._user.close()

    @contextlib.contextmanager
    def lease(self) -> Iterator[SwarmLab]:
        """A lab for this process alone, whole and empty; what it is used for may break it."""
        number, lock = self._lock_any()
        with lock:
            lab = SwarmLab(LABS / f"{self._name}-{number}")
            if not _is_repaired(lab):
                lab.down()
                lab.up(users=self._users, data=self._find_data())
            yield lab

    def _lock_any(self) -> tuple[int, TextIO]:
        """The number of a lab that no process uses, and its lock."""
        files = [(self._folder / f"lab-{number}.lock").open("a") for number in range(1, LAB_COUNT + 1)]
        while True:
            for number, file in enumerate(files, 1):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for other in files:
                        if other is not file:
                            other.close()
                    return number, file
            time.sleep(POLL_SECONDS)

    def _find_data(self) -> Path:
        """What an Engine stores that has the image; made by the first process that needs it."""
        folder = LABS / f"{self._name}-image"
        with (self._folder / "labs.image").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not (folder / "done").exists():
                clean_leftovers()
                data = store_image(folder, self._image, self._users)
                (folder / "done").symlink_to(data)
            return (folder / "done").resolve()


def _is_repaired(lab: SwarmLab) -> bool:
    """Whether it is there, whole and empty, after a repair perhaps."""
    try:
        if lab.keeper:
            lab.repair()
            return True
    except LabError:
        pass
    return False
