"""A time as the store keeps it."""

from typing import Annotated

from msgspec import Meta

Timestamp = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""Seconds since 1970, before the year 10000: a later time cannot be shown."""
