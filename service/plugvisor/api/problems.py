"""Errors as RFC 9457 problem details: one table, one handler."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType
from starlette.exceptions import HTTPException

from plugvisor import errors
from plugvisor.api.responses import JsonResponse
from plugvisor.models.problem import Problem, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from plugvisor.api.responses import Header

PROBLEMS: Mapping[type[errors.PlugvisorError], tuple[HTTPStatus, str]] = {
    errors.InvalidRequest: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request"),
    errors.MalformedRequest: (HTTPStatus.BAD_REQUEST, "malformed_request"),
    errors.HeadTooLarge: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large"),
    errors.BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    errors.RequestTimeout: (HTTPStatus.REQUEST_TIMEOUT, "request_timeout"),
    errors.TooManyConnections: (HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections"),
    errors.MisdirectedRequest: (HTTPStatus.MISDIRECTED_REQUEST, "misdirected_request"),
    errors.Unauthorized: (HTTPStatus.UNAUTHORIZED, "unauthorized"),
    errors.Forbidden: (HTTPStatus.FORBIDDEN, "forbidden"),
    errors.TooManyAttempts: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_attempts"),
    errors.TooManyStreams: (HTTPStatus.SERVICE_UNAVAILABLE, "too_many_streams"),
    errors.PluginsUnreadable: (HTTPStatus.INTERNAL_SERVER_ERROR, "plugins_unreadable"),
    errors.PluginNotFound: (HTTPStatus.NOT_FOUND, "plugin_not_found"),
    errors.PluginDisabled: (HTTPStatus.CONFLICT, "plugin_disabled"),
    errors.InvalidManifest: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_manifest"),
    errors.AlreadyRunning: (HTTPStatus.CONFLICT, "already_running"),
    errors.NotRunning: (HTTPStatus.CONFLICT, "not_running"),
    errors.DependencyFailed: (HTTPStatus.CONFLICT, "dependency_failed"),
    errors.StartFailed: (HTTPStatus.INTERNAL_SERVER_ERROR, "start_failed"),
    errors.StopTimeout: (HTTPStatus.GATEWAY_TIMEOUT, "stop_timeout"),
    errors.NotInstalled: (HTTPStatus.CONFLICT, "not_installed"),
    errors.AlreadyInstalled: (HTTPStatus.CONFLICT, "already_installed"),
    errors.NoPreviousVersion: (HTTPStatus.CONFLICT, "no_previous_version"),
    errors.InvalidPackage: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_package"),
    errors.ChecksumMismatch: (HTTPStatus.UNPROCESSABLE_ENTITY, "checksum_mismatch"),
    errors.BuildFailed: (HTTPStatus.UNPROCESSABLE_ENTITY, "build_failed"),
    errors.OperationNotFound: (HTTPStatus.NOT_FOUND, "operation_not_found"),
    errors.NotCancellable: (HTTPStatus.CONFLICT, "not_cancellable"),
    errors.OperationCancelled: (HTTPStatus.CONFLICT, "cancelled"),
    errors.OperationInterrupted: (HTTPStatus.SERVICE_UNAVAILABLE, "interrupted"),
    errors.TooManyOperations: (HTTPStatus.SERVICE_UNAVAILABLE, "too_many_operations"),
    errors.InstallationOff: (HTTPStatus.NOT_IMPLEMENTED, "not_supported"),
    errors.NotSupported: (HTTPStatus.NOT_IMPLEMENTED, "not_supported"),
    errors.StorageFull: (HTTPStatus.INSUFFICIENT_STORAGE, "insufficient_storage"),
    errors.NotWritable: (HTTPStatus.CONFLICT, "read_only"),
    errors.PreconditionFailed: (HTTPStatus.PRECONDITION_FAILED, "precondition_failed"),
    errors.UnsupportedMediaType: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
    errors.IdentityNotFound: (HTTPStatus.NOT_FOUND, "identity_not_found"),
    errors.IdentityExists: (HTTPStatus.CONFLICT, "identity_exists"),
    errors.StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable"),
    errors.SupervisorUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "supervisor_unavailable"),
    errors.SupervisorConfused: (HTTPStatus.SERVICE_UNAVAILABLE, "supervisor_unavailable"),
}
"""Every error that a request can meet. `ConfigurationError` is not among them: it is met at start-up."""

_ABOUT_ONE_PLUGIN = (
    errors.PluginNotFound,
    errors.PluginDisabled,
    errors.InvalidManifest,
    errors.AlreadyRunning,
    errors.NotRunning,
    errors.DependencyFailed,
    errors.StartFailed,
    errors.StopTimeout,
    errors.NotInstalled,
    errors.AlreadyInstalled,
    errors.NoPreviousVersion,
    errors.InvalidPackage,
    errors.BuildFailed,
    errors.OperationCancelled,
    errors.OperationInterrupted,
    errors.NotWritable,
    errors.PreconditionFailed,
    errors.Forbidden,
)
_HTTP_CODES = {HTTPStatus.NOT_FOUND: "not_found", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
_HTTP_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this path",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take this method; the Allow header names those it takes",
}
_DEFECT = "the service could not answer because of a defect of its own; its log has the details"
_CONTENT_TYPE: Header = (b"content-type", b"application/problem+json")


def name_code(error: errors.PlugvisorError) -> str:
    """The code of an error."""
    return PROBLEMS[type(error)][1]


def make_problem(error: Exception, plugin_id: str | None = None) -> Problem:
    """The problem that an exception is; nothing of an unexpected one reaches the client.

    Args:
        plugin_id: the plugin that was asked for, if it was one.
    """
    if isinstance(error, errors.PlugvisorError):
        status, code = PROBLEMS[type(error)]
        about = (error.plugin_id or plugin_id) if isinstance(error, _ABOUT_ONE_PLUGIN) else None
        return Problem(
            type="about:blank",  # `code` names the kind (RFC 9457, 4.2.1)
            title=status.phrase,
            status=status,
            detail=str(error),
            code=code,
            plugin_id=about or UNSET,
            operation_id=error.operation_id or UNSET,
            dependency=getattr(error, "dependency", None) or UNSET,
            parameter=getattr(error, "parameter", None) or UNSET,
            role=getattr(error, "role", None) or UNSET,
            entry=getattr(error, "entry", None) or UNSET,
            line=getattr(error, "line", None) or UNSET,
            column=getattr(error, "column", None) or UNSET,
            rolled_back=_or_unset(getattr(error, "rolled_back", None)),
            log=UNSET if (log := getattr(error, "log", None)) is None else tuple(log),
            retry_after=getattr(error, "retry_after_seconds", UNSET),
        )
    status, code, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", _DEFECT
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        code, detail = _HTTP_CODES.get(status, "invalid_request"), _HTTP_DETAILS.get(status, error.detail)
    return Problem(type="about:blank", title=status.phrase, status=status, detail=detail, code=code)


def _or_unset(value: bool | None) -> bool | UnsetType:
    return UNSET if value is None else value


def find_code(result: object) -> str:
    """The code of the problem if a result is an exception, else `ok`."""
    return make_problem(result).code if isinstance(result, Exception) else "ok"


def make_response(error: Exception, plugin_id: str | None = None) -> JsonResponse:
    """The response that an exception becomes."""
    headers: list[Header] = []
    if isinstance(error, errors.Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, errors.TooManyAttempts):
        headers.append((b"connection", b"close"))
    if not isinstance(error, (errors.PlugvisorError, HTTPException)):
        headers.append((b"connection", b"close"))  # uvicorn hangs up after a defect
    if isinstance(error, HTTPException) and error.headers:
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return respond_with_problem(make_problem(error, plugin_id), headers)


def respond_with_problem(problem: Problem, headers: Sequence[Header] = ()) -> JsonResponse:
    """The response with a problem as its body."""
    if problem.retry_after is not UNSET:
        headers = [*headers, (b"retry-after", b"%d" % problem.retry_after)]
    return JsonResponse(msgspec.json.encode(problem), problem.status, headers, content_type=_CONTENT_TYPE)


async def respond_to_error(request: Request, error: Exception) -> JsonResponse:
    """Respond with the problem that an exception is."""
    response = make_response(error)
    if "request_id" in request.scope:
        response.raw_headers.append((b"x-request-id", request.scope["request_id"].encode()))
    return response


def make_unavailable(error: errors.SupervisorUnavailable, plugins_count: int, time: str) -> Unavailable:
    """The problem that the service is not ready."""
    problem = msgspec.structs.asdict(make_problem(error))
    return Unavailable(**problem, available=False, plugins_count=plugins_count, time=time)
