"""The listening socket: opened at an address, or inherited from supervisord."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from typing import TYPE_CHECKING, Any

from plugvisor.cli.port_users import TIME_WAIT_SECONDS, describe_ended_client, describe_port_user
from plugvisor.cli.startup.log_format import make_announcer
from plugvisor.engines.supervisord.stop_watch import get_peer_pid
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.settings import Settings

BACKLOG = 2048
"""How many connections can wait for the service while it restarts; the system may allow fewer."""
PATIENCE_SECONDS = 3.0
"""An instance that is ending may still have the address."""
_POLL_SECONDS = 0.05
ANY_NAME = (
    "the service listens on all addresses and answers to any host name, which lets web pages reach it by DNS "
    "rebinding; set PLUGVISOR_HOSTS to the names that clients use, or to * to accept this"
)
_STDIN = 0


def open_listener(settings: Settings) -> socket.socket:
    """Listen at the address of the settings; if a client has just had the port, wait until the system frees it.

    Linux takes the ports of clients from a range that the default port is in. One that tries again and again to reach
    a service that does not listen gets that port sooner or later, and is connected to itself.

    Raises:
        ConfigurationError: there is no such address on this machine, or it is in use.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    is_announced = False
    while True:
        path = settings.socket_path
        try:
            return open_socket(settings.host, settings.port) if path is None else _open_unix_socket(path)
        except (OSError, UnicodeError) as error:  # the latter: no host can have such a name
            is_busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if is_busy and not is_announced and path is None and (reason := describe_ended_client(settings.port)):
                deadline = time.monotonic() + TIME_WAIT_SECONDS + PATIENCE_SECONDS
                is_announced = True
                make_announcer(settings)(f"{reason}; waiting until it is free, at most a minute …", is_warning=True)
            if not is_busy or time.monotonic() > deadline:
                raise ConfigurationError(describe_failure(settings, error)) from error
            time.sleep(_POLL_SECONDS)


def open_socket(host: str, port: int) -> socket.socket:
    """Listen at a TCP port; `::` is every address, those of IPv4 included.

    SO_REUSEADDR is set, SO_REUSEPORT must not be: with it another process of this user could listen here too.
    """
    family, address = find_address(host, port)
    is_every_address = address[0] == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=is_every_address)


def find_address(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    """The family and the address to listen on; raises `OSError`, `UnicodeError`."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, address


def inherit_listener() -> socket.socket | None:
    """The listening socket that supervisord passes to an `[fcgi-program:x]` as standard input; None if it is none."""
    try:
        if not stat.S_ISSOCK(os.fstat(_STDIN).st_mode):
            return None
    except OSError:
        return None
    listener = socket.socket(fileno=_STDIN)
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.detach()
        return None
    listener.set_inheritable(False)
    return listener


def describe_address(listener: socket.socket) -> str:
    """Where a socket listens, as a URL."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        return f"http://[{name[0]}]:{name[1]}" if ":" in name[0] else f"http://{name[0]}:{name[1]}"
    return f"unix://{name}"


def _open_unix_socket(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of that name that is no socket")
        _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o666)  # as open as a port; the folder says who reaches it
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of an instance that was killed; raise `OSError` if a process listens there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # else it would wait if many others do
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "it is in use") from None
        pid = get_peer_pid(client)
        raise OSError(errno.EADDRINUSE, f"it is in use by process {pid}" if pid else "it is in use")


def describe_failure(settings: Settings, error: OSError | UnicodeError) -> str:
    """Why the address of the settings cannot be listened on, and which setting to change."""
    number = error.errno if isinstance(error, OSError) else None
    if settings.socket_path is not None:
        advice = "end that, or choose another path" if number == errno.EADDRINUSE else "choose another path"
        return f"cannot listen on {settings.host}: {getattr(error, 'strerror', error)}; {advice} in PLUGVISOR_HOST"
    where = f"cannot listen on {settings.host} port {settings.port}"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"{where}: no host has this name; set PLUGVISOR_HOST to an address of this machine"
    if number == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address; set PLUGVISOR_HOST to one that it has, or to 127.0.0.1"
    if number == errno.EADDRINUSE:
        return f"{where}: {describe_port_user(settings.port)}, or choose another PLUGVISOR_PORT"
    why = os.strerror(number) if number else str(error)  # create_server repeats the address in `strerror`
    return f"{where}: {why}; choose another PLUGVISOR_PORT or PLUGVISOR_HOST"
