"""`POST /plugins/install`: a package is taken as it arrives, and installed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from plugvisor.api.operation_notes import hide_tokens
from plugvisor.api.resources.installation.operations import answer_operation
from plugvisor.api.state import get_identity
from plugvisor.errors import BodyTooLarge, InvalidRequest, OperationInterrupted, UnsupportedMediaType
from plugvisor.manager.installation.installations import InstallOptions

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.resources.installation.queries import InstallQuery
    from plugvisor.api.state import State
    from plugvisor.manager.installation.uploads import Upload

PACKAGE_TYPES = (
    "application/zip",
    "application/gzip",
    "application/x-zip-compressed",
    "application/x-gzip",
    "application/octet-stream",
)
"""The media types that browsers and tools send. Only the content decides which of the two kinds a package is."""
_MEGABYTE = 1_000_000


async def install_plugin(request: Request[State], query: InstallQuery) -> Response:
    """Install or update a plugin; the body is its package, a .zip or a .tar.gz."""
    installations, identity = request.state["installations"], get_identity(request)
    options = InstallOptions(start=query.start, replace=query.replace, plugin_id=query.expected_id)
    request.scope["plugin_id"] = query.plugin_id
    sha256, source = query.digest, hide_tokens(query.file_name)
    _check_head(request.headers, installations.uploads.most_bytes)
    await installations.check_ready()
    async with await installations.uploads.begin() as upload:
        await _receive(request, upload)
        # it may have taken its time, and the token may have been removed meanwhile
        request.state["gate"].check_again(identity)
        package = await upload.finish(source, sha256)
    under_way = await installations.install(package, options, identity.name)
    return await answer_operation(request, under_way, query.wait_seconds or 0.0, HTTPStatus.CREATED)


async def _receive(request: Request[State], upload: Upload) -> None:
    is_empty = True
    try:
        async with request.state["long_requests"].until_shutdown():
            async for part in request.stream():
                if part:
                    is_empty = False
                    await upload.write(part)
    except TimeoutError:
        raise OperationInterrupted("the service is about to end; send the package again") from None
    if is_empty:
        raise InvalidRequest("the body must be a package, and it is empty")


def _check_head(headers: Headers, most_bytes: int) -> None:
    """Raise what can be found wrong with a package before a byte of it is read."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type and media_type not in PACKAGE_TYPES:
        raise UnsupportedMediaType(
            f"the body must be a package, and its Content-Type one of {', '.join(PACKAGE_TYPES)}, or absent"
        )
    if int(headers.get("Content-Length", "0")) > most_bytes:  # the parser has checked that it is a number
        raise BodyTooLarge(f"a package may have {most_bytes // _MEGABYTE} MB; PLUGVISOR_PACKAGE_MB sets this")
