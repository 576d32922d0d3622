"""Everything that a measurement may use: Plugvisor, a stock supervisord and the plain server, all up."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.ours import Ours, authorize, run_ours
from benchmarks.plain import run_plain
from benchmarks.stock import Stock, run_stock
from benchmarks.supervised import ORDINARY
from tests.conftest import find_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
CALL_SECONDS = 120.0

READS = {"list": "/plugins", "status": "/plugin/status", "one": f"/plugin/status?plugin_id={ORDINARY}"}
"""The reads that are measured, by the plain server's names of them."""


@dataclass(frozen=True)
class Stage:
    """Two supervisords with the same number of light programs, and the plain server beside the service."""

    plugins: int
    ours: Ours
    stock: Stock
    plain_port: int
    plain_pid: int


class Client:
    """The API over one kept connection, with as little in between as Python has."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=CALL_SECONDS)

    def get(self, path: str) -> bytes:
        """GET; the answer must be 200."""
        return self._request("GET", path)

    def post(self, path: str) -> bytes:
        """POST with the admin code; the answer must be 200."""
        return self._request("POST", path)

    def _request(self, method: str, path: str) -> bytes:
        self._connection.request(method, path, headers=authorize())
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"cannot measure {method} {path}: it answered {response.status} {body!r}")
        return body


@contextlib.contextmanager
def set_stage(plugins: int) -> Iterator[Stage]:
    """Bring everything up with so many plugins; afterwards nothing of it is left."""
    with run_ours(plugins) as ours, run_stock(plugins) as stock:
        client = Client(ours.port)
        bodies = {key: client.get(path) for key, path in READS.items()}
        plain_port = find_free_port()
        with run_plain(plain_port, ours.supervisor_url, bodies) as plain_pid:
            yield Stage(plugins, ours, stock, plain_port, plain_pid)
