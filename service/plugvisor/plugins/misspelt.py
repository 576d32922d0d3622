"""Finds keys of a manifest that are probably misspelt: unknown keys belong to the plugin and are ignored."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from plugvisor.models.lifecycle import Limits
from plugvisor.models.manifest import FILE_NAME, TABLES, Author, Dependency, Sdk, SupervisorOptions
from plugvisor.plugins.positions import find_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LIKENESS = 0.8
_KNOWN = {
    "plugin": (*TABLES["plugin"], "author", "dependency", "sdk"),
    "plugin_runtime": TABLES["plugin_runtime"],
    "plugin.author": tuple(Author.__annotations__),
    "plugin.sdk": tuple(Sdk.__annotations__),
    "plugin.dependency": tuple(Dependency.__annotations__),
}
_OWN_TABLE = "plugin_runtime"
"""It is Plugvisor's alone; the others may well have another key like one that is there too, such as `commands`."""
_INNER_KEYS = {
    **dict.fromkeys(SupervisorOptions.__struct_fields__, "supervisor"),
    **dict.fromkeys(Limits.__struct_fields__, "limits"),
}
"""Keys of tables in `[plugin_runtime]` whose names say enough, if they are in that itself."""


def find_misspelt(document: Mapping[str, Any], text: str) -> tuple[str, ...]:
    """A sentence for each unknown key that is close to a known one which its table lacks; no value is repeated."""
    found = [
        _word(text, key, f"a table is unknown and ignored; did you mean [{near}]?")
        for key, near in _find_near(document, _KNOWN)
    ]
    found += _find_misplaced(document, text)
    for table, known in _KNOWN.items():
        for content in _list_tables(document, table):
            found += [
                _word(text, f"{table}.{key}", f"a key of [{table}] is unknown and ignored; did you mean `{near}`?")
                for key, near in _find_near(content, known, is_own=table == _OWN_TABLE)
            ]
    return tuple(dict.fromkeys(found))


def _list_tables(document: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    """The table of a path, or each one of a list of them."""
    content: Any = document
    for name in path.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return [table for table in (content if isinstance(content, list) else [content]) if isinstance(table, dict)]


def _find_misplaced(document: Mapping[str, Any], text: str) -> list[str]:
    """Keys of `[plugin_runtime]` that are at the top or in `[plugin]`, and keys of its tables that are in itself."""
    runtime, plugin = document.get("plugin_runtime", {}), document.get("plugin")
    keys = [key for key in TABLES["plugin_runtime"] if not isinstance(runtime, dict) or key not in runtime]
    places = [("", document), ("plugin", plugin if isinstance(plugin, dict) else {})]
    found = [
        _word(text, f"{table}.{key}".strip("."), f"`{key}` is ignored here; it belongs in [plugin_runtime]")
        for table, content in places
        for key in keys
        if key in content
    ]
    return found + [
        _word(text, f"plugin_runtime.{key}", f"`{key}` is ignored here; it belongs in [plugin_runtime.{table}]")
        for key, table in _INNER_KEYS.items()
        if isinstance(runtime, dict) and key in runtime
    ]


def _find_near(table: Mapping[str, Any], known: Iterable[str], *, is_own: bool = False) -> list[tuple[str, str]]:
    """Each unknown key with the known one that it is close to, unless the table has that as well and is not our own."""
    wanted = [name for name in known if is_own or name not in table]
    unknown = [key for key in table if key not in known and not (is_own and key in _INNER_KEYS)]
    pairs = [(key, get_close_matches(key.lower().replace("-", "_"), wanted, 1, _LIKENESS)) for key in unknown]
    return [(key, near[0]) for key, near in pairs if near]


def _word(text: str, path: str, problem: str) -> str:
    line = find_line(text, path)
    return f"{FILE_NAME}: {problem}" if line is None else f"{FILE_NAME} line {line}: {problem}"
