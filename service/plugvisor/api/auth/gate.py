"""Who sends a request: tokens and the admin code as bearer tokens (RFC 6750), and what a wrong one costs its sender."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import secrets
import time
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from plugvisor.errors import TooManyAttempts, Unauthorized
from plugvisor.models.stored.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection, Request
    from starlette.types import Receive

    from plugvisor.manager.identities.identities import Identities

logger = logging.getLogger(__name__)

BURST = 10
"""So many wrong codes a client may send at once …"""
REFILL_SECONDS = 10.0
"""… and one more each time this has passed: four letters last a month on average, and a typo costs nothing."""
DELAY_SECONDS = 1.0
"""How long the response to a wrong code is held back if its sender has sent too many."""
MOST_DELAYED = 256
MOST_DELAYED_PER_ADDRESS = 8
LOG_SECONDS = 60.0
"""How often wrong codes of one address are logged."""
REASONS = ("missing", "wrong", "repeated", "throttled")
_MOST_SENDERS = 4096
_KEPT_CODES = 8
_WRONG = "the token or admin code is wrong, or has expired"


@dataclass
class _Sender:
    """An address that has sent wrong codes."""

    full_at: float = 0.0
    """When its bucket will be full again."""
    wrong_codes: deque[bytes] = field(default_factory=lambda: deque(maxlen=_KEPT_CODES))
    """Keyed digests of the last ones: the same code again is no guess, but a client that has kept an old one."""
    delayed: int = 0
    logged_at: float = -math.inf
    unlogged: int = 0


class Gate:
    """Finds out who sends a request.

    A token or a strong admin code cannot be guessed, so the right one passes at any time: nobody can lock its owner
    out. A weak code is not compared while its sender is throttled, or the throttle would not slow guessing.
    """

    def __init__(self, identities: Identities, clock: Callable[[], float] = time.monotonic) -> None:
        self._identities = identities
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self._delayed = 0
        self.failures = dict.fromkeys(REASONS, 0)
        """How many requests were rejected since the service began, by reason."""

    async def check(self, request: Request[Any]) -> Identity:
        """Find out who has sent a request that needs a token.

        Raises:
            Unauthorized: no token, or a wrong one; after a delay if the client has sent too many.
            TooManyAttempts: too many wrong ones came from the same client.
        """
        token = read_token(request)
        if not token:
            self.failures["missing"] += 1
            raise Unauthorized("a token or the admin code is needed: send it as `Authorization: Bearer <token>`")
        return await self.check_token(token, request, request.receive)

    def check_again(self, identity: Identity) -> None:
        """Raise `Unauthorized` if the token that has proved an identity before is no longer valid."""
        if not self._identities.is_valid(identity):
            raise Unauthorized(_WRONG)

    async def check_token(self, token: bytes, connection: HTTPConnection[Any], receive: Receive) -> Identity:
        """Find out whose token it is, however it was sent; a disconnect that is received ends a delay.

        Raises:
            Unauthorized, TooManyAttempts: as above.
        """
        address = find_address(connection)
        found = self._identify(token, address)
        if isinstance(found, Identity):
            return found
        if found != "throttled":
            raise Unauthorized(_WRONG)
        sender = self._senders[address]
        wait_seconds = self._seconds_to_wait(sender)
        error = TooManyAttempts(
            f"too many wrong tokens or admin codes came from this address; try again in {wait_seconds} seconds",
            wait_seconds,
        )
        if self._delayed >= MOST_DELAYED or sender.delayed >= MOST_DELAYED_PER_ADDRESS:
            raise error
        await self._delay(sender, receive)
        raise error if self._identities.has_weak_code else Unauthorized(_WRONG)

    def identify(self, request: Request[Any]) -> Identity | None:
        """Who has sent a request that needs no token; a wrong one counts as one, and is not delayed."""
        token = read_token(request)
        found = self._identify(token, find_address(request)) if token else None
        return found if isinstance(found, Identity) else None

    def _identify(self, token: bytes, address: str) -> Identity | str:
        """Whose token it is; if it is wrong it is counted, and why it does not pass is returned: one of `REASONS`."""
        sender = self._senders.get(address)
        is_throttled = sender is not None and self._seconds_to_wait(sender) > 0
        compares_code = not (is_throttled and self._identities.has_weak_code)
        identity = self._identities.find(token, compare_code=compares_code)
        if identity is not None:
            return identity
        if sender is None:
            sender = self._senders[address] = _Sender()
            if len(self._senders) > _MOST_SENDERS:
                self._senders.popitem(last=False)
        self._senders.move_to_end(address)
        digest = blake2b(token, key=self._key, digest_size=16).digest()
        if digest in sender.wrong_codes:
            reason = "repeated"
        else:
            reason = "throttled" if is_throttled else "wrong"
            if compares_code:
                sender.wrong_codes.append(digest)
            if not is_throttled:
                sender.full_at = max(sender.full_at, self._clock()) + REFILL_SECONDS
        self.failures[reason] += 1
        self._log(sender, address)
        return reason

    async def _delay(self, sender: _Sender, receive: Receive) -> None:
        """Wait, at most until the client hangs up; only its connection is held."""
        self._delayed += 1
        sender.delayed += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DELAY_SECONDS):
                    while not (await receive())["type"].endswith(".disconnect"):
                        pass
        finally:
            self._delayed -= 1
            sender.delayed -= 1

    def _seconds_to_wait(self, sender: _Sender) -> int:
        return max(0, math.ceil(sender.full_at - self._clock() - (BURST - 1) * REFILL_SECONDS))

    def _log(self, sender: _Sender, address: str) -> None:
        """Log a wrong code, but of each address only the first in a while."""
        now = self._clock()
        if now - sender.logged_at < LOG_SECONDS:
            sender.unlogged += 1
            return
        more = f"; {sender.unlogged} more came since the last such line" if sender.unlogged else ""
        logger.warning("a wrong token or admin code came from %s%s", address or "the Unix socket", more)
        sender.logged_at, sender.unlogged = now, 0


def read_token(connection: HTTPConnection[Any]) -> bytes:
    """The bearer token; empty if there is none."""
    scheme, _, code = connection.headers.get("Authorization", "").partition(" ")
    return code.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def find_address(connection: HTTPConnection[Any]) -> str:
    """The client's address; of an IPv6 address its /64 network, which one client has as a whole."""
    return _find_network(connection.client.host if connection.client else "")


@lru_cache(maxsize=_MOST_SENDERS)
def _find_network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
