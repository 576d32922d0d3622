"""The secret that signs webhooks, in the form of Standard Webhooks: `whsec_` and base64."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.settings import Settings

PREFIX = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64
_ADVICE = 'make one with: (umask 077; echo "whsec_$(openssl rand -base64 32)" > FILE)'


@dataclass(frozen=True)
class WebhookSecret:
    """The secret as its file has it; its `repr` hides it."""

    value: str

    def __repr__(self) -> str:
        return "WebhookSecret(…)"


def read_webhook_secret(settings: Settings) -> WebhookSecret | None:
    """Return the secret of `PLUGVISOR_WEBHOOK_SECRET_FILE`; None if there are no webhooks.

    Raises:
        ConfigurationError: there are webhooks, and no secret to sign them; nothing of the file is repeated.
    """
    if not settings.webhooks:
        return None
    path = settings.webhook_secret_file
    if path is None:
        raise ConfigurationError(
            f"cannot send webhooks without a secret: set PLUGVISOR_WEBHOOK_SECRET_FILE to a file; {_ADVICE}"
        )
    try:
        value = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        value = ""
    except OSError as error:
        raise ConfigurationError(
            f"cannot read PLUGVISOR_WEBHOOK_SECRET_FILE {str(path)!r}: {error.strerror}; {_ADVICE}"
        ) from error
    if not _is_valid(value):
        raise ConfigurationError(
            f"cannot use the secret in {str(path)!r}: it must be {PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} bytes "
            f"in base64; {_ADVICE}"
        )
    return WebhookSecret(value)


def keep_webhook_secret(path: Path, secret: WebhookSecret, group_id: int) -> None:
    """Write a secret to a file that only this user and a group can read; raises `OSError`."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        os.fchown(file.fileno(), -1, group_id)
        os.fchmod(file.fileno(), 0o640)
        file.write(secret.value + "\n")


def _is_valid(value: str) -> bool:
    if not value.startswith(PREFIX):
        return False
    try:
        key = base64.b64decode(value.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return False
    return _FEWEST_BYTES <= len(key) <= _MOST_BYTES
