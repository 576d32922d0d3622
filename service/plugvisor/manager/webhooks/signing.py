"""Signs messages as Standard Webhooks says (https://www.standardwebhooks.com)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from standardwebhooks import Webhook

if TYPE_CHECKING:
    from plugvisor.webhook_secret import WebhookSecret


class Signer:
    """Makes the headers by which a receiver knows that a message is from here, and of now."""

    def __init__(self, secret: WebhookSecret) -> None:
        self._webhook = Webhook(secret.value)

    def sign(self, message_id: str, body: bytes, now: float) -> dict[str, str]:
        """The headers of one attempt; `now` is in seconds since 1970."""
        seconds = int(now)
        signature = self._webhook.sign(message_id, datetime.fromtimestamp(seconds, UTC), body.decode())
        return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": signature}
