"""The server to compare reads with: Starlette under the very same uvicorn, without Plugvisor.

`/bare/…` sends bytes that were given to it; `/plain/…` asks supervisord once per request and makes the
same JSON. It reads what it needs from its standard input: `python -m benchmarks.plain PORT < JSON`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plugvisor.api.http.server import open_socket, serve
from plugvisor.engines.supervisord.client import SupervisorClient
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from plugvisor.models.process import Process
    from starlette.requests import Request

HOST = "127.0.0.1"
START_SECONDS = 20.0
PATIENCE_SECONDS = 120.0
"""32 calls that wait for one another take long where each takes half a second."""


@contextlib.contextmanager
def run_plain(port: int, supervisor_url: str, bodies: Mapping[str, bytes]) -> Iterator[int]:
    """Run the server in another process; yields its process id.

    Args:
        bodies: what `/bare/<key>` is to send, and a model of what `/plain/<key>` makes; by list, status, one.
    """
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.plain", str(port)], stdin=subprocess.PIPE)
    try:
        assert process.stdin is not None
        given = {"supervisor_url": supervisor_url, "bodies": {key: body.decode() for key, body in bodies.items()}}
        with process.stdin as stdin:
            stdin.write(json.dumps(given).encode())
        _wait_until_ready(port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def create_plain_app(supervisor_url: str, bodies: Mapping[str, bytes]) -> Starlette:
    """The routes, each as short as such a service could write it."""
    client = SupervisorClient(supervisor_url, timeout_seconds=PATIENCE_SECONDS)
    manifests = {plugin["id"]: plugin for plugin in json.loads(bodies["list"])["plugins"]}
    model = json.loads(bodies["one"])

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await client.close()

    async def list_plugins(_request: Request) -> Response:
        processes = await client.get_processes()
        plugins = [manifest | _tell_status(processes[name]) for name, manifest in manifests.items()]
        return JSONResponse({"plugins": plugins, "message": ""})

    async def show_status(_request: Request) -> Response:
        processes = await client.get_processes()
        plugins = {name: _tell_status(processes[name]) | _tell_process(processes[name]) for name in manifests}
        return JSONResponse({"plugins": plugins, "time": _now()})

    async def show_one(_request: Request) -> Response:
        process = await client.get_process(model["plugin_id"])
        assert process is not None
        return JSONResponse(model | _tell_status(process) | _tell_process(process) | {"time": _now()})

    routes = [
        *(Route(f"/bare/{key}", _send(body)) for key, body in bodies.items()),
        Route("/plain/list", list_plugins),
        Route("/plain/status", show_status),
        Route("/plain/one", show_one),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _send(body: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def send(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    return send


def _tell_status(process: Process) -> dict[str, Any]:
    return {"status": process.status, "state": process.state.name}


def _tell_process(process: Process) -> dict[str, Any]:
    return {"pid": process.pid, "uptime": process.uptime_seconds(time.monotonic())} if process.is_alive else {}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="microseconds")


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/bare/one")
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
    serve(create_plain_app(given["supervisor_url"], bodies), open_socket(HOST, int(argv[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
