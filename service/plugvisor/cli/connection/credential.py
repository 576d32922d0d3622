"""The token or admin code that a command sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plugvisor.admin_code import read_admin_code
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.settings import Settings


class Credential(NamedTuple):
    """A token or an admin code, and what it was read from."""

    token: str
    source: str

    def __repr__(self) -> str:
        return f"Credential(…, {self.source!r})"


def find_credential(environ: Mapping[str, str], settings: Settings) -> Credential:
    """Return `PLUGVISOR_TOKEN`; else the admin code that is set; else that of the Plugvisor with this run folder.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    if token := environ.get("PLUGVISOR_TOKEN"):
        if not all("!" <= character <= "~" for character in token):  # else http.client would repeat it in an error
            raise ConfigurationError("cannot use PLUGVISOR_TOKEN: it must consist of visible ASCII characters")
        return Credential(token, "PLUGVISOR_TOKEN")
    if (code := read_admin_code(environ)) is not None:
        name = "PLUGVISOR_ADMIN_CODE"
        return Credential(code.value, name if environ.get(name) else f"{name}_FILE")
    path = settings.run_dir / "admin_code"
    if not path.exists():
        raise ConfigurationError(
            f"cannot find a token: no Plugvisor has left its admin code in {str(settings.run_dir)!r}; set "
            "PLUGVISOR_TOKEN to the token of an identity, or PLUGVISOR_RUN_DIR to the run folder of `plugvisor up`"
        )
    try:
        code = read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(path)})
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; or set PLUGVISOR_TOKEN to the token of an identity") from error
    assert code is not None
    return Credential(code.value, repr(str(path)))
