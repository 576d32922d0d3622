"""Why a command gets no answer."""

from __future__ import annotations

from plugvisor.errors import ConfigurationError


class NoAnswer(ConfigurationError):
    """The service cannot be reached, or what answers is no Plugvisor."""


def describe_failure(url: str, error: Exception) -> NoAnswer:
    """Turn what a connection has raised into a sentence."""
    if isinstance(error, OSError):
        if verdict := getattr(error, "verify_message", ""):
            return NoAnswer(
                f"cannot trust the service at {url}: {verdict}; SSL_CERT_FILE can name a file with the certificate of "
                "its authority"
            )
        return NoAnswer(
            f"cannot reach the service at {url}: {error.strerror or error}; `plugvisor up` starts it, and "
            "PLUGVISOR_URL says where it is"
        )
    return NoAnswer(f"cannot use the answer from {url}: it is not that of a Plugvisor of this version")


def describe_redirect(url: str) -> NoAnswer:
    """A redirect is not followed: what is sent is for the address that was named."""
    return NoAnswer(f"{url} leads to another address, which is not followed; name that one as PLUGVISOR_URL")
