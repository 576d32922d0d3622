"""The token or admin code that a command sends, and to whom.

The admin code of this machine is only for this user's own Plugvisor: it is never sent to another address.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.admin_code import read_admin_code
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.cli.connection.address import OwnPlugvisor

_LARGEST_FILE_BYTES = 4096
_TOKEN = "PLUGVISOR_TOKEN or --token"  # noqa: S105 - where one comes from


class Credential(NamedTuple):
    """A token or an admin code, and what it was read from; or an empty one, and why there is none."""

    token: str
    source: str
    is_own_code: bool = False
    """It is the admin code of this user's own Plugvisor, and not for any other."""

    def __repr__(self) -> str:
        return f"Credential(…, {self.source!r})"


def find_credential(environ: Mapping[str, str], own: OwnPlugvisor, foreign_url: str = "") -> Credential:
    """Return the token of `PLUGVISOR_TOKEN` or `PLUGVISOR_TOKEN_FILE`; else the admin code of this user's Plugvisor.

    Args:
        foreign_url: of a Plugvisor that is not this user's own: the admin code is not for it.

    Raises:
        ConfigurationError: what was named cannot be read or used.
    """
    if token := environ.get("PLUGVISOR_TOKEN"):
        return Credential(_check(token, _TOKEN), _TOKEN)
    if path := environ.get("PLUGVISOR_TOKEN_FILE"):
        return Credential(_read_token_file(path), f"the token file {path!r}")
    if foreign_url:
        return Credential("", f"none was given, and the admin code of this machine is not sent to {foreign_url}")
    if (code := read_admin_code(environ)) is not None:
        name = "PLUGVISOR_ADMIN_CODE"
        return Credential(code.value, name if environ.get(name) else f"{name}_FILE", is_own_code=True)
    path = str(own.run_dir / "admin_code")
    try:
        if not Path(path).exists():
            return Credential("", f"no Plugvisor has left its admin code in {str(own.run_dir)!r}")
        code = read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": path})
    except (OSError, ConfigurationError) as error:  # what is open to everyone can be asked for all the same
        return Credential("", str(error))
    assert code is not None
    return Credential(code.value, repr(path), is_own_code=True)


def _read_token_file(path: str) -> str:
    try:
        with Path(path).open(encoding="ascii") as file:
            token = file.read(_LARGEST_FILE_BYTES).strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise ConfigurationError(f"cannot read the token file {path!r}: {why}") from error
    if not token:
        raise ConfigurationError(f"cannot use the token file {path!r}: it is empty")
    return _check(token, f"the token file {path!r}")


def _check(token: str, name: str) -> str:
    if not all("!" <= character <= "~" for character in token):  # else http.client would repeat it in an error
        raise ConfigurationError(f"cannot use {name}: it must consist of visible ASCII characters")
    return token
