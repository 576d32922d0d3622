"""The lines of `plugvisor events`, for each kind of event, and those of `plugvisor ls --watch --json`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from plugvisor.cli.plugins.lines import JsonLines
from plugvisor.cli.streams.changes import Changes

AT = datetime(2026, 11, 29, 18, 5, 7).astimezone().isoformat()
SHOWN_AT = "2026-11-29 18:05:07"


def make_plugin(plugin_id: str, status: str = "running", **more: Any) -> dict[str, Any]:
    """A plugin of a snapshot."""
    return {"id": plugin_id, "status": status, "state": status.upper(), **more}


def describe(changes: Changes, name: str, **data: Any) -> list[str]:
    """The lines of an event, without its time and the blanks between columns."""
    found = changes.describe(name, {"time": AT, **data})
    assert all(line.startswith(f"{SHOWN_AT}  ") for line in found)
    return [" ".join(line.removeprefix(SHOWN_AT).split()) for line in found]


def everything(_: str) -> bool:
    return True


def test_statuses() -> None:
    changes = Changes(everything, colored=False)
    assert describe(changes, "snapshot", plugins=[make_plugin("a"), make_plugin("b")]) == []
    status = {"plugin_id": "a", "status": "error", "state": "EXITED", "detail": "it \x1b[31m ended"}
    assert describe(changes, "status", **status) == ["a running → error it \\x1b[31m ended"]
    assert describe(changes, "status", **status, intent={"wanted": "stopped"}) == [], "it shows nothing new"
    more = {"plugin_id": "b", "status": "running", "state": "RUNNING", "health": "unhealthy"}
    assert describe(changes, "status", **more) == ["b running → running, unhealthy"]
    assert describe(changes, "status", **more, pid=7, queued=True) == [
        "b running, unhealthy → running, unhealthy, queued"
    ]
    assert describe(changes, "status", **more, pid=8, queued=True) == ["b running, unhealthy, queued"]
    assert describe(changes, "status", plugin_id="new", status="stopped", state="STOPPED") == ["new added, stopped"]


def test_lists_are_compared() -> None:
    changes = Changes(everything, colored=False)
    describe(changes, "snapshot", plugins=[make_plugin("a"), make_plugin("b"), make_plugin("c", uptime=1)])
    listed = [make_plugin("b", "stopped"), make_plugin("c", uptime=9), make_plugin("d", "error", detail="why")]
    assert describe(changes, "plugins", plugins=listed) == ["b running → stopped", "d added, error why", "a removed"]
    assert describe(changes, "snapshot", plugins=listed) == []


def test_only_some_plugins() -> None:
    changes = Changes("a".__eq__, colored=False)
    describe(changes, "snapshot", plugins=[make_plugin("a"), make_plugin("b")])
    assert describe(changes, "plugins", plugins=[]) == ["a removed"]
    operation = {"id": "1", "verb": "install", "state": "running", "phase": "received"}
    assert describe(changes, "operation", **operation, plugin_id="b") == []
    assert describe(changes, "unavailable", detail="no supervisord") == ["- unavailable no supervisord"]


def test_operations() -> None:
    """Its percentage changes several times a second."""
    changes = Changes(everything, colored=False)
    operation = {"id": "1", "verb": "update", "plugin_id": "a", "state": "running", "phase": "environment"}
    assert describe(changes, "operation", **operation, percent=20) == ["a update: environment"]
    assert describe(changes, "operation", **operation, percent=30) == []
    ended = operation | {"state": "failed"}
    assert describe(changes, "operation", **ended) == ["a update: failed"]


def test_nodes() -> None:
    changes = Changes(everything, colored=False)
    nodes = [{"name": name, "state": "ready", "availability": "active"} for name in ("n1", "n2")]
    assert describe(changes, "nodes", nodes=nodes) == []
    later = [nodes[0] | {"state": "down"}, nodes[1] | {"name": "n3"}]
    assert describe(changes, "nodes", nodes=later) == [
        "- node n1: ready, active → down, active",
        "- node n3: added, ready, active",
        "- node n2: removed",
    ]
    assert describe(changes, "something-newer") == []


def test_colours() -> None:
    changes = Changes(everything, colored=True)
    describe(changes, "snapshot", plugins=[make_plugin("a")])
    status = {"plugin_id": "a", "status": "error", "state": "EXITED"}
    assert describe(changes, "status", **status) == ["a \x1b[32mrunning\x1b[0m → \x1b[31merror\x1b[0m"]


def test_health_is_said_in_words_of_its_own() -> None:
    changes = Changes(everything, colored=False)
    describe(changes, "snapshot", plugins=[make_plugin("web", "stopped")])
    starting = {"plugin_id": "web", "status": "starting", "health": "starting"}
    assert describe(changes, "status", **starting) == ["web stopped → starting"]
    running = {"plugin_id": "web", "status": "running", "health": "starting"}
    assert describe(changes, "status", **running) == ["web starting → running, not ready yet"]
    healthy = {"plugin_id": "web", "status": "running", "health": "healthy"}
    assert describe(changes, "status", **healthy) == ["web running, not ready yet → running, healthy"]


def test_as_json() -> None:
    """Each plugin once, then what has changed; a plugin whose manifest is not known yet comes with the next list."""
    lines = JsonLines(lambda plugin_id: plugin_id != "hidden")

    def show(name: str, **data: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for line in lines.describe(name, data)]

    first = make_plugin("a", pid=7, uptime=1, author="x")
    assert show("snapshot", plugins=[first, make_plugin("hidden")]) == [first]
    assert show("status", plugin_id="a", status="running", state="RUNNING", pid=7, uptime=5) == [], "only its uptime"
    assert show("status", plugin_id="a", status="error", state="FATAL") == [
        {"id": "a", "author": "x", "status": "error", "state": "FATAL"}
    ]
    assert show("status", plugin_id="b", status="running") == show("status", plugin_id="hidden", status="error") == []
    assert show("unavailable", detail="gone") == [{"unavailable": "gone"}]
    assert show("plugins", plugins=[make_plugin("b")]) == [make_plugin("b"), {"id": "a", "removed": True}]
    assert show("snapshot", plugins=[make_plugin("b")]) == [], "after a reconnection"
