"""Finds the plugins that ids and patterns on a command line match."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def is_pattern(text: str) -> bool:
    """Whether it can stand for several ids: `*` is any text, as in the patterns of identities, `?` one character."""
    return "*" in text or "?" in text


def find_only(patterns: Sequence[str]) -> str:
    """The id, if one plugin is named and no pattern; else empty."""
    return patterns[0] if len(patterns) == 1 and not is_pattern(patterns[0]) else ""


def make_filter(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether an id fits one of the patterns, also that of a plugin which is added later; without any, each does."""
    if not patterns:
        return lambda _: True
    expressions = [_compile(pattern) for pattern in patterns]
    return lambda plugin_id: any(expression.fullmatch(plugin_id) for expression in expressions)


def match_ids(patterns: Iterable[str], known: Sequence[str]) -> list[str]:
    """The ids that are named or that fit a pattern, in the order of `known`, each once.

    Raises:
        CommandRejected: an id is unknown, or nothing fits a pattern.
    """
    found = set()
    for pattern in patterns:
        expression = _compile(pattern)
        fitting = [plugin_id for plugin_id in known if expression.fullmatch(plugin_id)]
        if not fitting:
            raise CommandRejected(_explain(pattern, known), HTTPStatus.NOT_FOUND)
        found.update(fitting)
    return [plugin_id for plugin_id in known if plugin_id in found]


def suggest(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest to a misspelt one, as the end of a sentence; nothing if none is near."""
    import difflib  # noqa: PLC0415 - only for what is misspelt

    names = {known_name.lower(): known_name for known_name in known}
    near = difflib.get_close_matches(name.lower(), names, 1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def _compile(pattern: str) -> re.Pattern[str]:
    words = {"*": ".*", "?": "."}
    return re.compile("".join(words.get(character) or re.escape(character) for character in pattern))


def _explain(pattern: str, known: Sequence[str]) -> str:
    if is_pattern(pattern):
        return f"no plugin fits {pattern!r}; `plugvisor ls` lists them"
    if near := suggest(pattern, known):
        return f"there is no plugin {pattern!r}{near} `plugvisor refresh` finds new ones"
    return f"there is no plugin {pattern!r}; `plugvisor ls` lists them, `plugvisor refresh` finds new ones"
