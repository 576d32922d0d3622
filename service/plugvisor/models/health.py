"""Whether a plugin works, by its checks."""

from enum import StrEnum


class Health(StrEnum):
    """A plugin's health."""

    STARTING = "starting"
    """Its ready checks have not all passed yet."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """A check is down."""


class CheckStatus(StrEnum):
    """One check's verdict."""

    STARTING = "starting"
    """It has neither passed nor failed often enough."""
    UP = "up"
    DOWN = "down"
    """It has failed `threshold` times in a row."""
