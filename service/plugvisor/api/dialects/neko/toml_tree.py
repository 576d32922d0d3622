"""A manifest's text with other values in it: comments, order and notation of what stays are kept. Everything blocks."""

from __future__ import annotations

import datetime as dt
import math
from contextlib import suppress
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array

from plugvisor.errors import InvalidRequest
from plugvisor.manager.installation.manifest_file import make_json
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.manifest import parse_document

MOST_VALUES = 1000
"""In the text and in the object. tomlkit's time grows with the square of their number: a second for this many."""
MOST_LEVELS = 32
_BOM = b"\xef\xbb\xbf"
_LARGEST_EXACT = 2**53
"""JavaScript has no larger integers: what a browser sends back of one is near to it."""
_FAULTS = (
    TOMLKitError, ManifestError, RecursionError, ValueError, TypeError, KeyError, IndexError, AttributeError,
)  # fmt: skip
_TIMES = (dt.datetime, dt.date, dt.time)  # a datetime is a date, too


def put_tree(text: bytes, tree: dict[str, Any]) -> bytes:
    """The TOML of a JSON object, written into an earlier text; values that are the same stay as they are written.

    Args:
        text: is TOML; may be empty.

    Raises:
        InvalidRequest: TOML cannot hold the object, or it cannot be written into this text.
    """
    with suppress(ManifestError):
        _check(parse_document(text)[0], ("the text that is there",))
    _check(tree, ("config",))
    # tomlkit has these in the values of multi-line strings, where TOML has but line feeds, and adds lines without them
    is_crlf = 0 < text.count(b"\r\n") == text.count(b"\n")
    source = text.replace(b"\r\n", b"\n") if is_crlf else text
    for write in (_merge, _put_tables):
        # tomlkit has faults of its own with rare notations, so what it has made is read again
        with suppress(*_FAULTS):
            document = tomlkit.parse(source.removeprefix(_BOM).decode())
            write(document, tree)
            written = tomlkit.dumps(document).encode()
            if is_crlf:
                written = written.replace(b"\n", b"\r\n")
            if _is_same(parse_document(written)[0], tree):
                return (_BOM if text.startswith(_BOM) else b"") + written
    raise InvalidRequest(
        "these values cannot be written into the text that is there; send a new text to `config/toml` instead", "config"
    )


def _put_tables(document: Any, tree: dict[str, Any]) -> None:
    """Put new tables at the end, for all in which anything differs; comments in these are lost."""
    for key in [key for key in document if key not in tree or not _is_same(_unwrap(document[key]), tree[key])]:
        del document[key]
    for key, value in tree.items():
        if key not in document:
            document[key] = value


def _check(value: Any, path: tuple[str, ...]) -> int:
    """Count the values in a value.

    Raises:
        InvalidRequest: TOML has no form for one of them, or they are too many, or nested too deeply.
    """
    if value is None:
        raise InvalidRequest(f"`{'.'.join(path)[:100]}` cannot be null: TOML has no such value; leave it out", "config")
    if len(path) > MOST_LEVELS:
        raise InvalidRequest(f"`{path[0]}` has more than {MOST_LEVELS} levels", "config")
    count = 1
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        count += _check(item, (*path, str(key)))
        if count > MOST_VALUES:
            raise InvalidRequest(
                f"`{path[0]}` has more than {MOST_VALUES:,} values; send a new text to `config/toml` instead", "config"
            )
    return count


def _is_same(old: Any, new: Any) -> bool:
    """Whether a value of the file is the one that its JSON has become again in a client."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_same, old, new))
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, int | float) and isinstance(new, int | float):
        # 1.0 is 1 in a browser
        return old == new or (abs(old) > _LARGEST_EXACT and _to_float(old) == _to_float(new))
    return type(make_json(old)) is type(new) and bool(make_json(old) == new)


def _to_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # which a browser has as infinity
        return math.inf if number > 0 else -math.inf


def _merge(table: Any, tree: dict[str, Any]) -> None:
    for key in [key for key in table if key not in tree]:
        del table[key]
    for key, new in tree.items():
        if key not in table:
            table[key] = new
        elif not _is_same(_unwrap(table[key]), new):
            _replace(table, key, new)


def _merge_items(items: Any, new: list[Any]) -> None:
    while len(items) > len(new):
        del items[-1]
    for at, value in enumerate(new):
        if at == len(items):
            items.append(value)
        elif not _is_same(_unwrap(items[at]), value):
            _replace(items, at, value)


def _replace(holder: Any, key: Any, new: Any) -> None:
    """Put another value in the place of one that differs, in a table or an array."""
    old = holder[key]
    if isinstance(old, dict) and isinstance(new, dict):
        _merge(old, new)
    elif isinstance(new, list) and (isinstance(old, Array) or (isinstance(old, AoT) and _are_tables(new))):
        _merge_items(old, new)
    else:
        holder[key] = _convert(_unwrap(old), new)


def _are_tables(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items)


def _convert(old: Any, new: Any) -> Any:
    """A new value in the type of the old one, where JSON has but one type for both."""
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if isinstance(new, str) and isinstance(old, _TIMES):
        kind = next(kind for kind in _TIMES if isinstance(old, kind))
        with suppress(ValueError):
            return kind.fromisoformat(new)
    return new


def _unwrap(item: Any) -> Any:
    return item.unwrap() if hasattr(item, "unwrap") else item
