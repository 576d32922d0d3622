"""Errors as RFC 9457 problem details: one table, one handler."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from plugvisor import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

logger = logging.getLogger(__name__)

PROBLEMS: Mapping[type[errors.PlugvisorError], tuple[HTTPStatus, str]] = {
    errors.InvalidRequest: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request"),
    errors.MalformedRequest: (HTTPStatus.BAD_REQUEST, "malformed_request"),
    errors.HeadTooLarge: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large"),
    errors.BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    errors.RequestTimeout: (HTTPStatus.REQUEST_TIMEOUT, "request_timeout"),
    errors.TooManyConnections: (HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections"),
    errors.Unauthorized: (HTTPStatus.UNAUTHORIZED, "unauthorized"),
    errors.TooManyAttempts: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_attempts"),
    errors.TooManyStreams: (HTTPStatus.SERVICE_UNAVAILABLE, "too_many_streams"),
    errors.PluginsUnreadable: (HTTPStatus.INTERNAL_SERVER_ERROR, "plugins_unreadable"),
    errors.PluginNotFound: (HTTPStatus.NOT_FOUND, "plugin_not_found"),
    errors.PluginDisabled: (HTTPStatus.CONFLICT, "plugin_disabled"),
    errors.InvalidManifest: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_manifest"),
    errors.AlreadyRunning: (HTTPStatus.CONFLICT, "already_running"),
    errors.NotRunning: (HTTPStatus.CONFLICT, "not_running"),
    errors.StartFailed: (HTTPStatus.INTERNAL_SERVER_ERROR, "start_failed"),
    errors.StopTimeout: (HTTPStatus.GATEWAY_TIMEOUT, "stop_timeout"),
    errors.SupervisorUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "supervisor_unavailable"),
    errors.SupervisorConfused: (HTTPStatus.SERVICE_UNAVAILABLE, "supervisor_unavailable"),
}
"""Every error that a request can meet. `ConfigurationError` is not among them: it is met at start-up."""

_TO_BE_TRIED_AGAIN = (
    errors.SupervisorUnavailable,
    errors.TooManyAttempts,
    errors.TooManyConnections,
    errors.TooManyStreams,
)
_HTTP_CODES = {HTTPStatus.NOT_FOUND: "not_found", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
_HTTP_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this path",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take this method; the Allow header names those it takes",
}


class ProblemResponse(JSONResponse):
    """`application/problem+json`; `type` is about:blank, for `code` tells the kind (RFC 9457, 4.2.1)."""

    media_type = "application/problem+json"

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Args: `more` are members beside the standard ones."""
        super().__init__({**make_problem(status, code, detail), **(more or {})}, status, headers)


def make_problem(status: HTTPStatus, code: str, detail: str) -> dict[str, Any]:
    """The members of a problem."""
    return {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail, "code": code}


def describe(error: errors.PlugvisorError) -> tuple[HTTPStatus, str]:
    """The status and the code of an error."""
    return PROBLEMS[type(error)]


async def respond_to_error(_request: Request, error: Exception) -> ProblemResponse:
    """Answer with the problem that an exception is; nothing of an unexpected one reaches the client."""
    return make_response(error)


def make_response(error: Exception, more: Mapping[str, Any] | None = None) -> ProblemResponse:
    """The problem that an exception is, with members beside the standard ones."""
    if isinstance(error, errors.PlugvisorError):
        status, code = describe(error)
        headers = {}
        if isinstance(error, _TO_BE_TRIED_AGAIN):
            headers["Retry-After"] = str(error.retry_after_seconds)
        if isinstance(error, errors.Unauthorized):
            headers["WWW-Authenticate"] = "Bearer"
        return ProblemResponse(status, code, str(error), headers, more)
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        code = _HTTP_CODES.get(status, "invalid_request")
        return ProblemResponse(status, code, _HTTP_DETAILS.get(status, error.detail), error.headers)
    return ProblemResponse(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "the service could not answer because of a defect of its own; its log has the details",
    )
