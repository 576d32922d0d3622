"""The JSON Schema of the manifest, for editors."""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

from plugvisor.api.responses import REVALIDATE, JsonResponse, knows_tag
from plugvisor.models.manifest_schema import render_schema

if TYPE_CHECKING:
    from starlette.requests import Request

    from plugvisor.api.state import State

MEDIA_TYPE = "application/schema+json"


async def show_manifest_schema(request: Request[State]) -> Response:
    """The JSON Schema of `plugin.toml`."""
    text, etag = _render()
    if knows_tag(request, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag, **REVALIDATE})
    headers = ((b"etag", etag.encode()), (b"cache-control", b"no-cache"))
    return JsonResponse(text, headers=headers, content_type=(b"content-type", MEDIA_TYPE.encode()))


@cache
def _render() -> tuple[bytes, str]:
    text = render_schema()
    return text, f'"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'
