"""Why a command gets no answer."""

from __future__ import annotations

from plugvisor.errors import ConfigurationError


class NoAnswer(ConfigurationError):
    """The service cannot be reached, or what answers is no Plugvisor."""


def describe_failure(url: str, error: Exception) -> NoAnswer:
    """Turn what a connection has raised into a sentence."""
    if isinstance(error, OSError):
        return NoAnswer(
            f"cannot reach the service at {url}: {error.strerror or error}; `plugvisor up` starts it, and "
            "PLUGVISOR_HOST and PLUGVISOR_PORT say where it is"
        )
    return NoAnswer(f"cannot use the answer from {url}: it is not that of a Plugvisor of this version")
