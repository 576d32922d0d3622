"""Reads a manifest's metadata: author, dependencies, versions of the plugin's own SDK.

Nothing of it decides what runs, so nothing of it makes a manifest invalid: a value of another type than declared
is left out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from plugvisor.models.manifest import Author, Dependency, Metadata, Sdk

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUTHOR, _DEPENDENCY, _SDK = (get_type_hints(table, include_extras=True) for table in (Author, Dependency, Sdk))


def read_metadata(plugin: Mapping[str, Any]) -> Metadata:
    """Read the table `[plugin]`; raises nothing."""
    author, dependencies = plugin.get("author"), plugin.get("dependency")
    if isinstance(author, str):  # author = "Somebody"
        author = {"name": author}
    if not isinstance(dependencies, list):  # [plugin.dependency]
        dependencies = [dependencies]
    return Metadata(
        author=_take(author, _AUTHOR) or None,
        dependencies=tuple(filter(None, (_take(table, _DEPENDENCY) for table in dependencies))),
        **{f"sdk_{key}": value for key, value in _take(plugin.get("sdk"), _SDK).items()},
    )


def _take(table: object, declared: Mapping[str, Any]) -> Any:
    """The keys of a table that are declared and have the declared type; of a list, the items that are strings."""
    taken = {}
    for key, value in table.items() if isinstance(table, dict) else ():
        if key in declared:
            strings = [item for item in value if isinstance(item, str)] if isinstance(value, list) else value
            with contextlib.suppress(msgspec.ValidationError):
                taken[key] = msgspec.convert(strings, declared[key])
    return taken
