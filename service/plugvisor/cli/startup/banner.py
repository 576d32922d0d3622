"""The lines that `plugvisor up` prints when it starts."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from plugvisor import VERSION
from plugvisor.admin_code import WEAK_CODE
from plugvisor.cli.listener import ANY_NAME
from plugvisor.cli.startup.log_format import make_announcer
from plugvisor.cli.startup.plugins_folder import describe_install_obstacle
from plugvisor.engines.choice import list_ignored
from plugvisor.engines.launching import find_missing_commands, find_missing_files
from plugvisor.plugins.dependencies import find_warnings
from plugvisor.plugins.watching import list_unwatched
from plugvisor.variables import find_unknown_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.admin_code import AdminCode
    from plugvisor.plugins.catalog import Catalog
    from plugvisor.settings import Settings

_ONE_USER = (
    "this is not root, so the service and the plugins run as one user: a plugin can read the admin code and stop "
    "the service; start as root to keep them apart"
)


def print_banner(
    settings: Settings, catalog: Catalog, code: AdminCode, facts: Mapping[str, str], warnings: Sequence[str]
) -> None:
    """Print where the service is and what it has found; warnings and problems go to standard error.

    Args:
        facts: further lines, by their first word.
        warnings: beside those about settings and plugins; empty ones are none.
    """
    announce = make_announcer(settings)
    announce(f"Plugvisor {VERSION}")
    url = settings.public_url or settings.url
    announce(f"  address     {url}")
    if code.is_new:
        # a fragment: browsers never send it to a server, and the page removes it from the address bar at once
        page = settings.public_url or ("<address of your proxy>" if settings.socket_path else settings.url)
        announce(f"  page        {page}/#code={code.value}")
    announce(f"  admin code  {code.value if code.is_new else 'as you set it'}")
    folders = dict.fromkeys([settings.plugins_dir, settings.install_dir or settings.plugins_dir])
    announce(f"  plugins     {len(catalog)} in {' and '.join(map(str, folders))}")
    if not catalog:
        announce(
            f"              `plugvisor new hello --into {shlex.quote(str(settings.plugins_dir))}` makes a first one"
        )
    for word, fact in facts.items():
        announce(f"  {word:<11} {fact}")
    found = find_warnings(catalog)
    for plugin in catalog.values():
        if plugin.problem:
            announce(f"cannot use {plugin.id!r}: {plugin.problem}", is_warning=True)
        own = (*plugin.manifest.warnings, *list_ignored(settings, plugin.manifest)) if plugin.manifest else ()
        missing = (*find_missing_commands(plugin), *find_missing_files(plugin))
        for warning in (*own, *missing, *list_unwatched(plugin), *found.get(plugin.id, ())):
            announce(f"{plugin.name_of_folder}: warning: {warning}", is_warning=True)
    warnings = [*filter(None, (*warnings, describe_install_obstacle(settings))), *find_unknown_variables(os.environ)]
    if code.is_weak:
        warnings.append(WEAK_CODE)
    if settings.answers_to_any_name:
        warnings.append(ANY_NAME)
    if settings.users is None and settings.engine == "supervisord" and os.environ.get("PLUGVISOR_SERVICE_USER"):
        warnings.append(_ONE_USER)
    for warning in warnings:
        announce(f"warning: {warning}", is_warning=True)
