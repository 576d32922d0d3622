"""The identities: who may ask, and for what."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from plugvisor.models.stored.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.admin_code import AdminCode
    from plugvisor.store.store import Store

ADMIN = Identity("admin", "admin")
"""Who has the admin code."""


class Identities:
    """Keeps the identities in memory and in the store.

    Args:
        admin_code: the one that is configured.
    """

    def __init__(self, store: Store, admin_code: AdminCode) -> None:
        self.on_change: list[Callable[[], object]] = []
        """Called when a token that was valid is so no more, or an identity has changed."""
        self._store = store
        self._admin_code = admin_code

    async def load(self) -> None:
        """Read what is remembered; nothing is raised."""

    def find(self, token: bytes) -> Identity | None:
        """Whose token, or admin code, this is; None if nobody's."""
        return ADMIN if hmac.compare_digest(token, self._admin_code.value.encode()) else None

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity that a token has proved before would be found by that token now."""
        return identity is ADMIN
