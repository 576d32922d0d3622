"""The options `--url` and `--token`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def apply_options(environ: MutableMapping[str, str], url: str | None, token: str | None) -> None:
    """Let the options that say whom to ask, and with which token, take the place of the variables.

    With another address than that of `PLUGVISOR_URL`, the token of the variables is not for it.

    Args:
        token: or `@` and the name of a file with it.

    Raises:
        ConfigurationError: the token, or the name of its file, is empty, as an unset variable of a shell is.
    """
    if token is not None and not token.removeprefix("@"):
        raise ConfigurationError("cannot use --token: it is empty")
    if url is not None:
        if environ.get("PLUGVISOR_URL", "").rstrip("/") not in ("", url.rstrip("/")):
            environ.pop("PLUGVISOR_TOKEN", None)
            environ.pop("PLUGVISOR_TOKEN_FILE", None)
        environ["PLUGVISOR_URL"] = url
    if token is not None:
        environ.pop("PLUGVISOR_TOKEN", None)
        environ["PLUGVISOR_TOKEN_FILE" if token.startswith("@") else "PLUGVISOR_TOKEN"] = token.removeprefix("@")
