"""start, stop and reload of many plugins in one request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from plugvisor.api.endpoint import mutation, read_wait
from plugvisor.api.problems import describe, make_problem
from plugvisor.api.views import describe_outcome
from plugvisor.errors import AlreadyRunning, InvalidRequest, NotRunning, PlugvisorError, SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, ProcessState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.endpoint import State
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Outcome

MOST_AT_ONCE = 16
MOST_PLUGINS = 4096
_AT_REST = (ProcessState.STOPPED, ProcessState.FATAL, ProcessState.UNKNOWN)


@dataclass(frozen=True)
class Verb:
    """What is to be done with each plugin, and what is told of it."""

    run: Callable[[str, float | None], Awaitable[Outcome]]
    done: str
    under_way: str
    needless: type[PlugvisorError] | None = None
    """What it raises where the plugin already is as it should be: a script asked for that, and has it."""
    was_done: str = ""


@mutation
async def start_plugins(request: Request[State]) -> Response:
    """Start the plugins named, or all that are enabled."""
    manager = request.state["manager"]
    verb = Verb(manager.start, "Plugin started successfully", "", AlreadyRunning, was_done="Plugin is running already")
    return await _answer(request, verb, _list_enabled(request))


@mutation
async def stop_plugins(request: Request[State]) -> Response:
    """Stop the plugins named, or all that run."""
    manager, processes = request.state["manager"], request.state["engine"].read()
    running = [name for name in manager.catalog if processes.get(name, NEVER_ADDED).state not in _AT_REST]
    verb = Verb(
        manager.stop, "Plugin stopped successfully", "Plugin is stopping", NotRunning, was_done="Plugin is not running"
    )
    return await _answer(request, verb, running)


@mutation
async def reload_plugins(request: Request[State]) -> Response:
    """Reload the plugins named, or all that are enabled."""
    manager = request.state["manager"]
    verb = Verb(manager.reload, "Plugin reloaded successfully", "Plugin is reloading")
    return await _answer(request, verb, _list_enabled(request))


def _list_enabled(request: Request[State]) -> list[str]:
    return [plugin.id for plugin in request.state["manager"].catalog.values() if plugin.enabled]


async def _answer(request: Request[State], verb: Verb, default: Sequence[str]) -> Response:
    wait_seconds = read_wait(request)
    named = parse_plugin_ids(await request.body())
    engine = request.state["engine"]
    engine.read()  # one answer that supervisord is away, and not one for each plugin
    results = await run_all(verb, list(dict.fromkeys(default if named is None else named)), wait_seconds, engine)
    return JSONResponse({"ok": all(result["ok"] for result in results), "results": results})


def parse_plugin_ids(body: bytes) -> list[str] | None:
    """The ids that a body names; None where it names none.

    Raises:
        InvalidRequest
    """
    if not body.strip():
        return None
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):  # nested too deeply
        raise InvalidRequest('the body must be JSON like {"plugin_ids": ["one", "other"]}, or empty') from None
    if not isinstance(told, dict) or told.keys() - {"plugin_ids"}:
        raise InvalidRequest("the body must be a JSON object that has `plugin_ids` and nothing else")
    if not told:
        return None
    ids = told["plugin_ids"]
    if not isinstance(ids, list) or not all(isinstance(name, str) and _is_text(name) for name in ids):
        raise InvalidRequest("`plugin_ids` must be a list of strings")
    if len(ids) > MOST_PLUGINS:
        raise InvalidRequest(f"`plugin_ids` must not have more than {MOST_PLUGINS} members")
    return ids


def _is_text(value: str) -> bool:
    """JSON can spell half a character, which no answer could repeat."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


async def run_all(verb: Verb, names: Sequence[str], wait_seconds: float | None, engine: Engine) -> list[dict[str, Any]]:
    """Do it with each plugin, a few at once; the results are in the order of the names.

    When supervisord can no longer be reached, what has not begun is not tried: each would wait as long again.
    """
    results: dict[str, dict[str, Any]] = {}
    is_lost = False

    async def work(left: Iterator[str]) -> None:
        nonlocal is_lost
        for name in left:
            try:
                if is_lost:
                    raise SupervisorUnavailable("it was not tried: supervisord could not be reached for another plugin")
                results[name] = await _run_one(verb, name, wait_seconds, engine)
            except PlugvisorError as error:
                is_lost = is_lost or isinstance(error, SupervisorUnavailable)
                problem = make_problem(*describe(error), str(error))
                results[name] = {"plugin_id": name, "ok": False, "problem": problem}

    left = iter(names)
    await asyncio.gather(*(work(left) for _ in range(min(MOST_AT_ONCE, len(names)))))
    return [results[name] for name in names]


async def _run_one(verb: Verb, name: str, wait_seconds: float | None, engine: Engine) -> dict[str, Any]:
    try:
        outcome = await verb.run(name, wait_seconds)
    except PlugvisorError as error:
        if verb.needless is None or not isinstance(error, verb.needless):
            raise
        process, message = engine.get(name), verb.was_done
    else:
        process, message = outcome.process, verb.done if outcome.finished else verb.under_way
    told = describe_outcome(name, process, message)
    return {"plugin_id": told.pop("plugin_id"), "ok": True, **told}
