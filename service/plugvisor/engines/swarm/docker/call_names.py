"""The names of calls, for metrics and the log: few, and without ids."""

from __future__ import annotations

_COLLECTION_WORDS = frozenset({"create", "json", "load", "search", "prune"})
"""The words that may follow the kind of an object and are no id."""


def name_call(method: str, path: str) -> str:
    """The method and the path with its ids replaced, such as `POST /services/{id}/update`."""
    kind, *rest = path.strip("/").split("/")
    if not rest:
        return f"{method} /{kind}"
    if len(rest) == 1:
        return f"{method} /{kind}/{rest[0] if rest[0] in _COLLECTION_WORDS else '{id}'}"
    return f"{method} /{kind}/{{id}}/{rest[-1]}"
