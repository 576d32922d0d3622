"""Every plugin's process in memory, kept current by polling: all that reads touch."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.docker.errors import Problem
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.watch.nudges import follow_events, follow_forgotten
from plugvisor.engines.swarm.watch.snapshot import Snapshot
from plugvisor.engines.waiters import Waiters
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.names import Names
    from plugvisor.engines.swarm.watch.nudges import Event
    from plugvisor.models.cluster.node import Node

logger = logging.getLogger(__name__)

BUSY_SECONDS, REST_SECONDS, NUDGED_SECONDS = 0.25, 0.5, 0.1
"""From one poll to the next while something changes, otherwise, and after an event."""
SERVICES_SECONDS = NODES_SECONDS = 0.9
"""How old what is known of services and nodes may be at a poll: of their changes there are events."""
SETTLE_SECONDS = 2.0
"""How long after a change or an event something may still change."""
POLL_SECONDS = 2.0
"""How long a poll may take."""
OLDEST_SECONDS = 3.0
"""How old the last good poll may be: what is older is not shown."""
_WAIT_SECONDS = 0.5
"""How often a waiter checks whether the table is live."""
_LEAST_SECONDS = 0.1
_PLUGINS = {"filters": {"label": [labels.ID]}}
_NOT_UNDERSTOOD = "the Docker Engine's answer is not understood; the log says more"


class SwarmTable:
    """Polls ; while no manager answers there is nothing to read: an old state is never shown for a new one."""

    def __init__(self, client: DockerClient, names: Names) -> None:
        self._client = client
        self._snapshot = Snapshot(names)
        self.version = 0
        """Another number whenever a process may be another."""
        self.on_change: list[Callable[[str | None], object]] = []
        """Called with the id of the plugin whose process has changed, or None: every process may have."""
        self.on_nodes: list[Callable[[], object]] = []
        """Called after a poll by which `list_nodes` returns something else."""
        self.problem = "no manager of the swarm has answered yet"
        """Why there is nothing to read, as `SupervisorUnavailable` says it."""
        self._polled_at: float | None = None  # when the last good poll began
        self._answers = (b"", b"", b"")
        self._services_at = self._nodes_at = 0.0  # when they were asked for last
        self._busy_until = 0.0
        self._is_changing = False
        self._is_nudged = False
        self._wake = asyncio.Event()
        self._requests: list[asyncio.Future[None]] = []
        self._waiters = Waiters()
        self._tasks: list[asyncio.Task[None]] = []
        self._expiry: asyncio.TimerHandle | None = None
        """The timer that ends the time in which there is something to read; None: there is nothing."""

    @property
    def is_live(self) -> bool:
        """Whether `read` would answer."""
        return self._polled_at is not None and time.monotonic() - self._polled_at < OLDEST_SECONDS

    async def open(self, seconds: float) -> None:
        """Begin to poll; return when there is something to read, or the time is over."""
        self._tasks = [asyncio.create_task(self._poll_forever())]
        for url in self._client.urls:
            events = follow_events(self._client, url, self._notice)
            ends = follow_forgotten(self._client, url, self._snapshot.list_forgotten, self._notice)
            self._tasks += [asyncio.create_task(events), asyncio.create_task(ends)]
        try:
            async with asyncio.timeout(seconds):
                while not self.is_live:
                    try:
                        await self.poll()
                    except SupervisorUnavailable:
                        await asyncio.sleep(BUSY_SECONDS)
        except TimeoutError:
            logger.warning("%s; trying again until the swarm answers", self.problem)

    async def close(self) -> None:
        """Poll no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._expiry is not None:
            self._expiry.cancel()
        _settle(self._requests, SupervisorUnavailable("the service is shutting down"))

    def read(self) -> Mapping[str, Process]:
        """Every process by its plugin's id; raises `SupervisorUnavailable`."""
        if not self.is_live:
            raise SupervisorUnavailable(self.problem)
        return self._snapshot.processes

    def get(self, plugin_id: str) -> Process:
        """One plugin's process; `NEVER_ADDED` if there is none."""
        return self.read().get(plugin_id, NEVER_ADDED)

    def list_nodes(self) -> Sequence[Node]:
        """The nodes by name; raises `SupervisorUnavailable`."""
        self.read()
        return self._snapshot.nodes

    def get_service(self, plugin_id: str) -> Mapping[str, Any] | None:
        """A plugin's service, as the Engine describes it; None if it has none. Thread-safe."""
        return self._snapshot.services.get(plugin_id)

    def list_services(self) -> Mapping[str, Mapping[str, Any]]:
        """Every plugin's service by the plugin's id; callable from any thread, and empty before the first answer."""
        return self._snapshot.services

    async def poll(self) -> None:
        """Return when a poll that began after this call has been taken over, so that every read shows what is so now.

        Raises:
            SupervisorUnavailable
        """
        request = asyncio.get_running_loop().create_future()
        self._requests.append(request)
        self._wake.set()
        await request

    async def wait_for(self, plugin_id: str, is_met: Callable[[Process], bool], seconds: float) -> Process:
        """Wait until a process meets a condition, or the time is over; returns the process.

        Raises:
            SupervisorUnavailable: there is nothing to read at the end, or there has not been for a while.
        """
        deadline = time.monotonic() + seconds
        while True:
            process = self.get(plugin_id)
            left = deadline - time.monotonic()
            if left <= 0 or is_met(process):
                return process
            self._keep_busy()
            await self._waiters.wait(plugin_id, min(left, _WAIT_SECONDS))

    # -- polling

    def _notice(self, event: Event) -> None:
        """Poll soon: an Engine has an event."""
        if event.type == "node":
            self._nodes_at = 0.0
        if event.action == "oom":
            self._snapshot.note_out_of_memory(event.task_id)
        elif event.action == "die" and event.task_id:
            self._snapshot.note_death(event.task_id)
        self._is_nudged = True
        self._keep_busy()
        self._wake.set()

    def _keep_busy(self) -> None:
        self._busy_until = time.monotonic() + SETTLE_SECONDS

    async def _poll_forever(self) -> None:
        while True:
            began = time.monotonic()
            requests, self._requests = self._requests, []
            is_whole = bool(requests) or self._is_nudged or self._is_changing
            self._is_nudged = False
            problem: SupervisorUnavailable | None = None
            try:
                self._take(await self._fetch(began, is_whole=is_whole), began)
            except SupervisorUnavailable as error:
                problem = error
            except asyncio.CancelledError:
                self._requests += requests  # `close` settles them
                raise
            except Exception as error:
                if self.problem != _NOT_UNDERSTOOD:
                    logger.exception("the Docker Engine's answer to a poll is not understood")
                problem = SupervisorUnavailable(_NOT_UNDERSTOOD)
                problem.__cause__ = error
            if problem is not None:
                self.problem = str(problem)
            _settle(requests, problem)
            await self._pause(began, is_failing=problem is not None)

    async def _fetch(self, began: float, *, is_whole: bool) -> tuple[bytes, bytes, bytes]:
        """Ask for tasks before services: else a plugin that is being started might look as if it were being stopped.

        Args:
            is_whole: whether services are asked for in any case; else only if tasks have changed, and now and then.
        """
        deadline = began + POLL_SECONDS
        old_tasks, services, nodes = self._answers
        tasks = await self._fetch_one("/tasks", _PLUGINS, deadline)
        if is_whole or tasks != old_tasks or began - self._services_at >= SERVICES_SECONDS:
            services = await self._fetch_one("/services", _PLUGINS, deadline)
            self._services_at = began
        # tasks that are ending are missed if there is a new leader
        if self._is_changing or began - self._nodes_at >= NODES_SECONDS:
            nodes = await self._fetch_one("/nodes", None, deadline)
            self._nodes_at = began
        self._answers = (tasks, services, nodes)
        return self._answers

    async def _fetch_one(self, path: str, query: Mapping[str, Any] | None, deadline: float) -> bytes:
        left = max(_LEAST_SECONDS, deadline - time.monotonic())
        return await self._client.fetch(path, query=query, timeout_seconds=left)

    def _take(self, answers: tuple[bytes, bytes, bytes], began: float) -> None:
        now = time.monotonic()
        nodes = self._snapshot.nodes
        changed = self._snapshot.take(answers, began, now)
        if not self._snapshot.has_quorum:
            self._announce(changed if self._expiry is not None else ())
            raise SupervisorUnavailable(Problem.NO_QUORUM)
        was_live, self._polled_at = self._expiry is not None, began
        self.problem = Problem.SILENT  # if the next good poll is late
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, began + OLDEST_SECONDS - now), self._expire)
        if self._snapshot.nodes != nodes:
            for callback in self.on_nodes:
                _call(callback)
        if not was_live:
            logger.info("the swarm answers: it has %s plugins", len(self._snapshot.services))
        self._announce(changed if was_live else [None])

    def _expire(self) -> None:
        """There is nothing to read any more."""
        self._expiry = None
        logger.warning("the states of plugins are not known: %s", self.problem)
        self._announce([None])

    async def _pause(self, began: float, *, is_failing: bool) -> None:
        """Wait until the next poll is due; processes become others by the passing of time meanwhile."""
        while not self._requests:
            self._wake.clear()
            now = time.monotonic()
            is_busy = is_failing or self._is_changing or now < self._busy_until
            due = began + (NUDGED_SECONDS if self._is_nudged else BUSY_SECONDS if is_busy else REST_SECONDS)
            turn = self._snapshot.next_change
            if turn is not None and turn <= now:
                self._announce(self._snapshot.pass_time(now))
                continue
            if due <= now:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(due, turn or due) - now):
                    await self._wake.wait()

    def _announce(self, plugin_ids: Collection[str | None]) -> None:
        """Tell whoever waits or listens of changes."""
        if not plugin_ids:
            return
        self.version += 1
        self._keep_busy()
        self._is_changing = any(
            process.state is ProcessState.STOPPING or (process.state is ProcessState.STARTING and not process.pid)
            for process in self._snapshot.processes.values()
        )
        for plugin_id in plugin_ids:
            self._waiters.wake(plugin_id)
            for callback in self.on_change:
                _call(callback, plugin_id)


def _call(callback: Callable[..., object], *arguments: object) -> None:
    try:
        callback(*arguments)
    except Exception:  # the table must go on being kept current, whatever becomes of a listener
        logger.exception("a listener to changes of processes or nodes has failed")


def _settle(requests: Sequence[asyncio.Future[None]], problem: SupervisorUnavailable | None) -> None:
    for request in requests:
        if request.done():
            continue
        if problem is None:
            request.set_result(None)
        else:
            request.set_exception(SupervisorUnavailable(str(problem)))
