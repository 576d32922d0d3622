"""Paths and queries of requests. Arguments that are not UTF-8 are sent byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping


def quote_part(text: str) -> str:
    """A text, such as an id, as one part of a path."""
    return quote(text, safe="", errors="surrogateescape")


def make_query(values: Mapping[str, object]) -> str:
    """Parameters as the end of a path, with their question mark; one that is empty, or None, is left out."""
    given = {name: value for name, value in values.items() if value not in ("", None)}
    return f"?{urlencode(given, errors='surrogateescape')}" if given else ""
