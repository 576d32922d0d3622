"""`plugvisor health`.

A container's health check runs it every few seconds, perhaps on a machine that has little CPU time left, so it imports
little: an HTTP client would take longer than everything else here.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugvisor.cli.connection.itself import refuse_itself
from plugvisor.cli.output import make_printable
from plugvisor.settings import Settings

if TYPE_CHECKING:
    import argparse

HEALTH_TIMEOUT_SECONDS = 5.0
_LONGEST_ANSWER_BYTES = 64 * 1024


def run_health(_arguments: argparse.Namespace) -> int:
    """Ask the service, as a container's health check does."""
    settings = Settings.from_env(os.environ)
    try:
        status, body = ask(settings, "/available")
        if status == HTTPStatus.UNAUTHORIZED:  # PLUGVISOR_READ_AUTH=viewer
            status, body = ask(settings, "/health")
    except (OSError, ValueError) as error:  # the latter: no host can have such a name, or that is not HTTP
        reason = getattr(error, "strerror", None) or error
        print(f"unhealthy: no answer from {settings.url}: {reason}", file=sys.stderr)
        return 1
    if status == HTTPStatus.SERVICE_UNAVAILABLE and settings.engine == "swarm":
        # the swarm would end the service for it, and while it has no quorum it could start no other
        print(f"healthy, but it answers {int(status)}: {make_printable(read_detail(body))}")
        return 0
    if status != HTTPStatus.OK:
        print(f"unhealthy: {settings.url} answers {status}: {make_printable(read_detail(body))}", file=sys.stderr)
        return 1
    print("healthy")
    return 0


def connect(settings: Settings) -> socket.socket:
    """A connection to the service; raises `OSError`, `ValueError`."""
    if settings.socket_path is not None:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(HEALTH_TIMEOUT_SECONDS)
        try:
            connection.connect(str(settings.socket_path))
        except OSError:
            connection.close()
            raise
        return connection
    url = urlsplit(settings.url)
    connection = socket.create_connection((url.hostname, url.port), HEALTH_TIMEOUT_SECONDS)
    refuse_itself(connection)
    return connection


def ask(settings: Settings, path: str) -> tuple[int, str]:
    """GET a path: the status and the body.

    Raises:
        OSError
        ValueError: the answer is not HTTP.
    """
    # a name that the service always answers to
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = b""
    with connect(settings) as connection:
        connection.sendall(request.encode())
        end_at = time.monotonic() + HEALTH_TIMEOUT_SECONDS
        while len(answer) < _LONGEST_ANSWER_BYTES and (part := connection.recv(_LONGEST_ANSWER_BYTES)):
            answer += part
            if (left_seconds := end_at - time.monotonic()) <= 0:
                raise TimeoutError("timed out")
            connection.settimeout(left_seconds)
    head, _, body = answer.partition(b"\r\n\r\n")
    match head.split(maxsplit=2):
        case [version, status, _] if version.startswith(b"HTTP/"):
            return int(status), body.decode(errors="replace")
    raise ValueError("that is not an HTTP service")


def read_detail(body: str) -> str:
    """The sentence in a problem document; of anything else the whole body."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return body
