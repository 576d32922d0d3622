"""The OpenAPI document, and the page that shows it: one file that loads nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from plugvisor.api.openapi import render_document
from plugvisor.api.responses import REVALIDATE, JsonResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.state import State

_PAGE = Path(__file__).with_name("docs.html")


async def show_openapi(request: Request[State]) -> Response:
    """This document."""
    return JsonResponse(render_document(request.state["routes"]))


async def show_docs(_request: Request[State]) -> Response:
    """A page that shows this document and sends requests."""
    text, policy = _read_page()
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **REVALIDATE,
    }
    return HTMLResponse(text, headers=headers)


@cache
def _read_page() -> tuple[str, str]:
    """The page, and the policy that names its script and its style by their hashes."""
    text = _PAGE.read_text(encoding="utf-8")
    script, style = (re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("script", "style"))
    rules = [
        "default-src 'none'",
        f"script-src {_name(script[0])}",
        f"style-src {_name(style[0])}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    return text, "; ".join(rules)


def _name(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
