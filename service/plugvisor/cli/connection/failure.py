"""Why a command gets no answer."""

from __future__ import annotations

import os

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
        if isinstance(error, TimeoutError):
            return NoAnswer(f"cannot reach the service at {url}: timed out; `plugvisor doctor` on its machine says why")
        return NoAnswer(
            f"cannot reach the service at {url}: {error.strerror or error}; `plugvisor up` starts it, and "
            "PLUGVISOR_URL says where it is"
        )
    return NoAnswer(f"cannot use the answer from {url}: it is not that of a Plugvisor of this version")


def describe_odd_answer(error: Exception) -> NoAnswer:
    """An answer that is JSON, but has not what a command has looked for in it."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}, " if frame is not None else ""
    return NoAnswer(
        "cannot use what the service has answered: it is not that of a Plugvisor of this version "
        f"({where}{type(error).__name__})"
    )


def describe_redirect(url: str) -> NoAnswer:
    """A redirect is not followed: what is sent is for the address that was named."""
    return NoAnswer(f"{url} leads to another address, which is not followed; name that one as PLUGVISOR_URL")
