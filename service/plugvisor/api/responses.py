"""Responses whose body is JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from plugvisor.api.state import State
    from plugvisor.models.body import Body

Header = tuple[bytes, bytes]

REVALIDATE = {"Cache-Control": "no-cache"}
"""To be kept, and to be asked for with the tag each time."""
NO_STORE: tuple[Header, ...] = ((b"cache-control", b"no-store"),)
_JSON: Header = (b"content-type", b"application/json")
_GATHERED_BYTES = 60 * 1024
"""uvloop gathers what is written in one round of the event loop, and sends it at once when it exceeds 64 KiB."""
_COPIED_BYTES = 256 * 1024
"""Copying more than this costs more than sending a part by itself."""


class JsonResponse(Response):
    """JSON that is bytes already. Starlette's own response would spend most of its time on the headers."""

    def __init__(
        self,
        body: bytes,
        status: int = HTTPStatus.OK,
        headers: Sequence[Header] = (),
        *,
        rest: bytes = b"",
        content_type: Header = _JSON,
    ) -> None:
        """Args: `rest` is the end of the body, where that is cheaper to send by itself."""
        self.status_code = status
        self.background = None
        self.body: bytes | memoryview = body
        self.rest: bytes = rest
        if len(body) <= _GATHERED_BYTES:
            self.body, self.rest = body + rest, b""
        elif rest and len(body) < _COPIED_BYTES:  # so that all of it is sent together
            gathered = memoryview(body)[:_GATHERED_BYTES]
            self.body, self.rest = gathered, b"".join((memoryview(body)[_GATHERED_BYTES:], rest))
        self.raw_headers = [(b"content-length", b"%d" % (len(body) + len(rest))), content_type, *headers]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": bool(self.rest)})
        if self.rest:
            await send({"type": "http.response.body", "body": self.rest})


def respond(body: Body, status: int = HTTPStatus.OK, headers: Sequence[Header] = ()) -> JsonResponse:
    """The response with this body."""
    return JsonResponse(msgspec.json.encode(body), status, headers)


def knows_tag(request: Request[State], etag: str) -> bool:
    """Whether `If-None-Match` names a tag, weak or not (RFC 9110, 13.1.2): a proxy may have made it a weak one."""
    known = ",".join(value.decode("latin-1") for name, value in request.scope["headers"] if name == b"if-none-match")
    return known == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]
