"""start, stop and reload of many plugins in one request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from plugvisor.api.problems import make_problem
from plugvisor.api.responses import respond
from plugvisor.api.views import make_outcome
from plugvisor.errors import AlreadyRunning, NotRunning, PlugvisorError
from plugvisor.models.plugin import BulkItem, BulkResult
from plugvisor.models.process import NEVER_ADDED, ProcessState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import WaitQuery
    from plugvisor.api.state import State
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.outcome import Outcome
    from plugvisor.models.plugin import PluginIds
    from plugvisor.models.process import Process
    from plugvisor.plugins.catalog import Catalog

STARTED_AT_ONCE = 32
"""At most this many begin in one round of the event loop, so that thousands do not hold up everything else."""
LONGEST_WAIT_SECONDS = 10.0
"""The plugins of the next priority wait no longer for one that is slow to stop before it starts again."""
_DEFAULT_PRIORITY = 999
_MOST_LOGGED = 10
_LONGEST_NAME = 64
_LONGEST_REASON = 200
_AT_REST = (ProcessState.STOPPED, ProcessState.FATAL)


@dataclass(frozen=True)
class Verb:
    """An operation on each plugin, and the messages about its outcome."""

    run: Callable[[str, float | None, Callable[[], object]], Awaitable[Outcome]]
    """Takes the id, the seconds to wait, and what to call when the process was spawned."""
    done: str
    under_way: str
    needless: type[PlugvisorError] | None = None
    """The error that means that the plugin is already in the wanted state, which counts as success."""
    was_done: str = ""
    is_ordered: bool = False
    """Whether plugins of a lower `priority` come first."""


async def start_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Start the plugins named, or all that are enabled."""
    manager = request.state["manager"]
    verb = Verb(
        manager.start,
        "Plugin started successfully",
        "",
        AlreadyRunning,
        was_done="Plugin is running already",
        is_ordered=True,
    )
    return await _answer(request, verb, query, body, _list_enabled(manager))


async def stop_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Stop the plugins named, or all that run."""
    manager, processes = request.state["manager"], request.state["engine"].read()
    running = [name for name in manager.catalog if _can_stop(processes.get(name, NEVER_ADDED))]
    verb = Verb(
        lambda name, wait_seconds, _: manager.stop(name, wait_seconds),
        "Plugin stopped successfully",
        "Plugin is stopping",
        NotRunning,
        was_done="Plugin is not running",
    )
    return await _answer(request, verb, query, body, running)


async def reload_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Reload the plugins named, or all that are enabled."""
    manager = request.state["manager"]
    verb = Verb(manager.reload, "Plugin reloaded successfully", "Plugin is reloading", is_ordered=True)
    return await _answer(request, verb, query, body, _list_enabled(manager))


def _can_stop(process: Process) -> bool:
    return process.state not in _AT_REST or bool(process.queued)


def _list_enabled(manager: Manager) -> list[str]:
    return [plugin.id for plugin in manager.catalog.values() if plugin.enabled]


async def _answer(
    request: Request[State], verb: Verb, query: WaitQuery, body: PluginIds, default: Sequence[str]
) -> Response:
    engine = request.state["engine"]
    engine.read()  # one answer that supervisord is away, and not one for each plugin
    named = default if body.plugin_ids is msgspec.UNSET else body.plugin_ids
    names = list(dict.fromkeys(named))
    groups = _group_by_priority(names, request.state["manager"].catalog) if verb.is_ordered else [names]
    by_name = await request.state["manager"].run_detached(run_all(verb, groups, query.wait_seconds, engine))
    results = [by_name[name] for name in names]
    request.scope["log_note"] = summarize(results)
    return respond(BulkResult(ok=all(result.ok for result in results), results=results))


def _group_by_priority(names: Sequence[str], catalog: Catalog) -> list[list[str]]:
    """The plugins of each priority, the lowest first, as supervisord starts its programs."""
    groups: dict[int, list[str]] = {}
    for name in names:
        manifest = catalog[name].manifest if name in catalog else None
        priority = manifest.supervisor.priority if manifest else _DEFAULT_PRIORITY
        groups.setdefault(priority, []).append(name)
    return [groups[priority] for priority in sorted(groups)]


async def run_all(
    verb: Verb, groups: Sequence[Sequence[str]], wait_seconds: float | None, engine: Engine
) -> dict[str, BulkItem]:
    """Do it with the plugins of each group at the same time, once those of the groups before are spawned."""
    tasks: dict[str, asyncio.Task[BulkItem]] = {}
    spawned: list[asyncio.Event] = []
    for group in groups:
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                for event in spawned:
                    await event.wait()
        spawned = [asyncio.Event() for _ in group]
        for number, (name, event) in enumerate(zip(group, spawned, strict=True), 1):
            tasks[name] = asyncio.create_task(_run_one(verb, name, wait_seconds, engine, event))
            if number % STARTED_AT_ONCE == 0:
                await asyncio.sleep(0)
    return {name: await task for name, task in tasks.items()}


async def _run_one(
    verb: Verb, name: str, wait_seconds: float | None, engine: Engine, spawned: asyncio.Event
) -> BulkItem:
    try:
        try:
            outcome = await verb.run(name, wait_seconds, spawned.set)
            process, message = outcome.process, verb.done if outcome.finished else verb.under_way
        except PlugvisorError as error:
            if verb.needless is None or not isinstance(error, verb.needless):
                raise
            process, message = engine.read().get(name, NEVER_ADDED), verb.was_done
    except PlugvisorError as error:
        return BulkItem(plugin_id=name, ok=False, problem=make_problem(error, name))
    finally:
        spawned.set()  # or it failed, and the next need not wait for it
    return BulkItem(ok=True, **msgspec.structs.asdict(make_outcome(name, process, message)))


def summarize(results: Sequence[BulkItem]) -> str:
    """How many succeeded, and which did not and why, for the log: of bounded length and on one line."""
    failed = [result for result in results if not result.ok]
    text = f"{len(results) - len(failed)} of {len(results)} succeeded"
    reasons = [_describe_failure(result) for result in failed[:_MOST_LOGGED]]
    if len(failed) > _MOST_LOGGED:
        reasons.append(f"and {len(failed) - _MOST_LOGGED} more")
    return f"{text}; failed: {'; '.join(reasons)}" if reasons else text


def _describe_failure(result: BulkItem) -> str:
    # both come from clients and manifests, and may hold anything, line breaks included
    name = quote(result.plugin_id[:_LONGEST_NAME])
    if result.problem is msgspec.UNSET:
        return name
    detail = result.problem.detail[:_LONGEST_REASON]
    return f"{name} ({result.problem.code}: {detail if detail.isprintable() else ascii(detail)})"
