"""The listening socket."""

from __future__ import annotations

import os
import socket

from plugvisor.errors import ConfigurationError


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigurationError: the address is not of this machine, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except (OSError, UnicodeError) as error:  # the latter: no host can have such a name
        # create_server repeats the address in `strerror`; an unknown host's error has a number of its own kind
        known = isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno
        why = os.strerror(known) if known else str(error)
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {why}; "
            "end what uses this port, or choose another PLUGVISOR_PORT or PLUGVISOR_HOST"
        ) from error
