"""The identity `admin`: which code proves it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from plugvisor.admin_code import make_admin_code
from plugvisor.models.stored.identity import Identity
from plugvisor.store.tables.identities import StoredCode

if TYPE_CHECKING:
    from plugvisor.admin_code import AdminCode


class Admin:
    """Knows the code in force: the configured one, or the one that a request has put in its place."""

    def __init__(self, configured: AdminCode, *, ignores_case: bool = False) -> None:
        self._ignores_case = ignores_case
        self.identity = Identity("admin", "admin")
        """Another object whenever the code is another."""
        self.stored: StoredCode | None = None
        """The code that a request has made; None if the configured one is in force."""
        self._configured = configured
        self._digest = hash_token(configured.value.encode())
        self._folded = hash_token(configured.value.upper().encode())

    @property
    def is_weak(self) -> bool:
        """Whether the code in force is short enough to be guessed."""
        return self.stored is None and self._configured.is_weak

    def is_proved_by(self, token: bytes, digest: bytes) -> bool:
        """Whether this is the code in force; takes the same time for every other of its length.

        Args:
            digest: the token's SHA-256.
        """
        is_right = hmac.compare_digest(digest, self._digest)
        if self._ignores_case and self.stored is None:
            # both comparisons, whatever the first has found
            is_right |= hmac.compare_digest(hash_token(token.upper()), self._folded)
        return is_right

    def make_code(self) -> tuple[str, StoredCode]:
        """A random code, and what to remember of it; it is not yet in force. This blocks."""
        code = make_admin_code().value
        salt = secrets.token_bytes(16)
        return code, StoredCode(hash_token(code.encode()), salt, self._hash_configured(salt))

    def is_replaced_by(self, stored: StoredCode) -> bool:
        """Whether a code was made to replace the one that is configured now. This blocks."""
        return hmac.compare_digest(self._hash_configured(stored.salt), stored.replaced)

    def replace(self, stored: StoredCode | None) -> None:
        """Put another code in force; None is the configured one."""
        self.stored = stored
        digest = stored.digest if stored else hash_token(self._configured.value.encode())
        if digest != self._digest:  # else an operator has configured the code that a request had made
            self._digest = digest
            self.identity = Identity("admin", "admin")

    def configure(self, code: AdminCode) -> bool:
        """Put a code in force that was configured since; returns whether it is another than before."""
        if code.value == self._configured.value:
            return False
        self._configured = code
        self._folded = hash_token(code.value.upper().encode())
        self.replace(None)
        return True

    def _hash_configured(self, salt: bytes) -> bytes:
        # it may be weak, and must not be found by trying if the database gets into the wrong hands
        return hashlib.scrypt(self._configured.value.encode(), salt=salt, n=2**14, r=8, p=1)


def hash_token(token: bytes) -> bytes:
    """The SHA-256 of a token; it is random, so nothing slower is needed."""
    return hashlib.sha256(token).digest()
