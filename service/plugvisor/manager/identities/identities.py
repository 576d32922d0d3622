"""The identities: tokens, roles and the plugins that each may change."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from plugvisor.errors import IdentityExists, IdentityNotFound, InvalidRequest, StoreUnavailable
from plugvisor.manager.identities.admin import Admin, hash_token
from plugvisor.store.tables import identities as stored
from plugvisor.store.tables.identities import StoredIdentity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from plugvisor.admin_code import AdminCode
    from plugvisor.models.stored.identity import Identity
    from plugvisor.store.store import Store

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""The pause before a failed load or save is repeated, unless the store recovers sooner."""
TOKEN_PREFIX = "pv_"  # noqa: S105 - by which a scanner for secrets finds it
_ALPHABET = string.ascii_letters + string.digits
_TOKEN_CHARACTERS = 22
"""131 random bits."""


class Identities:
    """Keeps the identities in memory and in the store. A change is in the store before it is in force.

    Args:
        admin_code: the one that is configured.
    """

    def __init__(self, store: Store, admin_code: AdminCode) -> None:
        self.on_change: list[Callable[[], object]] = []
        """Called when a token has become invalid, or an identity has changed."""
        self._store = store
        self._admin = Admin(admin_code)
        self._by_digest: dict[bytes, StoredIdentity] = {}
        self._by_name: dict[str, StoredIdentity] = {}
        self._turn = asyncio.Lock()
        self._is_loaded = False
        self._is_unsaved = False
        """Whether the store may lack what is held here."""
        self._is_recovery_due = False
        self._recovering: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        store.on_change.append(self._recover_soon)
        store.on_replaced.append(self._save_again)

    async def load(self) -> None:
        """Read what is remembered; nothing is raised. If it cannot be read now, it is when the store recovers."""
        async with self._turn:
            await self._load()
        self._recover_later()

    def close(self) -> None:
        """Save no more."""
        self._store.on_change.remove(self._recover_soon)
        self._store.on_replaced.remove(self._save_again)
        if self._retry is not None:
            self._retry.cancel()
        if self._recovering is not None:
            self._recovering.cancel()

    # -- who is it?

    def find(self, token: bytes, *, compare_code: bool = True) -> Identity | None:
        """Whose token, or admin code, this is; None if nobody's.

        Args:
            compare_code: whether it may be the admin code, too.
        """
        digest = hash_token(token)
        if compare_code and self._admin.is_proved_by(digest):
            return self._admin.identity
        # a dictionary does: nobody can choose a token whose digest is near to another one
        found = self._by_digest.get(digest)
        return found.identity if found is not None and not _has_expired(found.identity) else None

    def is_valid(self, identity: Identity) -> bool:
        """Whether an identity that a token has proved before would be found by that token now.

        Each token has an identity of its own: another object, even if everything that it says is the same.
        """
        if identity is self._admin.identity:
            return True
        known = self._by_name.get(identity.name)
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
        return [self._by_name[name] for name in sorted(self._by_name)]

    # -- changes

    async def add(self, identity: Identity, by: str) -> str:
        """Add an identity; returns its token, which is kept nowhere.

        Args:
            by: the name of who adds it.

        Raises:
            IdentityExists, StoreUnavailable
        """
        async with self._turn:
            await self._require_loaded()
            if identity.name in self._by_name or identity.name == self._admin.identity.name:
                raise IdentityExists(f"there is an identity {identity.name!r} already; remove it first, or rotate it")
            token = make_token()
            new = StoredIdentity(replace(identity), hash_token(token.encode()), time.time(), by)
            await self._write(lambda connection: stored.save(connection, new))
            self._by_name[identity.name] = self._by_digest[new.digest] = new
        self._announce()
        return token

    async def remove(self, name: str) -> StoredIdentity:
        """Remove an identity; its token is no longer valid.

        Raises:
            IdentityNotFound, StoreUnavailable
        """
        async with self._turn:
            await self._require_loaded()
            old = self._get(name)
            await self._write(lambda connection: stored.delete(connection, name))
            del self._by_name[name], self._by_digest[old.digest]
        self._announce()
        return old

    async def rotate(self, name: str) -> tuple[Identity, str]:
        """Give an identity another token; the one before is no longer valid.

        Raises:
            IdentityNotFound, StoreUnavailable
            InvalidRequest: it has expired.
        """
        async with self._turn:
            await self._require_loaded()
            old = self._get(name)
            if _has_expired(old.identity):
                raise InvalidRequest(f"the identity {name!r} has expired; remove it and add it again")
            token = make_token()
            new = old._replace(identity=replace(old.identity), digest=hash_token(token.encode()))
            await self._write(lambda connection: stored.save(connection, new))
            del self._by_digest[old.digest]
            self._by_name[name] = self._by_digest[new.digest] = new
        self._announce()
        return new.identity, token

    async def rotate_admin(self) -> tuple[Identity, str]:
        """Put a random admin code in force until another one is configured; raises `StoreUnavailable`."""
        async with self._turn:
            await self._require_loaded()
            code, new = await asyncio.to_thread(self._admin.make_code)
            await self._write(lambda connection: stored.save_code(connection, new))
            self._admin.replace(new)
            identity = self._admin.identity
        self._announce()
        return identity, code

    async def configure(self, code: AdminCode) -> bool:
        """Put a code in force that was configured since; returns whether it is another than before."""
        async with self._turn:
            if not self._admin.configure(code):
                return False
            self._is_unsaved = self._is_loaded  # or else the code before would count if it were configured again
        self._announce()
        self._recover_soon()
        return True

    # -- parts

    def _get(self, name: str) -> StoredIdentity:
        try:
            return self._by_name[name]
        except KeyError:
            raise IdentityNotFound(f"there is no identity {name!r}; GET /identities lists them") from None

    def _announce(self) -> None:
        for callback in self.on_change:
            callback()

    async def _require_loaded(self) -> None:
        await self._load()
        if not self._is_loaded:
            raise StoreUnavailable("the identities cannot be read now")

    async def _load(self) -> None:
        if self._is_loaded:
            return
        try:
            identities, code = await self._store.read(stored.load)
            if code is not None and not await asyncio.to_thread(self._admin.is_replaced_by, code):
                code = None  # another one was configured since
                self._is_unsaved = True
        except StoreUnavailable:
            return
        self._is_loaded = True
        self._by_name = {each.identity.name: each for each in identities}
        self._by_digest = {each.digest: each for each in identities}
        if code is not None:
            self._admin.replace(code)
            self._announce()

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do some work in the store, and what is due besides; raises `StoreUnavailable`."""
        saves_all, self._is_unsaved = self._is_unsaved, False
        identities, code = list(self._by_name.values()), self._admin.stored

        def write(connection: sqlite3.Connection) -> None:
            if saves_all:
                stored.save_all(connection, identities, code)
            work(connection)

        try:
            await self._store.write(write)
        except BaseException:
            self._is_unsaved = True  # on a disk that did not answer in time it may have been written nevertheless
            self._recover_later()
            raise

    def _save_again(self) -> None:
        self._is_unsaved = self._is_loaded
        self._recover_soon()

    def _recover_soon(self) -> None:
        """The store may have recovered: load what could not be loaded, save what could not be saved."""
        self._is_recovery_due = True
        if self._recovering is None or self._recovering.done():
            self._recovering = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        while self._is_recovery_due:
            self._is_recovery_due = False
            async with self._turn:
                await self._load()
                if not (self._is_unsaved and self._store.is_available):
                    continue
                try:
                    await self._write(lambda _connection: None)
                except StoreUnavailable as error:
                    logger.warning("the identities are not saved yet: %s", error)
        self._recover_later()

    def _recover_later(self) -> None:
        """Try again in a while, if there is anything to load or save: what fails once need not make a store fail."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._is_loaded or self._is_unsaved:
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._recover_soon)


def make_token() -> str:
    """A random token."""
    return TOKEN_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_CHARACTERS))


def _has_expired(identity: Identity) -> bool:
    return identity.expires_at is not None and identity.expires_at <= time.time()
