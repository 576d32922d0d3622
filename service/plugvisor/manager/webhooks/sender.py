"""Delivers messages to one receiver, one after another."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

import httpx

from plugvisor import VERSION

if TYPE_CHECKING:
    import ssl

    from plugvisor.manager.webhooks.deliveries import Delivery, Queue
    from plugvisor.manager.webhooks.outbox import Outbox
    from plugvisor.manager.webhooks.signing import Signer

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL, and one may hold a password

ATTEMPT_SECONDS = 10.0
"""How long an attempt may take, from the connection to the head of the response."""
LONGEST_DELAY_SECONDS = 3600.0
"""From one attempt to the next."""
DELAYS_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, LONGEST_DELAY_SECONDS)
"""The time before the second attempt, the third, …; the last one is repeated."""
PAUSE_SECONDS = 5.0
"""How long a receiver is left alone after an attempt that has failed, whatever else is due."""
_LONGEST_REASON = 200


class _Failure(NamedTuple):
    reason: str
    """For a person; it names no URL."""
    retry_after_seconds: float = 0.0
    """As the receiver has asked."""


class Sender:
    """Delivers the messages of a queue, from `run` until that is cancelled."""

    def __init__(self, outbox: Outbox, queue: Queue, signer: Signer) -> None:
        self._outbox = outbox
        self._queue = queue
        self._signer = signer
        self._is_failing = False

    async def run(self) -> None:
        """Deliver for ever; nothing is raised."""
        while True:
            delivery = await self._queue.take()
            try:
                failure = await self._attempt(delivery)
            except Exception as error:  # noqa: BLE001 - a traceback might show the URL
                failure = _Failure(type(error).__name__)
            if failure is None:
                self._succeed(delivery)
            else:
                self._fail(delivery, failure)

    def _succeed(self, delivery: Delivery) -> None:
        self._queue.sent += 1
        self._outbox.remove(self._queue, delivery)
        if self._is_failing:
            self._is_failing = False
            logger.info("webhooks reach %s again", self._queue.name)

    def _fail(self, delivery: Delivery, failure: _Failure) -> None:
        self._queue.failed += 1
        if not self._is_failing:  # a receiver may be away for long
            self._is_failing = True
            logger.warning("a webhook does not reach %s and is tried again: %s", self._queue.name, failure.reason)
        if self._outbox.is_expired(delivery):
            self._queue.dropped += 1
            self._outbox.remove(self._queue, delivery)
            logger.error(
                "webhook %s of %r is dropped: for a day it has not reached %s: %s",
                delivery.message.kind,
                delivery.message.plugin_id,
                self._queue.name,
                failure.reason,
            )
        else:
            delay = DELAYS_SECONDS[min(delivery.attempts, len(DELAYS_SECONDS) - 1)]
            self._outbox.postpone(self._queue, delivery, max(delay, failure.retry_after_seconds))
        self._queue.pause(max(PAUSE_SECONDS, failure.retry_after_seconds))

    async def _attempt(self, delivery: Delivery) -> _Failure | None:
        """Send a message once; returns why it was not taken."""
        message = delivery.message
        headers = self._signer.sign(message.id, message.body, time.time())
        headers |= {"Content-Type": "application/json", "User-Agent": f"Plugvisor/{VERSION}"}
        try:
            async with (
                asyncio.timeout(ATTEMPT_SECONDS),
                # a redirect is not followed: it might lead to an address that only this machine can reach
                httpx.AsyncClient(
                    verify=await asyncio.to_thread(_load_certificates),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=None,  # noqa: S113 - it is that of the whole attempt
                ) as client,
                client.stream("POST", self._queue.url, content=message.body, headers=headers) as response,
            ):
                return _judge(response)  # the body is never read
        except TimeoutError:
            return _Failure(f"no answer within {ATTEMPT_SECONDS:g} seconds")
        except httpx.InvalidURL:
            return _Failure("its URL is invalid")
        except (httpx.HTTPError, OSError, ValueError) as error:
            return _Failure(" ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__)


@functools.cache
def _load_certificates() -> ssl.SSLContext:
    """Whom to trust: the file or folder of `SSL_CERT_FILE` or `SSL_CERT_DIR`, else certifi's; takes 25 ms."""
    return httpx.create_ssl_context()


def _judge(response: httpx.Response) -> _Failure | None:
    """Why a response means that the message was not taken; None if it was."""
    if response.is_success:
        return None
    reason = f"it answered {response.status_code}"
    if response.is_redirect:
        reason += "; redirects are not followed: name the address that it redirects to"
    elif response.status_code == httpx.codes.GONE:
        reason += "; if that is for good, remove it from PLUGVISOR_WEBHOOKS"
    if response.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return _Failure(reason, _read_retry_after(response.headers.get("Retry-After", ""), time.time()))
    return _Failure(reason)


def _read_retry_after(value: str, now: float) -> float:
    """The seconds that `Retry-After` asks for, at most `LONGEST_DELAY_SECONDS`; 0 if that is not to be understood."""
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_DELAY_SECONDS)
