"""`plugvisor start`, `stop`, `reload`, `enable` and `disable`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.hints import name_commands
from plugvisor.cli.output import can_redraw, has_color, make_printable, paint, print_error, print_notice
from plugvisor.cli.plugins.actions import (
    DISABLE,
    ENABLE,
    LONGEST_WAIT_SECONDS,
    RELOAD,
    START,
    STOP,
    Action,
    Order,
    is_finished,
    is_unknown,
    perform,
    read_last_lines,
)
from plugvisor.cli.plugins.matching import is_pattern, match_ids
from plugvisor.cli.plugins.words import STATUS_COLORS, describe_health
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from plugvisor.cli.plugins.actions import Result

LAST_LINES = 5
"""Of the log of a plugin that has not started."""


def run_start(arguments: argparse.Namespace) -> int:
    """Start plugins."""
    return _run(arguments, START)


def run_stop(arguments: argparse.Namespace) -> int:
    """Stop plugins."""
    return _run(arguments, STOP)


def run_reload(arguments: argparse.Namespace) -> int:
    """Reload plugins."""
    return _run(arguments, RELOAD)


def run_disable(arguments: argparse.Namespace) -> int:
    """Stop plugins, and keep them from being started."""
    return _run(arguments, DISABLE)


def run_enable(arguments: argparse.Namespace) -> int:
    """Allow that plugins are started."""
    return _run(arguments, ENABLE)


def _run(arguments: argparse.Namespace, action: Action) -> int:
    if bool(arguments.plugin_ids) == arguments.all:
        raise ConfigurationError(f"cannot {action.verb}: name plugins, or use --all")
    client = Client.from_env(os.environ)
    order = _make_order(client, arguments, action)
    if not order.plugin_ids:
        if arguments.json:
            print(json.dumps({"ok": True, "results": []}))
        else:
            print(f"there is no plugin to {action.verb}")
        return 0
    try:
        results = _perform(client, order, quiet=arguments.json)
    except KeyboardInterrupt:
        what = f" {make_printable(order.plugin_ids[0], sys.stderr.encoding)}" if len(order.plugin_ids) == 1 else ""
        print_notice(f"what was begun goes on; `plugvisor status{what}` shows it")
        raise
    if not order.is_bulk and is_unknown(results[0]):
        match_ids(order.plugin_ids, [plugin["id"] for plugin in client.call("GET", "/plugins")["plugins"]])
    return _report(client, order, results, as_json=arguments.json)


def _make_order(client: Client, arguments: argparse.Namespace, action: Action) -> Order:
    """Find out which plugins are meant; raises `CommandRejected` for an unknown one."""
    ids: Sequence[str] = arguments.plugin_ids
    is_bulk = arguments.all or len(ids) > 1 or is_pattern(ids[0])
    if is_bulk:
        plugins = client.call("GET", "/plugins")["plugins"]
        can_be_meant = {plugin["id"] for plugin in plugins if _can_be_meant(action, plugin)}
        known = [plugin["id"] for plugin in plugins]
        named = set(ids)
        chosen = known if arguments.all else match_ids(ids, known)
        # a pattern is about those with which it can be done
        ids = [plugin_id for plugin_id in chosen if plugin_id in can_be_meant or plugin_id in named]
    return Order(
        action, ids, is_bulk, arguments.all, _read_wait(arguments), dependents=getattr(arguments, "dependents", False)
    )


def _can_be_meant(action: Action, plugin: Mapping[str, Any]) -> bool:
    """Whether a pattern or `--all` means a plugin, as the service has it for a request without ids."""
    if action is ENABLE:
        return "disabled" in plugin
    if action is STOP:
        return bool(plugin["status"] != "stopped" or plugin.get("queued") or _is_wanted(plugin))
    return action is DISABLE or bool(plugin["enabled"])


def _is_wanted(plugin: Mapping[str, Any]) -> bool:
    """Whether the next boot starts a plugin."""
    starts = plugin["intent"]["wanted"] == "running" if "intent" in plugin else plugin["runtime_auto_start"]
    return bool(plugin["enabled"] and starts)


def _read_wait(arguments: argparse.Namespace) -> float | None:
    """How long to wait, in seconds; None: not at all."""
    if getattr(arguments, "no_wait", False):
        return None
    seconds: float = getattr(arguments, "timeout", LONGEST_WAIT_SECONDS)
    if not 0 < seconds <= LONGEST_WAIT_SECONDS:
        raise ConfigurationError(f"cannot use --timeout: it must be more than 0, and at most {LONGEST_WAIT_SECONDS:g}")
    return seconds


def _perform(client: Client, order: Order, *, quiet: bool) -> list[Result]:
    if quiet or not can_redraw() or order.wait_seconds is None or not order.action.goal:
        return perform(client, order)
    from plugvisor.cli.plugins.progress import perform_on_terminal  # noqa: PLC0415 - it may import rich

    return perform_on_terminal(client, order)


def _report(client: Client, order: Order, results: Sequence[Result], *, as_json: bool) -> int:
    """Print what came of each plugin; returns the exit status."""
    failed = []
    for result in results:
        words = ""
        if not result["ok"]:
            words = name_commands(result["problem"]["detail"])
            if result["problem"]["code"] == "start_failed":
                log = result["problem"].get("log")  # not there if it was not spawned, and on a swarm
                last_lines = read_last_lines(client, result["plugin_id"], LAST_LINES) if log is None else log
                result["log"] = last_lines[-LAST_LINES:]
        elif order.wait_seconds is not None and not is_finished(client, order, result):
            words = _describe_unfinished(order, result)
        if words:
            failed.append(result)
        if not as_json:
            _print(order, result, words)
    if as_json:
        print(json.dumps({"ok": not failed, "results": results}))
    elif failed and len(results) > 1:
        print_error(f"{len(failed)} of {len(results)} plugins failed")
    return 1 if failed else 0


def _print(order: Order, result: Result, failure: str) -> None:
    if not failure:
        print(f"{make_printable(result['plugin_id'])}: {_describe(order, result)}", flush=True)
    else:
        encoding = sys.stderr.encoding
        print_error(make_printable(failure, encoding))
        if result.get("log"):
            print("  the last lines of its log:", file=sys.stderr)
            for line in result["log"]:
                print(f"    {make_printable(line, encoding)}", file=sys.stderr)
    if result.get("remembered") is False:
        print_notice("that may not outlive a restart: it cannot be stored now")


def _describe(order: Order, result: Mapping[str, Any]) -> str:
    """Describe one plugin's result."""
    if order.action is ENABLE:
        if result["enabled"]:
            return "can be started"
        return "can be started when its manifest says so: it is invalid, or has enabled = false"
    message = result.get("message", "")
    if message in ("Plugin is running already", "Plugin is not running"):
        return f"{message[0].lower()}{message[1:]}".removeprefix("plugin ")
    if result.get("queued"):
        return f"waits for {', '.join(map(make_printable, result.get('unmet', ()))) or 'its dependencies'}"
    status = result["status"]
    facts = [paint(status, STATUS_COLORS.get(status, "") if has_color(sys.stdout) else "")]
    facts += describe_health(result)
    facts += [f"pid {result['pid']}"] if "pid" in result else []
    facts += ["disabled"] if order.action is DISABLE else []
    return ", ".join(facts)


def _describe_unfinished(order: Order, result: Mapping[str, Any]) -> str:
    """Why it does not count as done what goes on."""
    plugin, seconds = result["plugin_id"], order.wait_seconds or 0
    if result.get("queued"):
        what = f"still waits for {', '.join(map(repr, result.get('unmet', ()))) or 'its dependencies'}"
    elif result.get("status") == "error":
        return f"{plugin!r} has failed: {result.get('detail', 'its log may say why')}"
    else:
        what = f"is still {result.get('health') if result.get('status') == 'running' else result.get('status')}"
    return f"after {seconds:g} seconds {plugin!r} {what}; that goes on"
