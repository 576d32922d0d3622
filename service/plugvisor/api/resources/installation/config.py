"""A plugin's manifest, parsed and as text, and a new one in its place."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

from plugvisor.api.parameters import decode_body
from plugvisor.api.responses import NO_STORE, JsonResponse, respond
from plugvisor.api.state import get_identity
from plugvisor.errors import UnsupportedMediaType
from plugvisor.models.installation.config import ConfigText

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request

    from plugvisor.api.resources.installation.queries import ConfigQuery
    from plugvisor.api.state import State

TOML = "application/toml"
TEXT_TYPES = (TOML, "text/plain")
EXAMPLE = '{"toml": "[plugin]\\nid = …"}'
_JSON = "application/json"
_TOML_TYPE = (b"content-type", f"{TOML}; charset=utf-8".encode())


async def show_config(request: Request[State]) -> Response:
    """A plugin's manifest, parsed; its values may be secrets."""
    config = await request.state["configurations"].describe(request.path_params["plugin_id"])
    return respond(config, headers=NO_STORE)


async def show_config_text(request: Request[State], query: ConfigQuery) -> Response:
    """A plugin's manifest as text, or an earlier one."""
    text, etag = await request.state["configurations"].read(request.path_params["plugin_id"], query.earlier)
    known = ",".join(request.headers.getlist("If-None-Match"))
    if known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
    return JsonResponse(text, headers=(*NO_STORE, (b"etag", etag.encode())), content_type=_TOML_TYPE)


async def replace_config(request: Request[State], body: bytes) -> Response:
    """Replace a plugin's manifest; a plugin that runs goes on with what it was started with."""
    plugin_id, by = request.path_params["plugin_id"], get_identity(request).name
    text = find_text(request.headers, body)
    tags = request.headers.getlist("If-Match")
    written = await request.state["configurations"].write(plugin_id, text, ",".join(tags) if tags else None, by)
    return respond(written, headers=(*NO_STORE, (b"etag", written.etag.encode())))


def find_text(headers: Headers, body: bytes) -> bytes:
    """The TOML in a body, by its type; raises `UnsupportedMediaType`, `InvalidRequest`."""
    media_type, _, parameters = headers.get("Content-Type", TOML).lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    if media_type.strip() == _JSON:
        return decode_body(ConfigText, body, EXAMPLE).toml.encode()
    if media_type.strip() not in TEXT_TYPES or charset not in ("", "utf-8", "utf8", "us-ascii"):
        types = ", ".join((*TEXT_TYPES, _JSON))
        raise UnsupportedMediaType(f"the body must be TOML in UTF-8, and its Content-Type one of {types}, or absent")
    return body
