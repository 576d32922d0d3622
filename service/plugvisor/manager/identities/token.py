"""Random tokens."""

from __future__ import annotations

import secrets
import string

TOKEN_PREFIX = "pv_"  # noqa: S105 - by which a scanner for secrets finds it
_ALPHABET = string.ascii_letters + string.digits
_CHARACTERS = 22
"""131 random bits."""


def make_token() -> str:
    """A random token."""
    return TOKEN_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS))
