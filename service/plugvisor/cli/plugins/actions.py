"""The actions on plugins: how the service is asked for each, and how its result is described."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.cli.connection.paths import make_query, quote_part
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.cli.client import Client

    Result = dict[str, Any]
    """As of a bulk operation: `plugin_id`, `ok`, and the outcome or the `problem`."""

LONGEST_WAIT_SECONDS = 300.0
"""The service's limit."""
_GRACE_SECONDS = 30.0
_SECONDS_PER_PLUGIN = 10.0
"""As long as one can hold up those of the next priority."""


class Action(NamedTuple):
    """One of the verbs."""

    verb: str
    goal: str
    """The status that is wanted."""
    under_way: str
    """The participle that is shown until then."""
    wait_of_no_wait: str
    """The parameter `wait` of a request that is answered at once; empty if none has that effect."""
    has_bulk: bool = True


START = Action("start", "running", "starting", "")
STOP = Action("stop", "stopped", "stopping", "0")
RELOAD = Action("reload", "running", "reloading", "0")
DISABLE = Action("disable", "stopped", "stopping", "0", has_bulk=False)
ENABLE = Action("enable", "", "", "", has_bulk=False)


class Order(NamedTuple):
    """An action on some plugins."""

    action: Action
    plugin_ids: Sequence[str]
    is_bulk: bool
    """A plugin that is as it is wanted already is no error then."""
    is_all: bool
    """The service chooses the plugins."""
    wait_seconds: float | None
    """None: do not wait."""
    dependents: bool = False


def perform(client: Client, order: Order) -> list[Result]:
    """Ask the service for it; returns what came of each plugin.

    Raises:
        CommandRejected: the request as a whole; nothing has changed.
        NoAnswer
    """
    action, ids = order.action, order.plugin_ids
    if order.is_bulk and action.has_bulk:
        body = None if order.is_all else {"plugin_ids": list(ids)}
        seconds = (order.wait_seconds or 0) + _GRACE_SECONDS + _SECONDS_PER_PLUGIN * len(ids)
        answer = client.call("POST", f"/plugins/{action.verb}{_make_query(order)}", body, seconds)
        results: list[Result] = answer["results"]
        return results
    return [perform_one(client, order, plugin_id) for plugin_id in ids]


def perform_one(client: Client, order: Order, plugin_id: str) -> Result:
    """Ask the service for it with one plugin; raises as `perform` does."""
    path = f"/plugin/{quote_part(plugin_id)}/{order.action.verb}{_make_query(order)}"
    try:
        answer = client.call("POST", path, None, (order.wait_seconds or 0) + _GRACE_SECONDS + _SECONDS_PER_PLUGIN)
    except CommandRejected as error:
        if error.problem.get("plugin_id") != plugin_id:
            raise
        return {"plugin_id": plugin_id, "ok": False, "problem": dict(error.problem)}
    return {**answer, "ok": True}


def is_finished(client: Client, order: Order, result: Mapping[str, Any]) -> bool:
    """Whether a plugin is as it was wanted, and not only on its way."""
    if not order.action.goal:
        return True
    status = result["status"]
    if order.action.goal == "stopped":
        return status in ("stopped", "error")  # without a process
    if status != "running" or result.get("queued"):
        return False
    if result.get("health") != "starting":
        return True
    try:  # the service waits for the checks of this level alone
        checks = client.call("GET", f"/plugin/{quote_part(result['plugin_id'])}/health").get("checks", ())
    except CommandRejected:
        return True
    return all(check["status"] == "up" for check in checks if check["level"] == "ready")


def read_last_lines(client: Client, plugin_id: str, count: int) -> list[str]:
    """The last lines of a plugin's log; none if the token may not read them, or they cannot be had."""
    try:
        answer = client.call("GET", f"/plugin/{quote_part(plugin_id)}/logs?lines={count}")
    except CommandRejected:
        return []
    return [entry["message"] for entry in answer["logs"]]


def is_unknown(result: Mapping[str, Any]) -> bool:
    """Whether there is no such plugin."""
    return not result["ok"] and bool(result["problem"]["status"] == HTTPStatus.NOT_FOUND)


def _make_query(order: Order) -> str:
    wait = ""
    if order.action is not ENABLE:
        wait = order.action.wait_of_no_wait if order.wait_seconds is None else f"{order.wait_seconds:g}"
    return make_query({"wait": wait, "dependents": "true" if order.dependents else ""})
