"""The OpenAPI 3.1 document, made of the same table as the routes.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plugvisor import VERSION
from plugvisor.api.problems import PROBLEMS
from plugvisor.api.schemas import COMPONENTS, ref
from plugvisor.errors import (
    BodyTooLarge,
    HeadTooLarge,
    MalformedRequest,
    RequestTimeout,
    TooManyAttempts,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.api.schemas import Schema
    from plugvisor.errors import PlugvisorError

OF_ANY_REQUEST = (MalformedRequest, RequestTimeout, BodyTooLarge, HeadTooLarge)
"""Errors that are found before any handler is."""
JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """One answer that is no problem: its body's schema, or None where it has none, and what it says."""

    description: str
    schema: Schema | None = None
    media_type: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query or a header, never required."""

    name: str
    description: str
    schema: Schema
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """One method of one path: what answers it, and everything that is told of it. Its summary is the handler's."""

    method: str
    path: str
    handler: Callable[..., Any]
    answers: Mapping[HTTPStatus, Answer]
    errors: Sequence[type[PlugvisorError]] = ()
    parameters: Sequence[Parameter] = ()
    needs_code: bool | None = False
    """None: a setting decides."""
    body: str = ""
    """The component that an optional JSON body is."""
    unusual: Mapping[type[PlugvisorError], str] = field(default_factory=dict)
    """Errors that are answered with another component than `Problem`."""


def make_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Plugvisor", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "admin_code": {"type": "http", "scheme": "bearer", "description": "the admin code"},
            },
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    errors = [*operation.errors, *OF_ANY_REQUEST]
    if operation.needs_code is not False:
        errors += [Unauthorized, TooManyAttempts]
    responses = {str(int(status)): _describe_answer(answer) for status, answer in operation.answers.items()}
    for status in sorted({PROBLEMS[error][0] for error in errors}):
        responses[str(int(status))] = _describe_problem(
            status, [error for error in errors if PROBLEMS[error][0] == status], operation.unusual
        )
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    parameters = [
        {"name": one.name, "in": one.place, "description": one.description, "schema": one.schema}
        for one in operation.parameters
    ]
    summary = (operation.handler.__doc__ or "").strip().partition("\n")[0]
    told: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": summary,
        "parameters": [*in_path, *parameters],
        "responses": responses,
    }
    if operation.needs_code is not False:
        told["security"] = [{"admin_code": []}, *([{}] if operation.needs_code is None else [])]
    if operation.body:
        told["requestBody"] = {"content": {JSON: {"schema": ref(operation.body)}}}
    return told


def _describe_answer(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.description}
    if answer.schema is not None:
        told["content"] = {answer.media_type: {"schema": answer.schema}}
    if answer.headers:
        told["headers"] = {name: {"schema": {"type": "string"}} for name in answer.headers}
    return told


def _describe_problem(
    status: HTTPStatus,
    errors: Sequence[type[PlugvisorError]],
    unusual: Mapping[type[PlugvisorError], str],
) -> dict[str, Any]:
    codes = sorted({PROBLEMS[error][1] for error in errors})
    component = next((unusual[error] for error in errors if error in unusual), "Problem")
    schema = {
        "allOf": [ref(component)],
        "properties": {"status": {"const": int(status)}, "code": {"enum": codes}},
    }
    told: dict[str, Any] = {
        "description": f"{status.phrase}: {', '.join(codes)}",
        "content": {PROBLEM: {"schema": schema}},
    }
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        told["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    if status is HTTPStatus.UNAUTHORIZED:
        told["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return told


_DESCRIPTION = """\
Manages plugins, each of which is a supervisord program. What changes something needs the admin code as a bearer token.
Errors are problem details (RFC 9457): `detail` is for a person, `code` for programs. A path that is not here is 404
`not_found`, a method that a path does not take 405 `method_not_allowed`, a connection too many 503
`too_many_connections`, and a defect of the service 500 `internal_error`. HEAD is answered wherever GET is.

The WebSocket `/ws/logs/{plugin_id}?code=` sends a log as it grows, as JSON messages: `{"type": "initial", "logs",
"log_file", "total_lines"}` with `LogEntry` objects, then `{"type": "append", "logs"}`, and `{"type": "ping"}` every 30
seconds. It is closed with 1008 where the code is wrong."""
