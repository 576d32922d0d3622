"""Checks of the address: whether it is free, or who has it, and whether the service answers there."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple

from plugvisor import VERSION
from plugvisor.cli.connection.address import find_own
from plugvisor.cli.connection.timed_response import TimedResponse
from plugvisor.cli.doctor.finding import Finding, from_error, ok, problem, warning
from plugvisor.cli.doctor.run_folder import find_socket, find_supervisord
from plugvisor.cli.health import connect, read_detail
from plugvisor.cli.listener import describe_failure, find_address
from plugvisor.cli.port_users import describe_ended_client, describe_port_user, listens
from plugvisor.errors import ConfigurationError
from plugvisor.setting_values import UNIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.settings import Settings

_LONGEST_BYTES = 4_000_000
_LONGEST_SOCKET_PATH_BYTES = 103
_MOST_SECONDS_APART = 30.0


class _Answer(NamedTuple):
    status: int
    date: str
    body: bytes


def check_address(settings: Settings) -> Iterator[Finding]:
    """The service answers, or could listen."""
    supervisord = find_supervisord(settings) if settings.engine == "supervisord" else 0
    try:
        answer = _get(settings, "/health")
    except (HTTPException, ValueError):
        yield _name_other(settings, "what answers there is no Plugvisor")
        return
    except OSError as error:
        is_late = isinstance(error, TimeoutError)
        if is_late and _holds_socket(settings, supervisord):
            yield problem(
                f"the service does not answer at {settings.url}, where supervisord lets clients wait for it",
                "`plugvisor ctl status plugvisor` shows whether it runs, and the end of "
                f"{settings.log_dir / '_server.log'} why it does not",
            )
        elif is_late:
            yield _name_other(settings, "what listens there does not answer")
        elif supervisord:
            yield problem(
                f"supervisord runs, but nothing answers at {settings.url}",
                "`plugvisor ctl status plugvisor` shows the service; does it have the same PLUGVISOR_HOST and _PORT?",
            )
        else:
            yield _check_free(settings)
        return
    if answer.status != HTTPStatus.OK or not _is_ours(answer.body):
        yield _name_other(settings, "what answers there is no Plugvisor")
    elif _is_of_another_folder(settings, supervisord):
        yield _name_other(settings, "a Plugvisor with another run folder answers there")
    else:
        yield from _check_service(settings, answer)


def _is_of_another_folder(settings: Settings, supervisord: int) -> bool:
    """Whether the service belongs to another supervisord than the one of these settings, if that runs."""
    if settings.engine != "supervisord" or not settings.supervisor_url.startswith(UNIX):
        return False
    if not supervisord:
        path = find_socket(settings)
        return not os.path.exists(path) or os.access(path, os.R_OK | os.W_OK)  # else one may listen, but not to us
    if settings.socket_path is not None or listens(supervisord, settings.port) is not False:
        return False
    # a service that a supervisord of the operator's own runs, or that was started by hand, listens itself
    return not find_own({"PLUGVISOR_RUN_DIR": str(settings.run_dir)}).is_at(settings.url)


def _holds_socket(settings: Settings, supervisord: int) -> bool:
    """Whether the socket at the address is the one that this supervisord, if it runs, opens for the service."""
    return bool(supervisord) and (settings.socket_path is not None or listens(supervisord, settings.port) is True)


def _check_service(settings: Settings, answer: _Answer) -> Iterator[Finding]:
    version = _read_version(settings)
    if version not in ("", VERSION):
        yield warning(
            f"the service at {settings.url} is Plugvisor {version}, and this command {VERSION}",
            "start Plugvisor again, so that both are the same",
        )
    available = _get(settings, "/available")
    if available.status not in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED):
        detail = read_detail(available.body.decode(errors="replace"))
        yield problem(f"the service at {settings.url} is not available: {detail}", "its log says more")
    else:
        yield ok(f"the service answers at {settings.url}")
        if detail := _read_warning(available):
            what, _, advice = detail.partition("; ")
            yield warning(what, advice)
    if answer.date:
        apart = abs(parsedate_to_datetime(answer.date).timestamp() - time.time())
        if apart > _MOST_SECONDS_APART:
            yield warning(
                f"the clock of the service and the one of this command are {apart:.0f} seconds apart",
                "set both by NTP",
            )


def _check_free(settings: Settings) -> Finding:
    """Whether the service could listen: the address is bound for a moment, and nobody can connect."""
    path = settings.socket_path
    if path is not None:
        if len(str(path).encode(errors="surrogateescape")) > _LONGEST_SOCKET_PATH_BYTES:
            return problem(
                f"the path of the socket {str(path)!r} is too long", "choose a shorter path in PLUGVISOR_HOST"
            )
        if not path.parent.is_dir():
            return problem(f"there is no folder {str(path.parent)!r}", "create it, or choose another PLUGVISOR_HOST")
        if path.exists() and not path.is_socket():
            return problem(f"{str(path)!r} is no socket", "remove it, or choose another path in PLUGVISOR_HOST")
        return ok(f"{settings.host} is free")
    try:
        family, address = find_address(settings.host, settings.port)
        with closing(socket.socket(family)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(address)
    except (OSError, UnicodeError) as error:
        is_busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        if is_busy and (reason := describe_ended_client(settings.port)):
            return warning(reason, "`plugvisor up` waits until it is free, at most a minute")
        found = from_error(ConfigurationError(describe_failure(settings, error)))
        if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL and _has_ipv6_alone():
            return problem(
                found.detail, "this machine has IPv6 alone: set PLUGVISOR_HOST to ::1, or to :: for all addresses"
            )
        return found
    return ok(f"{settings.host} port {settings.port} is free")


def _has_ipv6_alone() -> bool:
    return _can_bind(socket.AF_INET6, "::1") and not _can_bind(socket.AF_INET, "127.0.0.1")


def _can_bind(family: int, host: str) -> bool:
    try:
        with socket.socket(family) as client:
            client.bind((host, 0))
        return True
    except OSError:
        return False


def _name_other(settings: Settings, what: str) -> Finding:
    if settings.socket_path is not None:
        return problem(f"{settings.host} is in use: {what}", "end that, or choose another path in PLUGVISOR_HOST")
    user, _, advice = describe_port_user(settings.port).partition("; ")
    return problem(f"{settings.host} {user}: {what}", f"{advice}, or choose another PLUGVISOR_PORT")


def _get(settings: Settings, path: str) -> _Answer:
    """GET a path, without any token: what answers may be anything. Raises `OSError`, `ValueError`, `HTTPException`."""
    with connect(settings) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        response = TimedResponse(connection)
        response.begin()
        return _Answer(response.status, response.getheader("Date") or "", response.read(_LONGEST_BYTES))


def _is_ours(body: bytes) -> bool:
    try:
        content = json.loads(body)
    except ValueError:
        return False
    return isinstance(content, dict) and content.keys() >= {"status", "time"}


def _read_warning(available: _Answer) -> str:
    """The warning of `GET /available`; empty if there is none, or if reading it takes a token."""
    if available.status != HTTPStatus.OK:
        return ""
    try:
        return str(json.loads(available.body).get("warning", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


def _read_version(settings: Settings) -> str:
    """The version of the service; empty if it does not say so without a token."""
    answer = _get(settings, "/openapi.json")
    return str(json.loads(answer.body)["info"]["version"]) if answer.status == HTTPStatus.OK else ""
