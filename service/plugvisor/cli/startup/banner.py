"""What `plugvisor up` prints when it starts."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from plugvisor import VERSION
from plugvisor.admin_code import WEAK_CODE
from plugvisor.cli.listener import ANY_NAME
from plugvisor.engines.choice import list_ignored
from plugvisor.engines.launching import find_missing_commands, find_missing_files
from plugvisor.plugins.dependencies import find_warnings
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
    print(f"Plugvisor {VERSION}")
    url = settings.public_url or settings.url
    print(f"  address     {url}")
    if code.is_new:
        # a fragment: browsers never send it to a server, and the page removes it from the address bar at once
        page = settings.public_url or ("<address of your proxy>" if settings.socket_path else settings.url)
        print(f"  page        {page}/#code={code.value}")
    print(f"  admin code  {code.value if code.is_new else 'as you set it'}")
    folders = dict.fromkeys([settings.plugins_dir, settings.install_dir or settings.plugins_dir])
    print(f"  plugins     {len(catalog)} in {' and '.join(map(str, folders))}")
    if not catalog:
        print(f"              `plugvisor new hello --into {shlex.quote(str(settings.plugins_dir))}` makes a first one")
    for word, fact in facts.items():
        print(f"  {word:<11} {fact}")
    found = find_warnings(catalog)
    for plugin in catalog.values():
        if plugin.problem:
            print(f"cannot use {plugin.id!r}: {plugin.problem}", file=sys.stderr)
        own = (*plugin.manifest.warnings, *list_ignored(settings, plugin.manifest)) if plugin.manifest else ()
        for warning in (*own, *find_missing_commands(plugin), *find_missing_files(plugin), *found.get(plugin.id, ())):
            print(f"{plugin.name_of_folder}: warning: {warning}", file=sys.stderr)
    warnings = [*filter(None, warnings), *find_unknown_variables(os.environ)]
    if code.is_weak:
        warnings.append(WEAK_CODE)
    if settings.answers_to_any_name:
        warnings.append(ANY_NAME)
    if settings.users is None and settings.engine == "supervisord" and os.environ.get("PLUGVISOR_SERVICE_USER"):
        warnings.append(_ONE_USER)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    sys.stdout.flush()
