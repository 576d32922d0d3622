"""`POST /plugins/install`: a package is taken as it arrives, and installed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from plugvisor.api.operation_notes import hide_tokens
from plugvisor.api.resources.installation.operations import answer_operation
from plugvisor.api.state import get_identity
from plugvisor.errors import BodyTooLarge, InstallationOff, InvalidRequest, UnsupportedMediaType
from plugvisor.manager.installation.installations import InstallOptions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.resources.installation.queries import InstallQuery
    from plugvisor.api.state import State
    from plugvisor.manager.installation.uploads import Package

PACKAGE_TYPES = (
    "application/zip",
    "application/gzip",
    "application/x-zip-compressed",
    "application/x-gzip",
    "application/octet-stream",
)
"""What browsers and tools call packages. The content alone says which of the two kinds it is."""
_MEGABYTE = 1_000_000


async def install_plugin(request: Request[State], query: InstallQuery) -> Response:
    """Install or update a plugin; the body is its package, a .zip or a .tar.gz."""
    installations, identity = request.state["installations"], get_identity(request)
    options = InstallOptions(start=query.start, replace=query.replace, plugin_id=query.plugin_id)
    request.scope["plugin_id"] = query.plugin_id
    if installations.why_off:
        raise InstallationOff(installations.why_off)
    package = await _receive(request, query)
    try:
        # it may have taken its time, and the token may have been removed meanwhile
        request.state["gate"].check_again(identity)
        under_way = await installations.install(package, options, identity.name)
    except BaseException:
        package.close()
        raise
    return await answer_operation(request, under_way, query.wait_seconds or 0.0, HTTPStatus.CREATED)


async def _receive(request: Request[State], query: InstallQuery) -> Package:
    """Take the package; what can be found wrong without it is found before a byte of it is read."""
    uploads = request.state["installations"].uploads
    sha256, source = query.digest, hide_tokens(query.file_name)
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type and media_type not in PACKAGE_TYPES:
        raise UnsupportedMediaType(
            f"the body must be a package, and its Content-Type one of {', '.join(PACKAGE_TYPES)}, or absent"
        )
    if int(request.headers.get("Content-Length", "0")) > uploads.most_bytes:  # the parser has checked it
        raise BodyTooLarge(f"a package may have {uploads.most_bytes // _MEGABYTE} MB; PLUGVISOR_PACKAGE_MB sets this")
    async with await uploads.begin() as upload:
        is_empty = True
        async for part in request.stream():
            if part:
                is_empty = False
                await upload.write(part)
        if is_empty:
            raise InvalidRequest("the body must be a package, and it is empty")
        package: Package = await upload.finish(source, sha256)
        return package
