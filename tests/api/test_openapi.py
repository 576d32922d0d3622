"""The OpenAPI document against reality: every route, status and field, over a real supervisord."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator, FormatChecker
from msgspec import structs
from plugvisor.api.openapi import make_document
from plugvisor.api.problems import PROBLEMS
from plugvisor.api.resources.installation.install import PACKAGE_TYPES
from plugvisor.api.routes import READS, ROUTES, make_routes
from plugvisor.models.stored.identity import ROLES
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    positive_data_acceptance,
)
from starlette import routing

from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.stack import ADMIN_CODE, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from plugvisor.api.endpoint import Route
    from plugvisor.models.stored.identity import Role

    from tests.helpers.stack import PlugvisorStack

DOCUMENT = make_document(ROUTES)
STREAMS = {"/events", "/plugin/{plugin_id}/logs/stream", "/journal/stream"}
"""These never end: test_events.py, test_journal.py and the tests of logs are about them."""
BAD_VALUES = {"wait": "-1", "dependents": "x", "limit": "0", "lines": "x", "level": "x", "search": "x" * 201}
BAD_VALUES |= {"start_time": "x", "kind": "x", "since": "x", "until": "nan", "after": "-1"}
BAD_VALUES |= {"sha256": "x", "start": "x", "replace": "x", "purge": "x", "source": "x" * 201}
BAD_VALUES |= {"earlier": "11"}
ROTATION = "/identities/admin/rotate"
"""Has a test with a Plugvisor of its own: afterwards the admin code of the tests is no longer valid."""
FAILING = "raise SystemExit(3)"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()\n"
TOLD = """
[plugin.author]
name = "Somebody"
email = "a@example.com"
url = "https://example.com"
[plugin.sdk]
version = "1.0.0"
recommended = ">=1"
supported = ">=1"
untested = ">=2"
conflicts = ["<1"]
[[plugin.dependency]]
id = "needed"
entry = "x"
custom_event = "y"
recommended = ">=0"
supported = ">=0"
untested = ">=2"
providers = ["p"]
conflicts = [">1"]
"""

TOLD_RUNTIME = """\
checks.command.exec = ["true"]
checks.port = { tcp = "127.0.0.1:1", startup = 0, threshold = 1 }
limits.open_files = 1000
"""


TOKENS: dict[str, str] = {}
"""Of the identities that `find_token` has added, by role."""


@pytest.fixture(scope="module")
def plugvisor() -> Iterator[PlugvisorStack]:
    TOKENS.clear()  # a process that has run tests of other files in between makes another Plugvisor
    with run_stack() as made:
        folder = made.write_plugin("told", runtime=TOLD_RUNTIME)
        with (folder / "plugin.toml").open("a") as manifest:
            manifest.write(TOLD)
        made.write_plugin("needed", runtime="auto_start = false")
        made.write_plugin("off", runtime='auto_start = false\nwatch.paths = ["main.py"]')
        made.write_plugin("metrics", runtime="auto_start = false")
        made.write_plugin("status", runtime="auto_start = false")
        made.write_plugin("disabled", runtime="enabled = false")
        made.write_plugin("broken", runtime="enabled = maybe")
        made.write_plugin("failing", FAILING, runtime="auto_start = false\nsupervisor.startretries = 1000")
        made.write_plugin("waiting", runtime="auto_start = false\ndepends_on.failing.required = true")
        made.write_plugin("flapping", FAILING, runtime="supervisor.startsecs = 0")
        made.write_plugin("deaf", DEAF, runtime="auto_start = false\nsupervisor.stopwaitsecs = 2")
        made.up()
        made.wait_for_status("told", "running")
        yield made


def make_validator(schema: dict[str, Any]) -> Draft202012Validator:
    whole = {**schema, "components": DOCUMENT["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def find_operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The template of a path, as the router finds it, and its description."""
    for route in ROUTES:
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route.path))
        if route.method == method and re.fullmatch(pattern, path):
            return route.path, DOCUMENT["paths"][route.path][method.lower()]
    raise AssertionError(f"{method} {path} is not described")


def check_answer(response: httpx.Response) -> tuple[str, str, int]:
    """Hold an answer against the document; returns which one of the document's it was."""
    request = response.request
    template, operation = find_operation(request.method, request.url.path)
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{request.method} {template} answered {response.status_code}, which is not described"
    for header in described.get("headers", {}):
        assert header in response.headers
    if "content" not in described:
        assert response.content == b""
        return request.method, template, response.status_code
    [(media_type, content)] = described["content"].items()
    assert response.headers["Content-Type"].partition(";")[0] == media_type
    if media_type.endswith("json"):
        make_validator(content["schema"]).validate(response.json())
    return request.method, template, response.status_code


def test_the_document_is_one() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    identifiers = [told["operationId"] for methods in DOCUMENT["paths"].values() for told in methods.values()]
    assert len(identifiers) == len(set(identifiers))
    assert all(told["summary"] for methods in DOCUMENT["paths"].values() for told in methods.values())


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {
        (method, route.path)
        for route in make_routes()
        if isinstance(route, routing.Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    sockets = [route.path for route in make_routes() if isinstance(route, routing.WebSocketRoute)]
    assert all(path in DOCUMENT["info"]["description"] for path in sockets)
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == routes


def test_every_object_of_ours_is_closed() -> None:
    def look(schema: Any, where: str) -> None:
        if isinstance(schema, dict):
            if schema.get("type") == "object" and "properties" in schema:
                assert schema.get("additionalProperties") is False, where
            for key, value in schema.items():
                look(value, f"{where}/{key}")

    look(DOCUMENT["components"]["schemas"], "")


def test_codes_of_problems_are_ours() -> None:
    known = {(str(int(status)), code) for status, code in PROBLEMS.values()}
    for methods in DOCUMENT["paths"].values():
        for told in methods.values():
            for status, answer in told["responses"].items():
                content = answer.get("content", {}).get("application/problem+json")
                if content:
                    codes = content["schema"]["properties"]["code"]["enum"]
                    assert codes
                    assert {(status, code) for code in codes} <= known


def begin_anew(plugvisor: PlugvisorStack) -> None:
    """Bring every plugin into a state of its own, whatever the requests that nobody thought of have made of it."""
    assert plugvisor.post("/plugins/stop", json={}).status_code == 200
    for plugin_id in ("deaf", "off", "waiting"):
        plugvisor.post(f"/plugin/{plugin_id}/enable")
    for plugin_id in ("told", "flapping", "failing"):
        plugvisor.post(f"/plugin/{plugin_id}/enable")
        plugvisor.post(f"/plugin/{plugin_id}/start")
    plugvisor.wait_for_status("told", "running")
    plugvisor.wait_for_status("failing", "error")
    wait_for(lambda: "watch" in plugvisor.status("off"), "its files to be watched")
    plugvisor.post("/plugin/waiting/start")


def install(plugvisor: PlugvisorStack) -> Iterator[httpx.Response]:
    """Every answer about a plugin that comes and goes; those that answer 202 are waited for by the next."""
    code = {"Authorization": f"Bearer {ADMIN_CODE}"}
    packages = [
        make_plugin_package("installed", version=f"{number}.0.0", runtime="auto_start = false") for number in (1, 2, 3)
    ]
    for package, wait in zip(packages, (0, 60, 60), strict=True):
        yield plugvisor.post(f"/plugins/install?replace=true&wait={wait}", content=package)
    yield plugvisor.http.get("/operations", headers=code)
    operation_id = plugvisor.get("/operations").json()["operations"][0]["id"]
    yield plugvisor.http.get(f"/operations/{operation_id}", headers=code)
    yield plugvisor.http.get("/plugin/installed/versions", headers=code)
    for wait in ("0", "60"):
        yield plugvisor.post(f"/plugin/installed/rollback?wait={wait}")
    with make_endless_package("endless") as package:
        endless = plugvisor.post("/plugins/install", content=package).json()
        yield plugvisor.http.delete(f"/operations/{endless['id']}", headers=code)
    yield plugvisor.http.delete("/plugin/installed?wait=60", headers=code)
    yield plugvisor.http.delete("/plugin/installed?purge=true&wait=0", headers=code)


def configure(plugvisor: PlugvisorStack) -> Iterator[httpx.Response]:
    """Every answer about a manifest."""
    code = {"Authorization": f"Bearer {ADMIN_CODE}"}
    text = plugvisor.get("/plugin/off/config/toml").text
    for body in (text + "# another\n", text):
        yield plugvisor.http.put("/plugin/off/config/toml", content=body, headers=code)
    yield plugvisor.http.get("/plugin/off/config", headers=code)
    yield plugvisor.http.get("/plugin/broken/config", headers=code)
    yield plugvisor.http.get("/plugin/off/config/toml?earlier=1", headers=code)
    yield plugvisor.http.get("/plugin/off/config/toml", headers={**code, "If-None-Match": "*"})


def test_every_success_is_as_described(plugvisor: PlugvisorStack) -> None:
    code = {"Authorization": f"Bearer {ADMIN_CODE}"}
    begin_anew(plugvisor)
    etag = plugvisor.http.get("/plugins").headers["ETag"]
    seen = {
        check_answer(response)
        for response in [
            *(
                plugvisor.http.get(path)
                for path in ("/plugins", "/plugin/status", "/nodes", "/health", "/available", "/docs")
            ),
            plugvisor.http.get("/plugin/status?plugin_id=told"),
            *(plugvisor.http.get(path) for path in ("/openapi.json", "/schemas/plugin.toml.json")),
            plugvisor.http.get("/schemas/plugin.toml.json", headers={"If-None-Match": "*"}),
            plugvisor.post("/plugin/off/start"),
            plugvisor.post("/plugin/waiting/start"),
            plugvisor.post("/plugin/off/reload"),
            plugvisor.post("/plugin/off/stop"),
            plugvisor.post("/plugin/off/reload?wait=0"),
            *(plugvisor.post(f"/plugin/off/{verb}") for verb in ("disable", "enable")),
            plugvisor.http.delete("/plugin/off/intent", headers=code),
            plugvisor.post("/plugins/refresh"),
            *(plugvisor.post(f"/plugins/{verb}", json={"plugin_ids": ["off"]}) for verb in ("start", "stop")),
            plugvisor.post("/plugins/reload", json={"plugin_ids": ["off", "gone", "disabled"]}),
            *(plugvisor.http.get(f"/plugin/{name}/health") for name in ("told", "failing", "metrics", "off")),
            *(plugvisor.http.get(f"/plugin/metrics{rest}", headers=code) for rest in ("", "/told", "/told/history")),
            *(plugvisor.http.get(path, headers=code) for path in ("/plugin/metrics/metrics", "/server/info")),
            plugvisor.http.get("/metrics", headers=code),
            plugvisor.http.get("/whoami", headers=code),
            plugvisor.post("/identities", json={"name": "seen", "role": "viewer", "expires_at": "2100-01-01"}),
            plugvisor.http.get("/identities", headers=code),
            plugvisor.post("/identities/seen/rotate"),
            plugvisor.http.delete("/identities/seen", headers=code),
            plugvisor.http.get("/journal", headers=code),
            *(
                plugvisor.http.get(f"/plugin/{rest}", headers=code)
                for rest in ("told/logs", "_server/logs/files", "told/manifest")
            ),
            *install(plugvisor),
            *configure(plugvisor),
        ]
    }
    plugvisor.start_running("deaf")
    seen |= {check_answer(plugvisor.post(f"/plugin/deaf/{verb}?wait=0")) for verb in ("stop", "disable")}
    plugvisor.post("/plugin/deaf/enable")
    while True:  # something may have changed in between
        unchanged = plugvisor.http.get("/plugins", headers={"If-None-Match": etag})
        seen.add(check_answer(unchanged))
        if unchanged.status_code == 304:
            break
        etag = unchanged.headers["ETag"]
    with plugvisor.http.stream("GET", "/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert "200" in find_operation("GET", "/events")[1]["responses"]
    described = {
        (method.upper(), path, int(status))
        for path, methods in DOCUMENT["paths"].items()
        for method, told in methods.items()
        for status in told["responses"]
        if int(status) < 400
    }
    assert described - seen == {("GET", path, 200) for path in STREAMS} | {("POST", ROTATION, 200)}


def test_the_rotation_of_the_admin_code_is_as_described() -> None:
    with run_stack() as own:
        own.up()
        assert check_answer(own.post(ROTATION)) == ("POST", ROTATION, 200)
        assert check_answer(own.post(ROTATION)) == ("POST", ROTATION, 401)


UNMET_FIELDS = {"flapping", "node", "tasks"}
"""The last two are met on a swarm (tests/swarm/test_nodes.py)."""


def test_every_field_is_met(plugvisor: PlugvisorStack) -> None:
    """A field that no answer has any more must leave the document as well."""
    begin_anew(plugvisor)
    assert plugvisor.post("/plugin/status/disable").status_code == 200
    listed = plugvisor.http.get("/plugins").json()["plugins"]
    known = DOCUMENT["components"]["schemas"]
    assert {key for plugin in listed for key in plugin} | UNMET_FIELDS == known["ListedPlugin"]["properties"].keys()
    statuses = plugvisor.http.get("/plugin/status").json()["plugins"].values()
    assert {key for told in statuses for key in told} | UNMET_FIELDS == known["ProcessStatus"]["properties"].keys()
    plugvisor.add_identity("met", "operator", plugins=["x-*"], expires_at="2100-01-01")
    identities = plugvisor.get("/identities").json()["identities"]
    assert {key for identity in identities for key in identity} == known["IdentityInfo"]["properties"].keys()
    issued = plugvisor.post("/identities/met/rotate").json()
    assert issued.keys() == known["IssuedToken"]["properties"].keys()
    assert plugvisor.get("/whoami", issued["token"]).json().keys() == known["WhoAmI"]["properties"].keys()
    plugvisor.http.delete("/identities/met", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    [told] = [plugin for plugin in listed if plugin["id"] == "told"]
    assert told["dependencies"][0].keys() == known["Dependency"]["properties"].keys()

    def list_checks() -> list[dict[str, Any]]:
        checks: list[dict[str, Any]] = plugvisor.http.get("/plugin/told/health").json()["checks"]
        return checks

    wait_for(lambda: all("at" in check for check in list_checks()), "the checks' first attempts")
    assert {key for check in list_checks() for key in check} == known["CheckResult"]["properties"].keys()


def find_token(plugvisor: PlugvisorStack, role: Role) -> str:
    """The token of an identity with a role."""
    if role not in TOKENS:
        TOKENS[role] = plugvisor.add_identity(f"described-{role}", role)
    return TOKENS[role]


def fill_in(route: Route, name: str) -> str:
    """A route's path, of one plugin or identity."""
    return re.sub(r"\{\w+\}", name, route.path)


def name_route(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=name_route)
def test_without_a_token_the_answer_is_as_described(plugvisor: PlugvisorStack, route: Route) -> None:
    """And with a wrong one; which roles are enough is what test_roles.py is about."""
    path = fill_in(route, "gone") + ("?plugin_id=gone" if route.path in STREAMS else "")
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        response = plugvisor.http.request(route.method, path, headers=headers)
        status = check_answer(response)[2]
        if route.role is None or route.role_setting == READS:
            assert status in (200, 404)
        else:
            assert status == 401 or ("Authorization" in headers and status == 429)


@pytest.mark.parametrize("route", ROUTES, ids=name_route)
def test_errors_are_as_described(plugvisor: PlugvisorStack, route: Route) -> None:
    code = {"Authorization": f"Bearer {ADMIN_CODE}"}
    path = fill_in(route, "gone") + ("?plugin_id=gone" if route.path in STREAMS else "")
    if "gone" in path and not path.startswith("/journal"):  # what it says of a plugin stays when that is gone
        response = plugvisor.http.request(route.method, path, headers=code)
        assert check_answer(response)[2] == 404
        is_about_plugin = "plugin_id" in route.path + path
        assert response.json().get("plugin_id") == ("gone" if is_about_plugin else None)
    if route.body is not None and not route.texts:
        response = plugvisor.http.request(route.method, path, headers=code, content=b"nonsense")
        assert check_answer(response)[2] == 422
    if route.role in ("operator", "admin"):
        viewer = find_token(plugvisor, "viewer")
        response = plugvisor.http.request(route.method, path, headers={"Authorization": f"Bearer {viewer}"})
        assert check_answer(response)[2] == 403
    names = [field.name for field in structs.fields(route.query) if field.name in BAD_VALUES] if route.query else []
    for name in names:
        path = f"{fill_in(route, 'off')}?{name}={BAD_VALUES[name]}"
        response = plugvisor.http.request(route.method, path, headers=code)
        assert check_answer(response)[2] == 422
        assert response.json()["parameter"] == name


def test_the_page_runs_its_own_script_alone(plugvisor: PlugvisorStack) -> None:
    page = plugvisor.http.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"""(?:src|href)=["'](?!openapi\.json)|\son\w+=|style=|https?://""", page.text)
    assert not re.findall("innerHTML|outerHTML|insertAdjacent|document.write|localStorage|sessionStorage", page.text)


# -- requests that nobody thought of

LONGEST_WAIT_SECONDS = 1
ELSEWHERE = [
    schemathesis.checks.not_a_server_error,  # one of them is meant: below
    ignored_auth,  # whoever guesses is throttled: test_auth.py
    positive_data_acceptance,  # a level and a time are text to the document: what is none is 422
    missing_required_header,  # the token is added below, whatever the case says
]
"""Checks that are not schemathesis's business here."""

FOR_ADMINS = {route.path for route in ROUTES if route.role == "admin"}

schemathesis.serializer.alias("application/toml", "text/plain")
packages = [each for each in PACKAGE_TYPES if each != "application/octet-stream"]
schemathesis.serializer.alias(packages, "application/octet-stream")
described = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=[*sorted(STREAMS), ROTATION])


@pytest.mark.parametrize("role", ROLES)
@described.parametrize()
@settings(max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_finds_a_defect(case: Any, plugvisor: PlugvisorStack, role: Role) -> None:
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {find_token(plugvisor, role)}"}
    case.headers.pop("If-Match", None)  # a wrong one would hide what is wrong with the text
    if "plugin_id" in (case.path_parameters or {}) and len(case.path_parameters["plugin_id"]) % 2:
        case.path_parameters["plugin_id"] = "off"
    with contextlib.suppress(TypeError, ValueError, KeyError, OverflowError):
        if float((case.query or {})["wait"]) > LONGEST_WAIT_SECONDS:  # "waiting" would wait for all of it
            case.query["wait"] = LONGEST_WAIT_SECONDS
    response = case.call(base_url=plugvisor.url, timeout=60)
    if role != "admin" and case.operation.path in FOR_ADMINS:
        assert response.status_code in (403, 404, 405), response.text
    if response.status_code >= 500:
        # many installations are under way in this test, and none is waited for
        assert response.json()["code"] in ("start_failed", "too_many_operations"), response.text
    # a parameter that nobody knows is ignored, as web servers do, and an empty list is no parameter
    given = (case.query or {}).items()
    is_ignored = any("unknown" in name or value in ([], {}) for name, value in given)
    ignored = [negative_data_rejection] if is_ignored else []
    case.validate_response(response, excluded_checks=[*ELSEWHERE, *ignored])
