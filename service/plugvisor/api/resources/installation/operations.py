"""The operations of installation, under way and ended."""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING

from plugvisor.api.responses import NO_STORE, respond
from plugvisor.errors import PlugvisorError
from plugvisor.models.installation.operation import Operation, OperationList

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.resources.installation.queries import OperationsQuery
    from plugvisor.api.state import State
    from plugvisor.manager.installation.installations import UnderWay
    from plugvisor.models.installation.operation import OperationLog


async def list_operations(request: Request[State], query: OperationsQuery) -> Response:
    """Every operation that is under way or is remembered, newest first, without their logs."""
    operations = request.state["installations"].registry.list_all()
    chosen = (each for each in operations if not query.plugin_id or each.plugin_id == query.plugin_id)
    return respond(OperationList(operations=tuple(islice(chosen, query.limit))), headers=NO_STORE)


async def show_operation(request: Request[State]) -> Response:
    """One operation, with its log."""
    operation = request.state["installations"].registry.get(request.path_params["operation_id"])
    return respond(operation, headers=NO_STORE)


async def cancel_operation(request: Request[State]) -> Response:
    """Cancel an operation that has not changed what is current yet; answers when nothing of it is left."""
    operation = await request.state["installations"].cancel(request.path_params["operation_id"])
    return respond(operation)


async def answer_operation(
    request: Request[State], under_way: UnderWay, wait_seconds: float | None, done: HTTPStatus = HTTPStatus.OK
) -> Response:
    """Respond with what an operation has led to, or with what it is doing when the time is over.

    Raises:
        PlugvisorError: why it has failed.
    """
    operation_id, registry = under_way.operation_id, request.state["installations"].registry
    request.scope["log_note"] = f"operation {operation_id}"
    try:
        async with request.state["long_requests"].until_shutdown():
            operation = await under_way.wait(wait_seconds)
    except TimeoutError:  # it goes on while the service ends, or is recovered from when it is back
        operation = None
    except PlugvisorError as error:
        error.operation_id = operation_id
        error.plugin_id = request.scope["plugin_id"] = registry.get(operation_id).plugin_id or ""
        raise
    status = done
    if operation is None:
        operation = _without_log(registry.get(operation_id))
        status = HTTPStatus.ACCEPTED
    request.scope["plugin_id"] = operation.plugin_id or ""
    return respond(operation, status, [(b"location", f"/operations/{operation_id}".encode())])


def _without_log(operation: OperationLog) -> Operation:
    return Operation(**{name: getattr(operation, name) for name in Operation.__struct_fields__})
