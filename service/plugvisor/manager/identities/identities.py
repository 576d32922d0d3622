"""The identities: tokens, roles and the plugins that each may change."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from plugvisor.errors import IdentityExists, IdentityNotFound, InvalidRequest
from plugvisor.manager.identities.admin import Admin, hash_token
from plugvisor.manager.identities.persistence import Persistence
from plugvisor.manager.identities.table import IdentityTable
from plugvisor.manager.identities.token import make_token
from plugvisor.store.tables import identities as stored
from plugvisor.store.tables.identities import StoredIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.admin_code import AdminCode
    from plugvisor.models.stored.identity import Identity
    from plugvisor.store.store import Store
    from plugvisor.store.tables.identities import StoredCode


class Identities:
    """Keeps the identities in memory and in the store. A change is in the store before it is in force.

    Args:
        admin_code: the one that is configured.
        ignores_case: whether it may be sent in small letters or capitals; tokens may not.
    """

    def __init__(self, store: Store, admin_code: AdminCode, *, ignores_case: bool = False) -> None:
        self.on_change: list[Callable[[], object]] = []
        """Called when a token has become invalid, or an identity has changed."""
        self._admin = Admin(admin_code, ignores_case=ignores_case)
        self._table = IdentityTable()
        self.persistence = Persistence(store, self._admin, self._table, self._announce)

    async def load(self) -> None:
        """Read what is remembered; nothing is raised. If it cannot be read now, it is when the store recovers."""
        await self.persistence.load()

    def close(self) -> None:
        """Save no more."""
        self.persistence.close()

    # -- who is it?

    def find(self, token: bytes, *, compare_code: bool = True) -> Identity | None:
        """The identity that a token or admin code belongs to; None if there is none.

        Args:
            compare_code: whether it may be the admin code, too.
        """
        digest = hash_token(token)
        if compare_code and self._admin.is_proved_by(token, digest):
            return self._admin.identity
        # a dictionary does: nobody can choose a token whose digest is near to another one
        found = self._table.find(digest)
        return found.identity if found is not None and not _has_expired(found.identity) else None

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity that a token has proved before would be found by that token now.

        Each token has an identity of its own: another object, even if everything that it says is the same.
        """
        if identity is self._admin.identity:
            return True
        known = self._table.by_name.get(identity.name)
        return known is not None and known.identity is identity and not _has_expired(identity)

    @property
    def has_weak_code(self) -> bool:
        """Whether the admin code can be guessed."""
        return self._admin.is_weak

    @property
    def admin(self) -> Identity:
        """Who has the admin code."""
        return self._admin.identity

    def list_all(self) -> list[StoredIdentity]:
        """The identities with a token, by name; one that has expired stays until it is removed."""
        return sorted(self._table.list_all(), key=lambda each: each.identity.name)

    # -- changes

    async def add(self, identity: Identity, by: str) -> str:
        """Add an identity; returns its token, which is kept nowhere.

        Args:
            by: the name of who adds it.

        Raises:
            IdentityExists, StoreUnavailable
        """
        async with self.persistence.turn:
            await self.persistence.require_loaded()
            if identity.name in self._table.by_name or identity.name == self._admin.identity.name:
                raise IdentityExists(f"there is an identity {identity.name!r} already; remove it first, or rotate it")
            token = make_token()
            new = StoredIdentity(replace(identity), hash_token(token.encode()), time.time(), by)
            await self.persistence.write(lambda connection: stored.save(connection, new), self._table.including(new))
            self._table.put(new)
        self._announce()
        return token

    async def remove(self, name: str) -> StoredIdentity:
        """Remove an identity; its token is no longer valid.

        Raises:
            IdentityNotFound, StoreUnavailable
        """
        async with self.persistence.turn:
            await self.persistence.require_loaded()
            old = self._get(name)
            await self.persistence.write(
                lambda connection: stored.delete(connection, name), self._table.excluding(name)
            )
            self._table.remove(name)
        self._announce()
        return old

    async def rotate(self, name: str) -> tuple[Identity, str]:
        """Give an identity another token; the one before is no longer valid.

        Raises:
            IdentityNotFound, StoreUnavailable
            InvalidRequest: it has expired.
        """
        async with self.persistence.turn:
            await self.persistence.require_loaded()
            old = self._get(name)
            if _has_expired(old.identity):
                raise InvalidRequest(f"the identity {name!r} has expired; remove it and add it again")
            token = make_token()
            new = old._replace(identity=replace(old.identity), digest=hash_token(token.encode()))
            await self.persistence.write(lambda connection: stored.save(connection, new), self._table.including(new))
            self._table.put(new)
        self._announce()
        return new.identity, token

    async def rotate_admin(self) -> tuple[Identity, str]:
        """Put a random admin code in force until another one is configured; raises `StoreUnavailable`."""
        async with self.persistence.turn:
            await self.persistence.require_loaded()
            code, new = await asyncio.to_thread(self._admin.make_code)
            await self.persistence.write(
                lambda connection: stored.save_code(connection, new), self._table.list_all(), new
            )
            self._admin.replace(new)
            identity = self._admin.identity
        self._announce()
        return identity, code

    async def configure(self, code: AdminCode) -> bool:
        """Put a code in force that was configured since; returns whether it is another than before."""
        async with self.persistence.turn:
            if not self._admin.configure(code):
                return False
            self.persistence.save_again()  # or else the code before would count if it were configured again
        self._announce()
        return True

    # -- on another machine

    @property
    def stored_code(self) -> StoredCode | None:
        """The admin code that a request has made; None if the configured one is in force."""
        return self._admin.stored

    async def take_over(self, changed: Mapping[str, StoredIdentity | None], codes: Sequence[StoredCode | None]) -> None:
        """Put in force what was changed on another machine: identities by name, and the admin code of a request."""
        for name, new in changed.items():
            self._table.remove(name) if new is None else self._table.put(new)
        for code in codes:
            if code is None or await asyncio.to_thread(self._admin.is_replaced_by, code):
                self._admin.replace(code)
        self.persistence.save_again()
        self._announce()

    # -- parts

    def _get(self, name: str) -> StoredIdentity:
        try:
            return self._table.by_name[name]
        except KeyError:
            raise IdentityNotFound(f"there is no identity {name!r}; GET /identities lists them") from None

    def _announce(self) -> None:
        for callback in self.on_change:
            callback()


def _has_expired(identity: Identity) -> bool:
    return identity.expires_at is not None and identity.expires_at <= time.time()
