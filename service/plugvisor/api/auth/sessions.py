"""The open streams of identities; none outlives the token that has opened it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from starlette.types import Scope

    from plugvisor.manager.identities.identities import Identities
    from plugvisor.models.stored.identity import Identity

CHECK_SECONDS = 2.0
"""How often expired identities are looked for, while a stream of one that can expire is open."""


class _Session:
    """One open stream."""

    def __init__(self, identity: Identity, end: Callable[[], object]) -> None:
        self.identity = identity
        self.end = end


class Sessions:
    """Ends streams whose identity was removed, rotated, or has expired."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._open: set[_Session] = set()
        self._timer: asyncio.TimerHandle | None = None
        identities.on_change.append(self._check)

    @contextmanager
    def opening(self, identity: Identity, end: Callable[[], object]) -> Iterator[None]:
        """Watch a stream as long as it is open.

        Args:
            identity: whose token has opened it.
            end: ends the stream; called once, on the event loop, if the token is no longer valid, and at once if it
                is not now. It must not raise.
        """
        session = _Session(identity, end)
        self._open.add(session)
        self._check_one(session)
        if identity.expires_at is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._look_at_the_clock)
        try:
            yield
        finally:
            self._open.discard(session)

    def _check(self) -> None:
        for session in list(self._open):
            self._check_one(session)

    def _check_one(self, session: _Session) -> None:
        if not self._identities.is_valid(session.identity):
            self._open.discard(session)
            session.end()

    def _look_at_the_clock(self) -> None:
        """Not one timer at the right moment: the clock may be set."""
        self._timer = None
        self._check()
        if any(session.identity.expires_at is not None for session in self._open):
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._look_at_the_clock)


def open_session(scope: Scope, end: Callable[[], object]) -> AbstractContextManager[None]:
    """Watch the stream that answers a request as long as it is open, if it needed a token: see `Sessions.opening`."""
    identity: Identity | None = scope.get("identity")
    if identity is None:
        return nullcontext()
    sessions: Sessions = scope["state"]["sessions"]
    return sessions.opening(identity, end)
