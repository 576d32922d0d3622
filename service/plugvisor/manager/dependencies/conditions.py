"""Whether the conditions under which a plugin may start are met, and why not, in words."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from plugvisor.errors import DependencyFailed
from plugvisor.manager.status import describe_problem
from plugvisor.models.health import Health
from plugvisor.models.process import NEVER_ADDED, STARTED, Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.models.lifecycle import Requirement

_AWAITED = {"started": "to start", "ready": "to be ready", "completed": "to complete"}


class Verdict(Enum):
    """Whether a condition is met, or can be."""

    MET = 1
    PENDING = 2
    """It may still be met without anybody doing anything."""
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency, its condition and the verdict."""

    dependency: str
    requirement: Requirement
    verdict: Verdict


class Conditions:
    """Judges the conditions of dependencies by the processes and the health of the plugins.

    Every method may raise `SupervisorUnavailable`.
    """

    def __init__(self, keeper: CatalogKeeper, engine: Engine, monitor: HealthMonitor, intents: Intents) -> None:
        self._intents = intents
        self._keeper = keeper
        self._engine = engine
        self._monitor = monitor
        self._expected: Counter[str] = Counter()

    @contextmanager
    def expect(self, plugin_ids: Sequence[str]) -> Iterator[None]:
        """While plugins are being queued, each counts as queued: the engine reports one after another."""
        self._expected.update(plugin_ids)
        try:
            yield
        finally:
            self._expected -= Counter(plugin_ids)

    def judge(self, requirements: Mapping[str, Requirement]) -> list[Need]:
        """Each dependency with its verdict. An optional one is never FAILED: its condition counts as met."""
        processes = self._engine.read()
        needs = []
        for dependency, requirement in requirements.items():
            process = processes.get(dependency, NEVER_ADDED)
            if self._is_met(dependency, requirement, process):
                verdict = Verdict.MET
            elif requirement.required:
                may_follow = _may_follow(process) or dependency in self._expected
                verdict = Verdict.PENDING if may_follow else Verdict.FAILED
            else:
                verdict = Verdict.PENDING if is_in_or_pending(process, STARTED) else Verdict.MET
            needs.append(Need(dependency, requirement, verdict))
        return needs

    def list_to_start(self, requirements: Mapping[str, Requirement], *, includes_queued: bool = False) -> list[str]:
        """The required dependencies whose condition can only be met if somebody starts them.

        Args:
            includes_queued: also those that are queued, which may wait for a plugin that an operator has stopped.
        """
        processes = self._engine.read()
        return [
            need.dependency
            for need in self.judge(requirements)
            if need.requirement.required
            and need.verdict is not Verdict.MET
            and (
                not is_in_or_pending(
                    process := processes.get(need.dependency, NEVER_ADDED), (*STARTED, ProcessState.BACKOFF)
                )
                or (includes_queued and process.queued)
            )
            and not _is_restarted(process)
        ]

    def find_unwanted(self, plugin_id: str) -> str | None:
        """A plugin that must be started for a queued one, and that an operator has stopped; None if there is none."""
        visited: set[str] = set()
        to_visit = [plugin_id]
        while to_visit:
            requirements = self._keeper.get_requirements(to_visit.pop(), queued=True)
            for name in self.list_to_start(requirements):
                if self._find_stopper(name):
                    return name
                if name not in visited:
                    visited.add(name)
                    to_visit.append(name)
        return None

    def check(self, requirements: Mapping[str, Requirement]) -> None:
        """Raise `DependencyFailed` if a condition cannot be met any more."""
        for need in self.judge(requirements):
            if need.verdict is Verdict.FAILED:
                reason = self.explain_failure(need.dependency)
                raise DependencyFailed(f"its dependency {need.dependency!r} {reason}", need.dependency)

    def explain_failure(self, dependency: str) -> str:
        """Why a condition cannot be met, as the end of a sentence that begins with the dependency."""
        plugin = self._keeper.catalog.get(dependency)
        process = self._engine.read().get(dependency, NEVER_ADDED)
        if plugin is None or plugin.folder is None:
            return "is missing"
        if plugin.problem:
            return f"cannot be started: {describe_problem(plugin)}"
        if not plugin.enabled:
            return "is disabled"
        match process.state:
            case ProcessState.STOPPED | ProcessState.STOPPING:
                return "was stopped"
            case ProcessState.EXITED if not process.exited_unexpectedly:
                return "has ended"
            case _:
                return f"failed: {process.detail}"

    def describe_wait(self, needs: Sequence[Need]) -> str:
        """What a queued plugin waits for."""
        waits = [self._describe_awaited(need) for need in needs if need.verdict is not Verdict.MET]
        return f"it waits for {_join(waits)}" if waits else ""

    def describe_lack(self, needs: Sequence[Need]) -> str:
        """What a plugin that runs does without."""
        processes = self._engine.read()
        texts = []
        for need in needs:
            if need.requirement.required and need.verdict is not Verdict.MET:
                runs = processes.get(need.dependency, NEVER_ADDED).state in STARTED
                lack = f"is not ready{self._describe_health(need)}" if runs else "is not running"
                if need.requirement.condition == "completed":
                    lack = "has not completed"
                texts.append(f"its dependency {need.dependency!r} {lack}")
        return "; ".join(texts)

    def _describe_awaited(self, need: Need) -> str:
        if need.verdict is Verdict.FAILED and (stopper := self._find_stopper(need.dependency)):
            return f"{need.dependency!r} (stopped by {stopper!r})"
        return f"{need.dependency!r} {_AWAITED[need.requirement.condition]}{self._describe_health(need)}"

    def _find_stopper(self, plugin_id: str) -> str:
        """Who wants a plugin to be stopped; empty if nobody does."""
        intent = self._intents.all.get(plugin_id)
        return intent.by if intent is not None and intent.wanted == "stopped" else ""

    def _describe_health(self, need: Need) -> str:
        """Why a dependency that runs is not ready, in parentheses, if a check of it is down."""
        is_down = need.requirement.condition == "ready" and self._monitor.get(need.dependency) is Health.UNHEALTHY
        return f" ({self._monitor.explain(need.dependency)})" if is_down else ""

    def _is_met(self, dependency: str, requirement: Requirement, process: Process) -> bool:
        if process.queued or process.start_pending:
            return False
        match requirement.condition:
            case "started":
                return process.state in STARTED
            case "ready":
                return process.state in STARTED and self._monitor.is_ready(dependency)
            case "completed":
                is_exited = process.state is ProcessState.EXITED and process.retry_at is None
                return is_exited and not process.exited_unexpectedly


def is_in_or_pending(process: Process, states: Collection[ProcessState]) -> bool:
    """Whether a process is in one of these states, or is to be started."""
    return bool(process.queued) or process.start_pending or process.state in states


def _is_restarted(process: Process) -> bool:
    """Whether the engine restarts it in a moment."""
    return process.state is ProcessState.EXITED and process.retry_at is not None


def _may_follow(process: Process) -> bool:
    # one that is STOPPING may be started again by a check's restart; else it is STOPPED in a moment
    states = (*STARTED, ProcessState.BACKOFF, ProcessState.STOPPING)
    return is_in_or_pending(process, states) or _is_restarted(process)


def _join(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
