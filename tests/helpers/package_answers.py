"""What a service answers to the commands that install plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from tests.helpers.scripted_server import Request

ZIP = b"PK\x03\x04 the rest of it"
BEGUN = {
    "id": "op-1", "verb": "install", "state": "running", "phase": "received", "percent": 5, "lines": 0,
    "begun_at": "2026-11-29T18:05:06.000000+00:00", "by": "admin",
}  # fmt: skip
DONE = {**BEGUN, "plugin_id": "echo", "version": "1.1.0", "state": "succeeded", "phase": "swap", "percent": 100}
LISTED = {"id": "echo", "status": "running", "depends_on": []}


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


def make_operation(*log: str, lines: int | None = None, **members: object) -> tuple[int, bytes]:
    """An answer of `GET /operations/{id}`."""
    return 200, encode({**DONE, "log": log, "lines": len(log) if lines is None else lines, **members})


def make_versions(*versions: str, installed: bool = True) -> tuple[int, bytes]:
    """An answer of `GET /plugin/{id}/versions`."""
    listed = [
        {"version": version, "sha256": "ab" * 32, "source": "echo.zip", "installed_at": BEGUN["begun_at"],
         "installed_by": "deploy"}
        for version in versions
    ]  # fmt: skip
    if listed:
        listed[0] |= {"current": True, "environment": True, "python": "3.12.1"}
    return 200, encode({"plugin_id": "echo", "installed": installed, "versions": listed})


def read_query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query)
