"""Checks of the environment variables, and of the files that they name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.admin_code import WEAK_CODE, read_admin_code
from plugvisor.cli.connection.address import find_own
from plugvisor.cli.doctor.finding import Finding, from_error, ok, warning
from plugvisor.errors import ConfigurationError
from plugvisor.setting_folders import find_run_dir
from plugvisor.variables import find_unknown_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plugvisor.settings import Settings

_SECRET_FILES = (
    "PLUGVISOR_ADMIN_CODE_FILE",
    "PLUGVISOR_TOKEN_FILE",
    "PLUGVISOR_WEBHOOK_SECRET_FILE",
    "PLUGVISOR_REGISTRY_AUTH_FILE",
)


def check_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Each variable that looks like a setting is one."""
    with suppress(ConfigurationError):  # the check of the settings says so
        if (run_dir := find_own(environ).run_dir) != find_run_dir(environ):
            yield warning(
                f"this shell lacks the settings of the Plugvisor in {run_dir}: what follows is not about that one",
                "if it is a unit: env $(systemctl show --property=Environment --value plugvisor) plugvisor doctor",
            )
    unknown = find_unknown_variables(environ)
    for sentence in unknown:
        detail, _, advice = sentence.partition("; ")
        yield warning(detail, advice or "remove it, or see docs/configuration.md for those that there are")
    if not unknown:
        yield ok("every variable PLUGVISOR_… is known")


def check_secrets(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The admin code can be used, and no other user can read a file with a secret."""
    is_well = True
    try:
        code = read_admin_code(environ)
    except ConfigurationError as error:
        yield from_error(error, "mend it, or unset the variable: a code is then made")
        return
    if code is not None and code.is_weak:
        is_well = False
        yield from_error(ConfigurationError(WEAK_CODE), level="warning")
    for name in _SECRET_FILES:
        path = Path(environ.get(name) or os.devnull)
        if path.is_file() and _is_readable_by_all(path.absolute()):
            is_well = False
            yield warning(f"every user of this machine can read the file of {name}", f"chmod o-r {path}")
    if is_well:
        yield ok(
            "none can be read by other users" if code is not None else "the admin code is made when Plugvisor starts"
        )


def _is_readable_by_all(path: Path) -> bool:
    folders = path.resolve().parents
    return bool(path.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in folders)


def check_page(settings: Settings) -> Iterator[Finding]:
    """There is a front end in the folder of the page."""
    if settings.page_dir is None:
        return
    from plugvisor.api.http.static import check_page_dir  # noqa: PLC0415 - it imports the web framework

    try:
        check_page_dir(settings.page_dir)
    except ConfigurationError as error:
        yield from_error(error)
    else:
        yield ok(f"the front end in {settings.page_dir}")
