"""An operator's intent for a plugin, which outlives every restart."""

import time
from typing import Annotated, Literal

from msgspec import Meta, Struct

from plugvisor.models.body import Body, Time

Wanted = Literal["running", "stopped"]
Moment = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""In seconds since 1970, before the year 10000: a later one cannot be shown."""


class Intent(Struct, frozen=True):
    """The last request, and who made it."""

    wanted: Wanted
    by: str
    """An identity's name."""
    at: Moment

    def is_after(self, at: float) -> bool:
        """Whether it was asked for after this time; never if it is from the future: the clock was set back since."""
        return at < self.at <= time.time()


class DisabledInfo(Body, frozen=True, kw_only=True):
    """Who has disabled a plugin, and when, as the list shows it."""

    by: str
    at: Time


class IntentInfo(Body, frozen=True, kw_only=True):
    """An intent as the list and the status show it."""

    wanted: Wanted
    by: str
    at: Time
