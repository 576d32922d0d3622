"""What clients were answered to their starts and stops, which the service must remember."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

SETTLE_SECONDS = 10.0
"""Within this the service has taken over what supervisorctl was asked, and written what it could not write before."""
POLL_SECONDS = 0.02
ANYTHING = ""


class _Answer(NamedTuple):
    began: float
    ended: float
    wanted: str


class IntentRecord:
    """Kept by the clients; every method may be called by any thread."""

    def __init__(self, stack: PlugvisorStack, watcher: ProcessWatcher) -> None:
        self._stack = stack
        self._watcher = watcher
        self._answers: dict[str, list[_Answer]] = {}
        self._forgotten_at = 0.0
        self._lock = threading.Lock()

    def note(self, name: str, wanted: str, began: float) -> None:
        """An operation has just succeeded."""
        with self._lock:
            if began > self._forgotten_at:
                self._answers.setdefault(name, []).append(_Answer(began, time.monotonic(), wanted))

    def note_unknown(self, name: str, began: float) -> None:
        """An operation has just ended, and nobody knows whether it counts."""
        self.note(name, ANYTHING, began)

    def forget(self) -> None:
        """What was answered before may be lost."""
        with self._lock:
            self._forgotten_at = time.monotonic()
            self._answers.clear()

    def check(self) -> None:
        """Compare at rest what is shown, and what is stored, with what was answered; report what does not agree."""
        expected = {name: self._list_possible(answers) for name, answers in self._answers.items()}
        expected = {name: wanted for name, wanted in expected.items() if ANYTHING not in wanted}
        deadline = time.monotonic() + SETTLE_SECONDS
        while wrong := self._compare(expected):
            if time.monotonic() > deadline:
                self._watcher.report(f"9: {wrong}")
                return
            time.sleep(POLL_SECONDS)

    def _compare(self, expected: dict[str, set[str]]) -> str:
        shown = {
            one["id"]: one.get("intent", {}).get("wanted") for one in self._stack.http.get("/plugins").json()["plugins"]
        }
        stored: dict[str, str] = {}
        with contextlib.suppress(sqlite3.Error):
            path = f"{self._stack.environ['PLUGVISOR_STATE_DIR']}/plugvisor.db"
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                stored = dict(connection.execute("SELECT plugin_id, wanted FROM intent"))
        for name, wanted in expected.items():
            if name in shown and not (shown[name] in wanted and stored.get(name) == shown[name]):
                return f"the intent of {name!r} is {shown[name]!r}, stored is {stored.get(name)!r}, and not {wanted}"
        return ""

    @staticmethod
    def _list_possible(answers: list[_Answer]) -> set[str]:
        """The wishes of the operations after which no other one began."""
        last_began = max(answer.began for answer in answers)
        return {answer.wanted for answer in answers if answer.ended >= last_began}
