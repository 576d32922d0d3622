"""What a manifest says for readers alone: author, dependencies, versions of the plugin's own SDK.

Nothing of it decides what runs, so nothing of it makes a manifest invalid: what has another type than it
should is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Text = str | tuple[str, ...]

_DEPENDENCY_TEXTS = ("id", "entry", "custom_event", "recommended", "supported", "untested")
_DEPENDENCY_LISTS = ("providers", "conflicts")


@dataclass(frozen=True)
class Metadata:
    """What is told beside name and description; None or empty where the manifest has nothing of it."""

    author: Mapping[str, str] | None = None
    """Of `[plugin.author]` the keys `name`, `email` and `url`."""
    dependencies: tuple[Mapping[str, Text], ...] = ()
    """Each `[[plugin.dependency]]`."""
    sdk_version: str | None = None
    sdk_recommended: str | None = None
    sdk_supported: str | None = None
    sdk_untested: str | None = None
    sdk_conflicts: tuple[str, ...] = ()


def read_metadata(plugin: Mapping[str, Any]) -> Metadata:
    """Read the table `[plugin]`; raises nothing."""
    author, sdk = plugin.get("author"), plugin.get("sdk")
    if isinstance(author, str):  # author = "Somebody"
        author = {"name": author}
    sdk = sdk if isinstance(sdk, dict) else {}
    dependencies = plugin.get("dependency")
    return Metadata(
        author=_take_texts(author, ("name", "email", "url")) or None if isinstance(author, dict) else None,
        dependencies=tuple(
            told
            for table in (dependencies if isinstance(dependencies, list) else [dependencies])
            if isinstance(table, dict) and (told := _read_dependency(table))
        ),
        sdk_version=_take_text(sdk, "version"),
        sdk_recommended=_take_text(sdk, "recommended"),
        sdk_supported=_take_text(sdk, "supported"),
        sdk_untested=_take_text(sdk, "untested"),
        sdk_conflicts=_take_list(sdk, "conflicts"),
    )


def _read_dependency(table: Mapping[str, Any]) -> dict[str, Text]:
    lists = {key: _take_list(table, key) for key in _DEPENDENCY_LISTS if isinstance(table.get(key), list)}
    return {**_take_texts(table, _DEPENDENCY_TEXTS), **lists}


def _take_texts(table: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, str]:
    return {key: table[key] for key in keys if isinstance(table.get(key), str)}


def _take_text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    return value if isinstance(value, str) else None


def _take_list(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
