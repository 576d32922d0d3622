"""The identities in force, found by the name and by the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.store.tables.identities import StoredIdentity


class IdentityTable:
    """Kept in memory."""

    def __init__(self) -> None:
        self.by_name: dict[str, StoredIdentity] = {}
        self._by_digest: dict[bytes, StoredIdentity] = {}

    def find(self, digest: bytes) -> StoredIdentity | None:
        """Whose token has this SHA-256."""
        return self._by_digest.get(digest)

    def list_all(self) -> list[StoredIdentity]:
        """Every identity."""
        return list(self.by_name.values())

    def put(self, new: StoredIdentity) -> None:
        """Add an identity, or put it in the place of the one of its name."""
        self.remove(new.identity.name)
        self.by_name[new.identity.name] = self._by_digest[new.digest] = new

    def remove(self, name: str) -> None:
        """Remove an identity, if it is there."""
        old = self.by_name.pop(name, None)
        if old is not None:
            self._by_digest.pop(old.digest, None)

    def including(self, new: StoredIdentity) -> list[StoredIdentity]:
        """The identities as they would be after `put`."""
        return [*self.excluding(new.identity.name), new]

    def excluding(self, name: str) -> list[StoredIdentity]:
        """The identities as they would be after `remove`."""
        return [each for each in self.by_name.values() if each.identity.name != name]
