"""The admin code: read from a variable or a file, or generated."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_STRONG_CODE = 16
"""In characters. A shorter code can be guessed, so it is not compared while its sender is throttled."""
WEAK_CODE = (
    "the admin code is short: it can be guessed in the long run, and wrong codes are throttled for everyone "
    "behind one address; set PLUGVISOR_ADMIN_CODE to 16 characters or more"
)
_SHORTEST_CODE = 4
_ADVICE = (
    "root has no right to other users' files here (CAP_DAC_OVERRIDE): on the machine that has the file, `chown root` "
    "it, or `chmod 644` it in a folder that nobody else can enter, or set PLUGVISOR_ADMIN_CODE instead"
)


@dataclass(frozen=True)
class AdminCode:
    """The admin code; its `repr` hides it."""

    value: str
    is_new: bool = False
    """Whether it was just generated, and the operator has not seen it."""
    path: Path | None = field(default=None, compare=False)
    """The file that it was read from."""

    @property
    def is_weak(self) -> bool:
        """Whether it is short enough to be guessed."""
        return len(self.value) < SHORTEST_STRONG_CODE

    def __repr__(self) -> str:
        return "AdminCode(…)"


def read_admin_code(environ: Mapping[str, str]) -> AdminCode | None:
    """Return the code of `PLUGVISOR_ADMIN_CODE` or `PLUGVISOR_ADMIN_CODE_FILE`; None if neither is set.

    Raises:
        ConfigurationError
    """
    if environ.get("PLUGVISOR_ADMIN_CODE"):
        return AdminCode(_check(environ["PLUGVISOR_ADMIN_CODE"], "PLUGVISOR_ADMIN_CODE"))
    path = environ.get("PLUGVISOR_ADMIN_CODE_FILE")
    if not path:
        return None
    if Path(path).is_char_device():
        return None  # /dev/null: docker-compose.yml mounts it if there is no file
    return read_code_file(Path(path))


def read_code_file(path: Path) -> AdminCode:
    """Return the code in a file; raises `ConfigurationError`."""
    try:
        code = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        advice = f"; {_ADVICE}" if isinstance(error, PermissionError) and os.geteuid() == 0 else ""
        raise ConfigurationError(f"cannot read PLUGVISOR_ADMIN_CODE_FILE {str(path)!r}: {why}{advice}") from error
    return AdminCode(_check(code, f"the admin code in {str(path)!r}"), path=path)


def keep_admin_code(path: Path, code: AdminCode, group_id: int | None = None) -> None:
    """Write a code to a file that only this user, and optionally a group, can read; raises `OSError`."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        if group_id is not None:
            os.fchown(file.fileno(), -1, group_id)
            os.fchmod(file.fileno(), 0o640)
        file.write(code.value + "\n")


def make_admin_code() -> AdminCode:
    """Generate a random code of 128 bits."""
    return AdminCode(secrets.token_urlsafe(16), is_new=True)


def _check(code: str, name: str) -> str:
    # it is sent in an HTTP header, and a blank in it would be hard to notice
    if not all("!" <= character <= "~" for character in code):
        raise ConfigurationError(f"cannot use {name}: it must consist of visible ASCII characters, without blanks")
    if len(code) < _SHORTEST_CODE:
        raise ConfigurationError(f"cannot use {name}: it must have at least {_SHORTEST_CODE} characters")
    return code
