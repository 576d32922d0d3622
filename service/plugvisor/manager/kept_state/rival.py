"""Notices a second service that keeps what it remembers in the same place, and does not just follow this one."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 30.0
"""How long what another service has written may be the newest before this one writes it again, as it is."""
_KNOWN_SECONDS = 4 * CLAIM_SECONDS
"""How long one write of a rival counts: it writes more often."""
_DETAIL = (
    "another Plugvisor with the same PLUGVISOR_NAME runs in this swarm: each takes the other's plugins for its own, "
    "and may remove them; give each its own PLUGVISOR_NAME"
)


class Rival:
    """A service that lives writes again what another has written, so that each of two learns of the other.

    One that another has replaced does not live for so long. No service is refused or slowed down.
    """

    def __init__(self) -> None:
        self._is_own = False
        """Whether the newest was written here when it was looked at last."""
        self._others_since: float | None = None
        self._replaced_at: float | None = None
        """When another has written after this one; several soon after each other count once."""
        self._until: float | None = None

    def note(self, now: float, *, is_own: bool) -> bool:
        """Take over whether this process has written the newest; returns whether it should be written again.

        Args:
            now: on the monotonic clock.
        """
        if self._until is not None and self._until < now:
            self._until = None
            logger.info("no other Plugvisor with the same PLUGVISOR_NAME has been seen for a while")
        if is_own:
            self._is_own, self._others_since = True, None
            return False
        if self._is_own:
            self._note_replaced(now)
        self._is_own = False
        if self._others_since is None:
            self._others_since = now
        return now - self._others_since >= CLAIM_SECONDS

    def _note_replaced(self, now: float) -> None:
        since = _KNOWN_SECONDS + 1 if self._replaced_at is None else now - self._replaced_at
        if since < CLAIM_SECONDS:
            return
        self._replaced_at = now
        if since <= _KNOWN_SECONDS:
            if self._until is None:
                logger.warning(_DETAIL)
            self._until = now + _KNOWN_SECONDS

    @property
    def detail(self) -> str:
        """A sentence, if there is a rival."""
        return _DETAIL if self._until is not None else ""
