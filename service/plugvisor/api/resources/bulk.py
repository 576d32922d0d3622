"""start, stop and reload of many plugins in one request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from plugvisor.api.auth.permissions import require_plugin, require_plugins
from plugvisor.api.problems import make_problem
from plugvisor.api.resources.plugins import WAITING
from plugvisor.api.responses import respond
from plugvisor.api.state import get_identity
from plugvisor.api.views import make_outcome
from plugvisor.errors import AlreadyRunning, Forbidden, NotRunning, PluginNotFound, PlugvisorError
from plugvisor.manager.dependencies.order import BEGUN_AT_ONCE, sort_into_groups
from plugvisor.manager.intents.boot_starts import is_wanted
from plugvisor.manager.outcome import Outcome
from plugvisor.models.outcome import BulkItem, BulkResult
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import StopQuery, WaitQuery
    from plugvisor.api.state import State
    from plugvisor.engines.engine import Engine
    from plugvisor.models.outcome import PluginIds

LONGEST_WAIT_SECONDS = 10.0
"""The plugins of the next priority wait no longer for one that is slow to stop before it starts again."""
_MOST_LOGGED = 10
_LONGEST_NAME = 64
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Verb:
    """An operation on each plugin, and the messages about its outcome."""

    run: Callable[[str, float | None, Callable[[], object]], Awaitable[Outcome]]
    """Takes the id, the seconds to wait, and what to call when it has begun: it was spawned, or is queued."""
    done: str
    under_way: str
    needless: type[PlugvisorError] | None = None
    """The error that means that the plugin is already in the wanted state, which counts as success."""
    was_done: str = ""
    keep: Callable[[str], Awaitable[bool]] | None = None
    """Remembers that the state is wanted in which a plugin is already; returns whether that outlives a restart."""


async def start_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Start the plugins named, or all that are enabled."""
    start = partial(request.state["manager"].start, by=get_identity(request).name)

    async def keep(plugin_id: str) -> bool:
        intents = request.state["intents"]
        intents.set(plugin_id, "running", get_identity(request).name)
        return await intents.wait_stored(plugin_id)

    verb = Verb(start, "Plugin started successfully", "", AlreadyRunning, "Plugin is running already", keep)
    return await _start_in_order(request, verb, query, body)


async def reload_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Reload the plugins named, or all that are enabled."""
    reload = partial(request.state["manager"].reload, by=get_identity(request).name)
    verb = Verb(reload, "Plugin reloaded successfully", "Plugin is reloading")
    return await _start_in_order(request, verb, query, body)


async def stop_plugins(request: Request[State], query: StopQuery, body: PluginIds) -> Response:
    """Stop the plugins named, or all that run or would start at the next boot, each after those that depend on it."""
    manager, engine = request.state["manager"], request.state["engine"]
    processes = engine.read()
    intents = request.state["intents"]
    to_stop = [
        plugin.id
        for plugin in manager.catalog.values()
        if _can_stop(processes.get(plugin.id, NEVER_ADDED)) or is_wanted(plugin, intents)
    ]
    names, rejected = _choose(request, body, to_stop)
    if query.dependents:
        dependents = manager.stops.list_running_dependents(names)
        require_plugins(get_identity(request), dependents)
        names += dependents
    by_name = await manager.run_detached(
        manager.stops.stop_many(names, query.wait_seconds, by=get_identity(request).name)
    )
    verb = Verb(
        lambda name, _wait_seconds, _begun: _give(by_name.get(name, PluginNotFound(name))),
        "Plugin stopped successfully",
        "Plugin is stopping",
        NotRunning,
        "Plugin is not running",
        intents.wait_stored,  # the stop has set it
    )
    items = [_run_one(verb, name, None, engine, asyncio.Event()) for name in names]
    return _answer(request, [*await asyncio.gather(*items), *rejected])


async def _give(result: Outcome | BaseException) -> Outcome:
    if isinstance(result, BaseException):
        raise result
    return result


def _can_stop(process: Process) -> bool:
    return process.state is not ProcessState.STOPPED or bool(process.queued)


def _choose(request: Request[State], body: PluginIds, default: Sequence[str]) -> tuple[list[str], list[BulkItem]]:
    """The plugins that were named, or else the default, that the client may change; and an item for each other one."""
    identity = get_identity(request)
    if body.plugin_ids is msgspec.UNSET:
        return [name for name in default if identity.may_change(name)], []
    chosen, rejected = [], []
    for name in dict.fromkeys(body.plugin_ids):
        try:
            require_plugin(identity, name)
        except Forbidden as error:
            rejected.append(BulkItem(plugin_id=name, ok=False, problem=make_problem(error, name)))
        else:
            chosen.append(name)
    return chosen, rejected


async def _start_in_order(request: Request[State], verb: Verb, query: WaitQuery, body: PluginIds) -> Response:
    manager, engine = request.state["manager"], request.state["engine"]
    engine.read()  # one answer that the engine is away, and not one for each plugin
    names, rejected = _choose(request, body, [plugin.id for plugin in manager.catalog.values() if plugin.enabled])
    groups = sort_into_groups(names, manager.catalog)
    by_name = await manager.run_detached(run_all(verb, groups, query.wait_seconds, engine))
    return _answer(request, [*(by_name[name] for name in names), *rejected])


def _answer(request: Request[State], results: list[BulkItem]) -> Response:
    request.scope["log_note"] = summarize(results)
    problems = {result.plugin_id: result.problem for result in results}
    request.scope["outcomes"] = {
        name: "ok" if problem is msgspec.UNSET else problem.code for name, problem in problems.items()
    }
    return respond(BulkResult(ok=all(result.ok for result in results), results=results))


async def run_all(
    verb: Verb, groups: Sequence[Sequence[str]], wait_seconds: float | None, engine: Engine
) -> dict[str, BulkItem]:
    """Do it with the plugins of each group at the same time, once those of the groups before have begun."""
    tasks: dict[str, asyncio.Task[BulkItem]] = {}
    begun: list[asyncio.Event] = []
    for group in groups:
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                for event in begun:
                    await event.wait()
        begun = [asyncio.Event() for _ in group]
        for number, (name, event) in enumerate(zip(group, begun, strict=True), 1):
            tasks[name] = asyncio.create_task(_run_one(verb, name, wait_seconds, engine, event))
            if number % BEGUN_AT_ONCE == 0:
                await asyncio.sleep(0)
    return {name: await task for name, task in tasks.items()}


async def _run_one(verb: Verb, name: str, wait_seconds: float | None, engine: Engine, begun: asyncio.Event) -> BulkItem:
    try:
        try:
            outcome = await verb.run(name, wait_seconds, begun.set)
            under_way = WAITING if outcome.process.queued else verb.under_way
            message = verb.done if outcome.finished else under_way
        except PlugvisorError as error:
            if verb.needless is None or not isinstance(error, verb.needless):
                raise
            remembered = verb.keep is None or await verb.keep(name)
            outcome = Outcome(engine.read().get(name, NEVER_ADDED), finished=True, remembered=remembered)
            message = verb.was_done
    except PlugvisorError as error:
        return BulkItem(plugin_id=name, ok=False, problem=make_problem(error, name))
    finally:
        begun.set()  # or it failed, and the next need not wait for it
    return BulkItem(ok=True, **msgspec.structs.asdict(make_outcome(name, outcome, message)))


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
