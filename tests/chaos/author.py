"""Saves the files of watched plugins, and changes the files of variables; checks at rest what became of them."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from tests.chaos.cast.authored import KEYS, SECRET, VERSION, WATCHED
from tests.chaos.faults import TRACES
from tests.chaos.promises.process_watcher import read_stat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.activity import Activity
    from tests.chaos.operations import Operation
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

MISSING_SECONDS = 0.3
"""How long the file of a variable is gone, at most."""
NOTICE_SECONDS = 40.0
"""Within this a save has led to another process; folders that could not be watched are tried again after a while."""
SAVE_AGAIN_SECONDS = 3.0
POLL_SECONDS = 0.05
CLOCK_SECONDS = 0.05
"""The system says when a process was started in hundredths of a second."""


class Author:
    """Of one Plugvisor; `do` may be called by any thread."""

    def __init__(self, stack: PlugvisorStack, activity: Activity, watcher: ProcessWatcher) -> None:
        self.suspended = 0
        """How often a plugin was not reloaded at rest because watching it was suspended."""
        self._stack = stack
        self._activity = activity
        self._watcher = watcher
        self._lock = threading.Lock()
        self._service_kills = 0
        self._versions = dict.fromkeys(WATCHED, 0)
        self._keys: list[tuple[str, float]] = []
        """Each value, and when it was written."""
        (stack.root / KEYS).mkdir()
        self._write_key()

    def write_code(self, name: str) -> str:
        """The code of a plugin, with the number of its last save."""
        code = self._activity.plugins[name].code
        return f"{VERSION}{self._versions[name]}\n{code}" if name in WATCHED else code

    def do(self, operation: Operation) -> None:
        """Do an operation."""
        with self._lock:
            if operation.kind == "save":
                self._save(operation.plugin_id, operation.verb)
            else:
                self._change_key(operation.verb)

    def check(self, service_kills: int) -> None:
        """Report what does not hold at rest: what runs is what was saved last, and has a value that was there."""
        left = {name for name in WATCHED if name in self._activity.plugins}
        # what was saved while the service was away was not noticed, but another save is
        saves_again, self._service_kills = service_kills != self._service_kills, service_kills
        began = saved_at = time.monotonic()
        while left:
            wrong = {name: words for name in left if (words := self._find_stale(name))}
            left, now = {*wrong}, time.monotonic()
            if left and now > began + NOTICE_SECONDS:
                self._watcher.report(f"10: {wrong}")
                return
            if saves_again and now > saved_at + SAVE_AGAIN_SECONDS:
                saved_at = now
                for name in left:
                    with contextlib.suppress(FileNotFoundError):
                        (self._stack.plugins_dir / name / "main.py").touch()
            time.sleep(POLL_SECONDS if left else 0)
        self._check_key()

    def check_secrets(self) -> None:
        """Report a value that was written anywhere."""
        folders = (self._stack.run_dir, self._stack.root / "state")
        files = [self._stack.output_path, *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
        for path in files:
            with contextlib.suppress(OSError):
                if SECRET.encode() in path.read_bytes():
                    self._watcher.report(f"11: a value is in {path}")

    # -- files

    def _save(self, name: str, how: str) -> None:
        folder = self._stack.plugins_dir / name
        # it starts nothing that was stopped; a reload that it leads to may go on for a while
        with self._activity.doing(name):
            self._activity.forget_end(name, may_start=False)
            if not folder.exists():
                return
            self._versions[name] += 1
            path, code = folder / "main.py", self.write_code(name)
            if how == "start":
                path.write_text(code)
            elif how == "stop":  # as editors do
                new = folder / ".main.py.swp"
                new.write_text(code)
                new.replace(path)
            else:  # half of it first
                path.write_text(code[: len(code) // 2])
                time.sleep(random.random() * 0.2)
                path.write_text(code)

    def _change_key(self, how: str) -> None:
        path = self._stack.root / KEYS / "key"
        # a start meanwhile fails, and a restart may be given up
        with self._activity.doing("keyed", stops=True):
            if how == "stop":
                path.unlink()
            elif how == "reload":
                path.unlink()
                path.mkdir()
            time.sleep(random.random() * MISSING_SECONDS)
            if path.is_dir():
                path.rmdir()
            self._write_key()

    def _write_key(self) -> None:
        value = f"{SECRET}{len(self._keys)}"
        new = self._stack.root / KEYS / "new"
        new.write_text(f"{value}\n")
        self._keys.append((value, time.time()))
        new.replace(self._stack.root / KEYS / "key")

    # -- at rest

    def _find_stale(self, name: str) -> str:
        """What is wrong with the process of a watched plugin; empty if nothing is."""
        pid = self._find_main(name)
        if not pid:
            return ""
        read = self._read_trace(name, "version").get(pid)
        if read == str(self._versions[name]):
            return ""
        with contextlib.suppress(httpx.HTTPError):
            response = self._stack.get("/plugin/status", params={"plugin_id": name})
            status = response.json()
            is_suspended = "suspended" in status.get("detail", "")
            self.suspended += is_suspended
            # one that was removed, or whose manifest is invalid, cannot be reloaded; one that is disabled, and was
            # started by supervisorctl, is not
            is_gone = response.status_code == HTTPStatus.NOT_FOUND
            if is_suspended or is_gone or "manifest_error" in status or self._is_disabled(name):
                return ""
        return f"{name}: process {pid} has read version {read}, and {self._versions[name]} was saved"

    def _is_disabled(self, name: str) -> bool:
        plugins = self._stack.get("/plugins").raise_for_status().json()["plugins"]
        return any(one["id"] == name and "disabled" in one for one in plugins)

    def _check_key(self) -> None:
        pid = self._find_main("keyed") if "keyed" in self._activity.plugins else 0
        stat = read_stat(pid) if pid else None
        value = self._read_trace("keyed", "key").get(pid)
        if stat is None or value is None:  # it is just being executed
            return
        started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + stat.started / os.sysconf("SC_CLK_TCK")
        written = dict(self._keys)
        following = [at for _, at in self._keys if at > written.get(value, 0)]
        if value not in written or (following and following[0] < started - CLOCK_SECONDS):
            self._watcher.report(f"11: 'keyed' was started at {started:.3f} with {value!r} of {self._keys[-5:]}")

    def _find_main(self, name: str) -> int:
        return next((process.pid for process in self._watcher.read(name) if process.is_main), 0)

    def _read_trace(self, name: str, suffix: str) -> dict[int, str]:
        """What its processes have written; the last counts, for ids may be used again."""
        path: Path = self._stack.root / TRACES / f"{name}.{suffix}"
        if not path.exists():
            return {}
        pairs = [line.split(" ", 1) for line in path.read_text().splitlines() if " " in line]
        return {int(pid): value for pid, value in pairs}
