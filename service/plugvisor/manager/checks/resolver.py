"""Looks up the addresses of hosts, in threads that nothing else needs and that nothing waits for.

A lookup cannot be cancelled, and takes many seconds if no name server answers. In the threads of the event loop, two of
them would hold up the checks of every other name, `localhost` included.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from concurrent.futures import Future

_lookups: dict[tuple[str, int], Future[list[str]]] = {}


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. A lookup of it that is under way is joined: there is at most one thread for each host.

    Raises:
        OSError: it has none, or there is no thread for the lookup.
        ValueError: this is no host.
    """
    lookup = _lookups.get((host, port)) or _begin(host, port)
    return await asyncio.shield(asyncio.wrap_future(lookup))


def _begin(host: str, port: int) -> Future[list[str]]:
    lookup: Future[list[str]] = Future()
    lookup.set_running_or_notify_cancel()
    _lookups[host, port] = lookup
    try:
        threading.Thread(target=_look_up, args=(host, port, lookup), daemon=True).start()
    except RuntimeError as error:
        del _lookups[host, port]
        raise OSError(errno.ENOMEM, "no thread can be started") from error
    return lookup


def _look_up(host: str, port: int, lookup: Future[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        del _lookups[host, port]
        lookup.set_exception(error)
    else:
        del _lookups[host, port]
        lookup.set_result([str(address[0]) for *_, address in found])
