"""Checks of the plugins' manifests."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, ok, problem
from plugvisor.cli.manifests import read_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugvisor.plugins.catalog import Catalog
    from plugvisor.settings import Settings

_MOST_NAMED = 5


def check_plugins(settings: Settings) -> Iterator[Finding]:
    """Every manifest is valid."""
    catalog = _read(settings)
    if catalog is None:
        return  # the check of the folders says why
    invalid = [plugin.name_of_folder or plugin.id for plugin in catalog.values() if plugin.problem]
    if invalid:
        names = ", ".join(invalid[:_MOST_NAMED]) + (" …" if len(invalid) > _MOST_NAMED else "")
        yield problem(f"{len(invalid)} of {len(catalog)} plugins cannot be used: {names}", "`plugvisor check` says why")
    else:
        yield ok(f"{len(catalog)} plugin{'' if len(catalog) == 1 else 's'}, each with a valid manifest")


def count_plugins(settings: Settings) -> int:
    """The number of plugins; 0 if they cannot be read."""
    return len(_read(settings) or ())


def list_limited(settings: Settings, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of these limits that some plugins have, and the ids of these plugins."""
    plugins = {
        plugin.id: [key for key in keys if getattr(plugin.manifest.limits, key)]
        for plugin in (_read(settings) or {}).values()
        if plugin.manifest
    }
    used = {key for found in plugins.values() for key in found}
    return [key for key in keys if key in used], [plugin_id for plugin_id, found in plugins.items() if found]


@cache
def _read(settings: Settings) -> Catalog | None:
    try:
        return read_catalog(settings)
    except OSError:
        return None
