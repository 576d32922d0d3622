"""The endpoints of installation at the wire, as a page sees them: what a real service passes through too quickly."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from tests.helpers.page_events import PageEvents

_PATHS = re.compile(
    r"/(server/info|operations(/[^/?]+)?|plugins/install|plugin/[^/]+(/(versions|rollback|config|config/toml))?)(\?.*)?$"
)


class FakeInstallation:
    """Answers an open page's requests about installation; `requests` has those that change something."""

    def __init__(self, page: Page, events: PageEvents) -> None:
        self.info: dict[str, Any] = {"on": True, "package_mb": 200}
        self.operations: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, Any] = {"installed": False, "versions": []}
        self.text = ""
        self.earlier: list[str] = []
        self.config: dict[str, Any] = {"writable": True, "reload_needed": False}
        self.problems: dict[str, dict[str, Any]] = {}
        """Method and path → the problem that is answered in place of what was asked for."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}
        """Of the last request that changed something."""
        self.holds = False
        """Whether requests that change something get no answer."""
        self._events = events
        page.route(_PATHS, self._answer)

    @property
    def etag(self) -> str:
        """That of the manifest's text."""
        return f'"{hashlib.sha256(self.text.encode()).hexdigest()}"'

    def show(self, *items: dict[str, Any]) -> None:
        """Send a snapshot of these plugins."""
        self._events.show(*items)

    def begin(self, verb: str = "install", plugin_id: str | None = "demo", **fields: Any) -> dict[str, Any]:
        """Begin an operation, without telling the page."""
        operation = {
            "id": f"op-{len(self.operations) + 1}", "verb": verb, "state": "running", "phase": "received", "percent": 0,
            "lines": 0, "begun_at": _now(), "by": "admin", "log": [],
        } | ({"plugin_id": plugin_id} if plugin_id else {}) | fields  # fmt: skip
        self.operations[operation["id"]] = operation
        return operation

    def advance(self, operation: dict[str, Any], *lines: str, **fields: Any) -> None:
        """Change an operation and send its event, which has less than an answer."""
        operation.update(fields)
        operation["log"] += lines
        operation["lines"] += len(lines)
        if operation["state"] != "running":
            operation["ended_at"] = _now()
        seen = ("id", "verb", "plugin_id", "state", "phase", "percent", "lines", "begun_at", "ended_at")
        self._events.send("operation", {name: operation[name] for name in seen if name in operation})

    def _answer(self, route: Route) -> None:
        request = route.request
        url = urlsplit(request.url)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = f"{request.method} /{'/'.join(parts)}"
        if request.method != "GET":
            self.requests.append((request.method, "/" + "/".join(parts), query))
            self.headers = request.headers
            if self.holds:
                return
        problem = self.problems.get(key)
        if problem is not None:
            route.fulfill(status=problem["status"], json={"title": "", "type": "about:blank", **problem})
            return
        if request.method == "GET":
            self._read(route, parts, query)
        else:
            self._change(route, parts, query)

    def _read(self, route: Route, parts: list[str], query: dict[str, str]) -> None:
        match parts:
            case ["server", "info"]:
                route.fulfill(json={"installation": self.info})
            case ["operations"]:
                listed = [{**one} for one in reversed(self.operations.values())]
                for one in listed:
                    del one["log"]
                route.fulfill(json={"operations": listed})
            case ["operations", operation_id]:
                route.fulfill(json=self.operations[operation_id])
            case ["plugin", plugin_id, "versions"]:
                route.fulfill(json={"plugin_id": plugin_id, **self.versions})
            case ["plugin", plugin_id, "config"]:
                earlier = [
                    {"number": number, "replaced_at": _now(), "replaced_by": "admin", "etag": f'"{number}"'}
                    for number in range(1, len(self.earlier) + 1)
                ]
                route.fulfill(json={"plugin_id": plugin_id, "etag": self.etag, **self.config, "earlier": earlier})
            case ["plugin", _, "config", "toml"]:
                text = self.earlier[int(query["earlier"]) - 1] if "earlier" in query else self.text
                route.fulfill(body=text, content_type="application/toml; charset=utf-8", headers={"ETag": self.etag})
            case _:
                route.fallback()

    def _change(self, route: Route, parts: list[str], query: dict[str, str]) -> None:
        match route.request.method, parts:
            case "DELETE", ["operations", operation_id]:
                self.operations[operation_id] |= {"state": "cancelled", "ended_at": _now()}
                route.fulfill(json=self.operations[operation_id])
            case "POST", ["plugins", "install"]:
                verb = "update" if query.get("plugin_id") else "install"
                route.fulfill(status=202, json=self.begin(verb, query.get("plugin_id")))
            case "POST", ["plugin", plugin_id, "rollback"]:
                route.fulfill(status=202, json=self.begin("rollback", plugin_id))
            case "DELETE", ["plugin", plugin_id]:
                route.fulfill(status=202, json=self.begin("uninstall", plugin_id))
            case "PUT", ["plugin", plugin_id, "config", "toml"]:
                self._write(route, plugin_id)
            case _:
                route.fallback()

    def _write(self, route: Route, plugin_id: str) -> None:
        if route.request.headers.get("if-match") != self.etag:
            route.fulfill(status=412, json={"status": 412, "code": "precondition_failed", "detail": "it was changed"})
            return
        self.earlier.insert(0, self.text)
        self.text = route.request.post_data_json["toml"]
        answer = {"plugin_id": plugin_id, "etag": self.etag, "changed": True, "message": "", "warnings": []}
        route.fulfill(json=answer | {"reload_needed": self.config["reload_needed"]})


def make_version(version: str, **fields: Any) -> dict[str, Any]:
    """A version of `GET /plugin/{id}/versions`."""
    sha256 = hashlib.sha256(version.encode()).hexdigest()
    made = {"version": version, "sha256": sha256, "source": f"demo-{version}.zip", "installed_by": "admin"}
    return {**made, "installed_at": _now(), **fields}


def _now() -> str:
    return datetime.now(UTC).isoformat()
