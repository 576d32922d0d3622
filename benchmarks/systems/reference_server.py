"""The server to compare reads with: Starlette on the same uvicorn, without Plugvisor.

`/static/…` sends bytes that were given to it; `/asking/…` asks supervisord once for each request and makes the same
JSON. What it needs comes on its standard input: `python -m benchmarks.systems.reference_server PORT < JSON`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
import xmlrpc.client
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
from plugvisor.api.http.hosts import HostCheck
from plugvisor.api.http.server import serve
from plugvisor.cli.listener import open_socket
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.systems.plugvisor_stack import HOST, find_free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from starlette.requests import Request

START_SECONDS = 20.0
CALL_SECONDS = 120.0
"""Of 32 calls that wait for each other the last takes long if each takes half a second."""


@dataclass(frozen=True)
class ReferenceServer:
    """Where it listens, and its process."""

    port: int
    pid: int


@contextlib.contextmanager
def run_reference_server(supervisord_path: Path, bodies: Mapping[str, bytes]) -> Iterator[ReferenceServer]:
    """Run the server in another process.

    Args:
        supervisord_path: supervisord's socket.
        bodies: what `/static/<key>` sends and `/asking/<key>` imitates; the keys are list, status and one.
    """
    port = find_free_port()
    command = [sys.executable, "-m", "benchmarks.systems.reference_server", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        assert process.stdin is not None
        given = {"socket": str(supervisord_path), "bodies": {key: body.decode() for key, body in bodies.items()}}
        with process.stdin as stdin:
            stdin.write(json.dumps(given).encode())
        _wait_until_ready(port)
        yield ReferenceServer(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def create_reference_app(supervisord_path: str, bodies: Mapping[str, bytes]) -> Starlette:
    """The routes, each as short as such a service could write it."""
    transport = httpx.AsyncHTTPTransport(uds=supervisord_path)
    client = httpx.AsyncClient(transport=transport, timeout=CALL_SECONDS, trust_env=False)
    manifests = {plugin["id"]: plugin for plugin in json.loads(bodies["list"])["plugins"]}
    example = json.loads(bodies["one"])

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    async def call(method: str, *params: str) -> Any:
        body = xmlrpc.client.dumps(params, f"supervisor.{method}")
        response = await client.post("http://supervisor/RPC2", content=body, headers={"Content-Type": "text/xml"})
        [value], _ = xmlrpc.client.loads(response.content)
        return value

    async def read_processes() -> dict[str, dict[str, Any]]:
        return {info["name"]: info for info in await call("getAllProcessInfo")}

    async def list_plugins(_request: Request) -> Response:
        processes = await read_processes()
        plugins = [manifest | _describe_state(processes[name]) for name, manifest in manifests.items()]
        return JSONResponse({"plugins": plugins, "message": ""})

    async def show_status(_request: Request) -> Response:
        processes = await read_processes()
        plugins = {name: _describe_state(processes[name]) | _describe_process(processes[name]) for name in manifests}
        return JSONResponse({"plugins": plugins, "time": _now()})

    async def show_one(_request: Request) -> Response:
        info = await call("getProcessInfo", example["plugin_id"])
        return JSONResponse(example | _describe_state(info) | _describe_process(info) | {"time": _now()})

    routes = [
        *(Route(f"/static/{key}", _make_static(body)) for key, body in bodies.items()),
        Route("/asking/list", list_plugins),
        Route("/asking/status", show_status),
        Route("/asking/one", show_one),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _make_static(body: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def send(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    return send


def _describe_state(info: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": info["statename"].lower(), "state": info["statename"]}


def _describe_process(info: Mapping[str, Any]) -> dict[str, Any]:
    return {"pid": info["pid"], "uptime": info["now"] - info["start"]} if info["pid"] else {}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="microseconds")


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/static/one")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        finally:
            connection.close()


def main(argv: list[str]) -> None:
    """Serve until SIGTERM."""
    given = json.load(sys.stdin)
    bodies = {key: body.encode() for key, body in given["bodies"].items()}
    serve(create_reference_app(given["socket"], bodies), open_socket(HOST, int(argv[0])), HostCheck([HOST]))


if __name__ == "__main__":
    main(sys.argv[1:])
