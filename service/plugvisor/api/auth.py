"""Who may change things: the admin code as a bearer token (RFC 6750), and a throttle for wrong ones."""

from __future__ import annotations

import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from plugvisor.errors import TooManyAttempts, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection, Request

    from plugvisor.admin_code import AdminCode

BURST = 10
"""So many wrong codes a client may send at once …"""
REFILL_SECONDS = 10.0
"""… and one more each time this has passed: four letters last a month on average, and a typo costs nothing."""
_MOST_CLIENTS = 4096


class Gate:
    """Lets the right code pass.

    A strong code cannot be guessed, so the right one passes at any time: nobody can lock its owner out. A
    weak one is not even looked at while its sender is throttled, or the throttle would not slow guessing.
    """

    def __init__(self, code: AdminCode, clock: Callable[[], float] = time.monotonic) -> None:
        self._code = code.value.encode()
        self._is_weak = code.is_weak
        self._clock = clock
        # client -> when its bucket will be full again; who sent no wrong code for long is not in it
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def check(self, request: Request[Any]) -> None:
        """Let an authorized request pass.

        Raises:
            Unauthorized: no code, or a wrong one.
            TooManyAttempts: too many wrong ones came from the same client.
        """
        scheme, _, code = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not code.strip():
            raise Unauthorized("the admin code is needed: send it as the header `Authorization: Bearer <code>`")
        self.check_code(code.strip().encode("latin-1"), request)

    def check_code(self, code: bytes, connection: HTTPConnection[Any]) -> None:
        """Let the right code pass, however it was sent.

        Raises:
            Unauthorized, TooManyAttempts: as above.
        """
        client = _name_client(connection)
        wait_seconds = self._seconds_to_wait(client)
        if not (wait_seconds and self._is_weak) and hmac.compare_digest(code, self._code):
            return
        if wait_seconds:
            raise TooManyAttempts(
                f"too many wrong admin codes came from this address; try again in {wait_seconds} seconds", wait_seconds
            )
        self._count_wrong_code(client)
        raise Unauthorized("the admin code is wrong")

    def _seconds_to_wait(self, client: str) -> int:
        return max(0, math.ceil(self._full_at.get(client, 0) - self._clock() - (BURST - 1) * REFILL_SECONDS))

    def _count_wrong_code(self, client: str) -> None:
        self._full_at[client] = max(self._full_at.get(client, 0), self._clock()) + REFILL_SECONDS
        self._full_at.move_to_end(client)
        if len(self._full_at) > _MOST_CLIENTS:
            self._full_at.popitem(last=False)


def _name_client(connection: HTTPConnection[Any]) -> str:
    """The client's address; of an IPv6 address its /64 network, which one client has as a whole."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
