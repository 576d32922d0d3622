"""Makes messages of what happens: at most one for each plugin and kind in five minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from plugvisor.models.stored.webhook import WebhookBody

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.manager.webhooks.deliveries import Message
    from plugvisor.manager.webhooks.outbox import Outbox
    from plugvisor.models.stored.webhook import WebhookData, WebhookKind

WINDOW_SECONDS = 300.0


@dataclass(slots=True)
class _Window:
    ends: float
    held: Message | None = None
    """The message that is sent when the window ends."""
    data: WebhookData | None = None
    """Of the held message."""


class Windows:
    """Sends what happens first at once; what follows within the window is counted, and sent at its end.

    A held message is in the outbox from the beginning, so that a restart loses none. The next window begins with it.

    Args:
        clock: the one of the outbox, in seconds.
    """

    def __init__(self, outbox: Outbox, clock: Callable[[], float] = time.monotonic) -> None:
        self._outbox = outbox
        self._clock = clock
        self._windows: dict[tuple[WebhookKind, str], _Window] = {}

    def add(self, kind: WebhookKind, data: WebhookData) -> None:
        """Something has happened, once, at `data.since`."""
        now, key = self._clock(), (kind, data.plugin_id)
        window = self._windows.get(key)
        if window is not None and window.held is not None and now >= window.ends:  # it has gone
            window = self._begin(key, window.ends)
        if window is None or now >= window.ends:
            self._begin(key, now)
            self._outbox.add(kind, data.plugin_id, _render(kind, data.since, data))
        elif window.held is None or window.data is None:
            window.data = data
            window.held = self._outbox.add(
                kind, data.plugin_id, _render(kind, data.since, data), delay_seconds=window.ends - now
            )
        else:
            window.data = msgspec.structs.replace(data, count=window.data.count + 1, since=window.data.since)
            self._outbox.change(window.held, _render(kind, data.since, window.data))

    def _begin(self, key: tuple[WebhookKind, str], began: float) -> _Window:
        self._forget_old()
        self._windows.pop(key, None)  # to the end: the oldest come first
        window = self._windows[key] = _Window(began + WINDOW_SECONDS)
        return window

    def _forget_old(self) -> None:
        now = self._clock()
        while self._windows:
            key, window = next(iter(self._windows.items()))
            # after a held message there is another window
            if now < window.ends + WINDOW_SECONDS:
                return
            del self._windows[key]


def _render(kind: WebhookKind, timestamp: str, data: WebhookData) -> bytes:
    return msgspec.json.encode(WebhookBody(type=kind, timestamp=timestamp, data=data))
