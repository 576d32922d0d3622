"""The OpenAPI 3.1 document, made of the route table and of the structs that it names.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from plugvisor import VERSION
from plugvisor.api.problems import PROBLEMS
from plugvisor.errors import (
    BodyTooLarge,
    Forbidden,
    HeadTooLarge,
    MalformedRequest,
    MisdirectedRequest,
    RequestTimeout,
    TooManyAttempts,
    Unauthorized,
)
from plugvisor.models.events import LogAppend, LogBegin, Snapshot, SupervisorLost
from plugvisor.models.installation.operation import OperationSummary
from plugvisor.models.problem import Problem
from plugvisor.models.stored.journal import JournalEntry, JournalGap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.api.endpoint import Answer, Route
    from plugvisor.errors import PlugvisorError

    Schema = dict[str, Any]

OF_ANY_REQUEST = (MalformedRequest, MisdirectedRequest, RequestTimeout, BodyTooLarge, HeadTooLarge)
"""Errors that are found before any handler is."""
PROBLEM = "application/problem+json"
_EVENTS = (Snapshot, SupervisorLost, OperationSummary, LogBegin, LogAppend, JournalEntry, JournalGap)
_TEXT: Schema = {"type": "string"}
_BINARY: Schema = {"type": "string", "format": "binary"}
"""As OpenAPI 3.0 has it: generators of clients know this, and no empty schema."""


@cache
def render_document(routes: Sequence[Route]) -> bytes:
    """The document as JSON."""
    return json.dumps(make_document(routes), ensure_ascii=False, separators=(",", ":")).encode()


def make_document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Plugvisor", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": _make_components(routes),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "an identity's token, or the admin code"},
            },
        },
    }


def _make_components(routes: Sequence[Route]) -> Schema:
    used: set[Any] = {Problem, *_EVENTS}
    for route in routes:
        used |= {body for answer in route.answers.values() for body in _list_bodies(answer)}
        used |= {*route.unusual.values(), *([route.body] if route.body else [])}
    ordered = sorted(used, key=lambda body: str(body.__name__))
    return msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")[1]


def _list_bodies(answer: Answer) -> tuple[Any, ...]:
    return answer.body if isinstance(answer.body, tuple) else (answer.body,) if answer.body else ()


def _ref(struct: Any) -> Schema:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def _describe_route(route: Route) -> dict[str, Any]:
    errors = [*route.errors, *OF_ANY_REQUEST]
    if route.role is not None:
        errors += [Unauthorized, TooManyAttempts]
    if route.role in ("operator", "admin"):
        errors.append(Forbidden)
    responses = {str(int(status)): _describe_answer(answer) for status, answer in route.answers.items()}
    for status in sorted({PROBLEMS[error][0] for error in errors}):
        responses[str(int(status))] = _describe_problem(
            status, [error for error in errors if PROBLEMS[error][0] == status], route.unusual
        )
    if route.method != "GET":
        for response in responses.values():
            response.setdefault("headers", {})["X-Request-Id"] = {"schema": _TEXT}
    described: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": (route.handler.__doc__ or "").strip().partition("\n")[0],
        "parameters": _describe_parameters(route),
        "responses": responses,
    }
    if route.role is not None:
        # a list of roles is not for `http` alone since OpenAPI 3.1 (4.8.30)
        described["security"] = [{"token": [route.role]}, *([{}] if route.role_setting else [])]
    if route.body:
        text = {media_type: {"schema": _TEXT} for media_type in route.texts}
        described["requestBody"] = {"content": {**text, "application/json": {"schema": _ref(route.body)}}}
    if route.streamed:
        content = {media_type: {"schema": _BINARY} for media_type in route.streamed}
        described["requestBody"] = {"content": content, "required": True}
    return described


def _describe_parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    for field in msgspec.structs.fields(route.query) if route.query else ():
        schema = msgspec.json.schema(field.type)
        description = schema.pop("description")
        if schema["type"] != "string":
            schema = {"anyOf": [schema, {"const": ""}]}  # an empty parameter counts as absent
            if field.default is not msgspec.UNSET:
                schema["default"] = field.default
        parameters.append({"name": field.name, "in": "query", "description": description, "schema": schema})
    for name, description in route.headers.items():
        parameters.append({"name": name, "in": "header", "description": description, "schema": _TEXT})
    return parameters


def _describe_answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    bodies = _list_bodies(answer)
    if answer.media_type:
        schema: Schema = {"type": "object"} if answer.media_type.endswith("json") else _TEXT
        if bodies:
            schema = _ref(bodies[0]) if len(bodies) == 1 else {"oneOf": [_ref(body) for body in bodies]}
        described["content"] = {answer.media_type: {"schema": schema}}
    if answer.headers:
        described["headers"] = {name: {"schema": _TEXT} for name in answer.headers}
    return described


def _describe_problem(
    status: HTTPStatus,
    errors: Sequence[type[PlugvisorError]],
    unusual: Mapping[type[PlugvisorError], Any],
) -> dict[str, Any]:
    codes = sorted({PROBLEMS[error][1] for error in errors})
    body = next((unusual[error] for error in errors if error in unusual), Problem)
    schema = {"allOf": [_ref(body)], "properties": {"status": {"const": int(status)}, "code": {"enum": codes}}}
    described: dict[str, Any] = {
        "description": f"{status.phrase}: {', '.join(codes)}",
        "content": {PROBLEM: {"schema": schema}},
    }
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        described["headers"] = {"Retry-After": {"schema": _TEXT}}
    if status is HTTPStatus.UNAUTHORIZED:
        described["headers"] = {"WWW-Authenticate": {"schema": _TEXT}}
    return described


_DESCRIPTION = """\
Manages plugins, each of which is a supervisord program or a service of a swarm. What is not public needs a bearer
token: that of an identity with the role that is named, or with a later one of viewer, operator and admin; or the admin
code.

Errors are problem details (RFC 9457): `detail` is for a person, all other members are for programs, `code` above all. A
path that is not here is 404 `not_found`, a method that a path does not take 405 `method_not_allowed`, a connection too
many 503 `too_many_connections`, and a defect of the service 500 `internal_error`. HEAD is answered wherever GET is.

The data of the events of `/events` is a `Snapshot` (`snapshot`, `plugins`), a `PluginStatus` (`status`), a `NodeList`
(`nodes`), an `OperationSummary` (`operation`) or a `SupervisorLost` (`unavailable`); of a log's events a `LogBegin`
(`initial`) or a `LogAppend` (`append`); of the journal's a `JournalEntry` (`entry`) or a `JournalGap` (`gap`).

The WebSocket `/ws/logs/{plugin_id}?code=` sends a log as it grows, as JSON messages: `{"type": "initial", "logs",
"log_file", "total_lines"}` with `LogEntry` objects, then `{"type": "append", "logs"}`, and `{"type": "ping"}` every 30
seconds. Its handshake is answered by a `Problem` as any other request is: 401, 404, 429 or 503, and 403 if a page of
another origin opens it. It is closed with 1008 when the token or admin code is no longer valid."""
