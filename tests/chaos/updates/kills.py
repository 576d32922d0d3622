"""Killing the service, or everything, in the middle of updates, again and again."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import httpx

from tests.chaos.updates.subject import PLUGIN, Subject, make_update
from tests.helpers.installation import installed
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import ADMIN_CODE, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

Victim = Literal["the service", "everything", "supervisord"]
MEASURED = 3
"""How many updates are made first, to learn how long one takes."""
BEYOND = 1.1
"""The last moments are after the end."""
CHECKED_EVERY = 4
"""After so many kills an update is made that nobody kills."""


def freeze(folder: Path) -> list[int]:
    """Stop all processes that have to do with a folder, so that none notices the end of another; returns them."""
    frozen: list[int] = []
    while new := [pid for pid in find_processes(folder) if pid not in frozen]:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        frozen += new
    return frozen


class Request:
    """An update that is asked for in a thread, and what came of it."""

    def __init__(self, stack: PlugvisorStack, package: bytes) -> None:
        self.answer: httpx.Response | None = None
        self.ended = threading.Event()
        self._stack = stack
        self._package = package
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
        query = {"replace": "true", "wait": str(DEADLINE_SECONDS)}
        with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=self._stack.url, trust_env=False) as http:
            self.answer = http.post(
                "/plugins/install", params=query, content=self._package, headers=headers, timeout=2 * DEADLINE_SECONDS
            )
        self.ended.set()

    def join(self) -> httpx.Response | None:
        """Wait for the answer; None if the connection was lost before."""
        self._thread.join(3 * DEADLINE_SECONDS)
        assert not self._thread.is_alive()
        return self.answer


class Killer:
    """Updates one plugin, and kills during that."""

    def __init__(self, stack: PlugvisorStack, victim: Victim, *, environment: bool) -> None:
        self.outcomes: Counter[str] = Counter()
        self.length_seconds = 0.0
        self._stack = stack
        self._victim = victim
        self._environment = environment
        self._subject = Subject(stack, environment=environment)
        self._number = 0
        self._current = 0

    def prepare(self) -> None:
        """Install the plugin, and measure updates."""
        self._stack.up()
        installed(self._stack, self._make_next(), start=True)
        lengths = []
        for _ in range(MEASURED):
            began = time.monotonic()
            self._update()
            lengths.append(time.monotonic() - began)
        self.length_seconds = max(lengths)

    def kill(self, moment: float) -> None:
        """Kill at a moment of an update, from 0 to 1, and check what is left of it."""
        service_pid = self._stack.service_pid
        request = Request(self._stack, self._make_next())
        request.ended.wait(moment * self.length_seconds * BEYOND)
        self._kill(service_pid)
        answer = request.join()
        operation = self._recover()
        current = self._subject.check()
        assert current in (self._current, self._number), f"{current} is current"
        is_new = current == self._number
        state = operation["state"] if operation is not None else "not begun"
        # a service that ends by itself, as supervisord has, answers 202
        has_answered = answer is not None and answer.status_code == 201
        if has_answered or state == "succeeded":
            assert is_new, f"version {current} is current after {operation}"
        is_lost = state == "failed" and operation["problem"]["code"] == "supervisor_unavailable"
        assert state in ("succeeded", "interrupted", "not begun") or (is_lost and not is_new), operation
        self.outcomes[f"{state}, {'new' if is_new else 'old'}{', answered' if has_answered else ''}"] += 1
        self._current = current
        if self.outcomes.total() % CHECKED_EVERY == 0:
            self._update()

    # -- parts

    def _make_next(self) -> bytes:
        self._number += 1
        return make_update(self._number, environment=self._environment)

    def _update(self) -> None:
        installed(self._stack, self._make_next(), replace=True)
        self._current = self._subject.check()
        assert self._current == self._number

    def _kill(self, service_pid: int) -> None:
        stack = self._stack
        if self._victim == "the service":
            stack.restart_service()
            return
        assert stack.process
        if self._victim == "supervisord":
            stack.process.kill()
            # it notices that, ends what it does for a while, and only then lets go of the port
            wait_for(lambda: not is_alive(service_pid), "the end of the service")
        else:
            for pid in freeze(stack.root):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not find_processes(stack.root), "the end of everything")
        stack.process.wait()
        stack.up()

    def _recover(self) -> dict[str, Any] | None:
        """Wait for the recovery; returns what has become of the last operation, if there was one."""
        stack = self._stack
        # an operation is accepted when the recovery is done
        response = stack.post("/plugins/install", params={"wait": "50"}, content=b"no package")
        assert response.json()["code"] == "invalid_package", response.text
        operations: list[dict[str, Any]] = stack.get("/operations").json()["operations"]
        mine = [operation for operation in operations if operation.get("plugin_id") == PLUGIN]
        version = str(self._number)
        began = [each for each in operations if each.get("version") == version or each["state"] == "running"]
        assert all(each["state"] != "running" for each in operations), mine
        return began[0] if began else None


def describe(stack: PlugvisorStack) -> str:
    """What a person needs to find out what has happened."""
    with contextlib.suppress(httpx.TransportError, OSError):
        return "\n".join(
            [
                stack.get(f"/plugin/status?plugin_id={PLUGIN}").text,
                str(sorted(stack.plugins_dir.glob(f"{PLUGIN}/versions/*"))),
                (stack.plugins_dir / PLUGIN / "installed.json").read_text(),
                *stack.service_log.splitlines()[-30:],
                *stack.output_path.read_text().splitlines()[-30:],
            ]
        )
    return ""


def run_kills(victim: Victim, count: int, chance: random.Random, *, environment: bool) -> Killer:
    """Kill so many times, at moments that are spread over the whole update."""
    moments = [(index + chance.random()) / count for index in range(count)]
    chance.shuffle(moments)
    with run_stack() as stack:
        killer = Killer(stack, victim, environment=environment)
        killer.prepare()
        for index, moment in enumerate(moments):
            try:
                killer.kill(moment)
            except BaseException as error:
                error.add_note(f"kill {index} of {victim}, at {moment:.4f} of {killer.length_seconds:.2f} s")
                error.add_note(f"before: {dict(killer.outcomes)}\n{describe(stack)}")
                raise
        return killer
