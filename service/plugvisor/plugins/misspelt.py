"""Finds keys of a manifest that are probably misspelt: unknown keys belong to the plugin and are ignored."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from plugvisor.models.manifest import FILE_NAME, TABLES
from plugvisor.plugins.positions import find_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LIKENESS = 0.8
_KNOWN = {
    "plugin": (*TABLES["plugin"], "author", "dependency", "sdk"),
    "plugin_runtime": TABLES["plugin_runtime"],
}


def find_misspelt(document: Mapping[str, Any], text: str) -> tuple[str, ...]:
    """A sentence for each unknown key that is close to a known one which its table lacks; no value is repeated."""
    found = [
        _word(text, key, f"a table is unknown and ignored; did you mean [{near}]?")
        for key, near in _find_near(document, _KNOWN)
    ]
    found += _find_misplaced(document, text)
    for table, known in _KNOWN.items():
        content = document.get(table)
        found += [
            _word(text, f"{table}.{key}", f"a key of [{table}] is unknown and ignored; did you mean `{near}`?")
            for key, near in _find_near(content if isinstance(content, dict) else {}, known)
        ]
    return tuple(found)


def _find_misplaced(document: Mapping[str, Any], text: str) -> list[str]:
    """The keys of `[plugin_runtime]` that are at the top or in `[plugin]` instead."""
    runtime, plugin = document.get("plugin_runtime", {}), document.get("plugin")
    keys = [key for key in TABLES["plugin_runtime"] if not isinstance(runtime, dict) or key not in runtime]
    places = [("", document), ("plugin", plugin if isinstance(plugin, dict) else {})]
    return [
        _word(text, f"{table}.{key}".strip("."), f"`{key}` is ignored here; it belongs in [plugin_runtime]")
        for table, content in places
        for key in keys
        if key in content
    ]


def _find_near(table: Mapping[str, Any], known: Iterable[str]) -> list[tuple[str, str]]:
    missing = [name for name in known if name not in table]
    unknown = [key for key in table if key not in known]
    pairs = [(key, get_close_matches(key.lower().replace("-", "_"), missing, 1, _LIKENESS)) for key in unknown]
    return [(key, near[0]) for key, near in pairs if near]


def _word(text: str, path: str, problem: str) -> str:
    line = find_line(text, path, None)
    return f"{FILE_NAME}: {problem}" if line is None else f"{FILE_NAME} line {line}: {problem}"
