"""The plugins that the page shows, as a test wants them: what a real service takes long to arrive at, or never does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SCRIPT = """(() => {
  const { fetch } = window;
  const streams = [];
  window.sendEvent = (kind, data) => {
    const text = `event: ${kind}\\nid: 1-1\\ndata: ${JSON.stringify(data)}\\n\\n`;
    for (const stream of streams) stream.enqueue(new TextEncoder().encode(text));
  };
  window.fetch = (url, options) => {
    if (new URL(url, location).pathname !== "/events") return fetch(url, options);
    return Promise.resolve(new Response(new ReadableStream({ start: (stream) => { streams.push(stream); } })));
  };
})()"""


_FROM_MANIFEST = {
    "id", "name", "version", "description", "enabled", "dependencies", "author", "depends_on", "dependents"
}  # fmt: skip
"""What a `status` event does not have."""


class PageEvents:
    """The events of an open page, which come from the test in place of `GET /events`."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.add_init_script(_SCRIPT)

    def show(self, *items: dict[str, Any]) -> None:
        """Send a snapshot; the page has been opened after this object was made."""
        self.send("snapshot", {"plugins": items, "time": _now()})

    def change(self, item: dict[str, Any]) -> None:
        """Send the present status of one plugin."""
        state = {name: value for name, value in item.items() if name not in _FROM_MANIFEST}
        self.send("status", {**state, "plugin_id": item["id"], "time": _now()})

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Send an event."""
        self._page.evaluate("([kind, data]) => sendEvent(kind, data)", [kind, data])


def make_item(plugin_id: str, status: str = "running", *needs: str, **fields: Any) -> dict[str, Any]:
    """An item of a snapshot; it depends on `needs`."""
    state = {"running": "RUNNING", "starting": "STARTING", "stopped": "STOPPED", "error": "FATAL"}[status]
    item = {
        "id": plugin_id, "name": plugin_id, "version": "1.0.0", "description": "", "enabled": True, "restarts": 0,
        "status": status, "state": state, "dependencies": [], "author": None,
        "depends_on": [{"id": one, "condition": "ready", "required": True} for one in needs], "dependents": [],
    }  # fmt: skip
    if status == "running":
        item |= {"pid": 4711, "uptime": 3700}
    return item | fields


def connect(*items: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Give items the `dependents` that follow from their `depends_on`."""
    for item in items:
        needed = [other["id"] for other in items if any(one["id"] == item["id"] for one in other["depends_on"])]
        item["dependents"] = sorted(needed)
    return items


def _now() -> str:
    return datetime.now(UTC).isoformat()
