"""What a request about an operation is answered with, and its parameters."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from plugvisor.api.http.long_requests import LongRequests
from plugvisor.api.parameters import decode_query
from plugvisor.api.problems import make_problem
from plugvisor.api.resources.installation.operations import answer_operation, list_operations
from plugvisor.api.resources.installation.queries import InstallQuery, OperationsQuery, UninstallQuery
from plugvisor.errors import BuildFailed, InvalidRequest, PlugvisorError
from plugvisor.models.installation.operation import Operation, OperationLog
from starlette.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from http import HTTPStatus

    from starlette.responses import Response

RUNNING = OperationLog(
    id="7",
    verb="install",
    state="running",
    phase="received",
    percent=5,
    lines=1,
    begun_at="2026-11-29T10:15:02+01:00",
    by="ops",
    plugin_id="web",
    log=("a line that only the log has",),
)
DONE = Operation(
    id="7",
    verb="install",
    plugin_id="web",
    state="succeeded",
    phase="swap",
    percent=100,
    lines=9,
    begun_at="2026-11-29T10:15:02+01:00",
    ended_at="2026-11-29T10:15:04+01:00",
    by="ops",
)


class FakeUnderWay:
    """Ends as the test says."""

    operation_id = "7"

    def __init__(self, result: Operation | PlugvisorError | None) -> None:
        self._result = result
        self.waited: list[float | None] = []

    async def wait(self, seconds: float | None) -> Operation | None:
        self.waited.append(seconds)
        if isinstance(self._result, PlugvisorError):
            raise self._result
        return self._result


def make_request(*operations: Operation) -> Request[Any]:
    registry = SimpleNamespace(get=lambda _id: RUNNING, list_all=lambda: operations)
    state = {"installations": SimpleNamespace(registry=registry), "long_requests": LongRequests()}
    return Request({"type": "http", "state": state})


def answer(
    result: Operation | PlugvisorError | None, *done: HTTPStatus
) -> tuple[Response, FakeUnderWay, dict[str, Any]]:
    """The response, what was waited for, and the request's scope."""
    request, under_way = make_request(), FakeUnderWay(result)
    response = asyncio.run(answer_operation(request, under_way, 3.5, *done))  # type: ignore[arg-type]
    return response, under_way, dict(request.scope)


@pytest.mark.parametrize(("done", "status"), [((), 200), ((201,), 201)])
def test_one_that_is_done(done: Any, status: int) -> None:
    response, under_way, scope = answer(DONE, *done)
    assert response.status_code == status
    assert response.headers["Location"] == "/operations/7"
    assert json.loads(bytes(response.body)) == msgspec.to_builtins(DONE)
    assert under_way.waited == [3.5]
    assert (scope["plugin_id"], scope["log_note"]) == ("web", "operation 7")


def test_one_that_goes_on_is_answered_without_its_log() -> None:
    response, _, scope = answer(None, 201)  # type: ignore[arg-type]
    assert response.status_code == 202
    assert response.headers["Location"] == "/operations/7"
    body = json.loads(bytes(response.body))
    assert "log" not in body
    assert body | {"log": list(RUNNING.log)} == json.loads(msgspec.json.encode(RUNNING))
    assert scope["plugin_id"] == "web"


def test_one_that_has_failed_is_named_in_the_problem() -> None:
    with pytest.raises(BuildFailed) as raised:
        answer(BuildFailed("it cannot be built", log=["no"]))
    assert raised.value.plugin_id == "web"
    problem = make_problem(raised.value)
    assert (problem.operation_id, problem.log) == ("7", ("no",))


@pytest.mark.parametrize(
    ("query", "ids"), [(b"", ["3", "2", "1"]), (b"limit=2", ["3", "2"]), (b"plugin_id=b", ["2"]), (b"plugin_id=x", [])]
)
def test_operations_of_a_plugin(query: bytes, ids: list[str]) -> None:
    known = [msgspec.structs.replace(DONE, id=name, plugin_id=of) for name, of in (("3", "a"), ("2", "b"), ("1", "a"))]
    response = asyncio.run(list_operations(make_request(*known), decode_query(OperationsQuery, query)))
    assert [each["id"] for each in json.loads(bytes(response.body))["operations"]] == ids
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "read", "parameter"),
    [
        (b"sha256=" + b"g" * 64, lambda query: query.digest, "sha256"),
        (b"sha256=" + b"a" * 63, lambda query: query.digest, "sha256"),
        (b"sha256=" + b"a" * 63 + b"%D9%A1", lambda query: query.digest, "sha256"),
        (b"plugin_id=../x", lambda query: query.expected_id, "plugin_id"),
        (b"plugin_id=x%0A", lambda query: query.expected_id, "plugin_id"),
        (b"source=%1b[31m.zip", lambda query: query.file_name, "source"),
        (b"source=a%00", lambda query: query.file_name, "source"),
        (b"source=%E2%80%AEpiz.exe", lambda query: query.file_name, "source"),
    ],
)
def test_what_a_package_cannot_be(query: bytes, read: Callable[[InstallQuery], object], parameter: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(decode_query(InstallQuery, query))
    assert raised.value.parameter == parameter


def test_what_a_package_is() -> None:
    query = decode_query(
        InstallQuery, b"sha256=" + b"Ab" * 32 + b"&source=%E7%BD%91%201.zip&replace=true&start=false&plugin_id=web"
    )
    assert (query.digest, query.file_name) == ("ab" * 32, "网 1.zip")
    assert (query.replace, query.start, query.expected_id) == (True, False, "web")
    nothing = decode_query(InstallQuery, b"sha256=&source=")
    assert (nothing.digest, nothing.file_name, nothing.expected_id, nothing.wait_seconds) == (None, "", "", None)


def test_what_an_uninstallation_takes() -> None:
    query = decode_query(UninstallQuery, b"purge=true&dependents=true&wait=0")
    assert (query.purge, query.dependents, query.wait_seconds) == (True, True, 0.0)
    with pytest.raises(InvalidRequest, match="`purge` must be true or false"):
        decode_query(UninstallQuery, b"purge=yes")
