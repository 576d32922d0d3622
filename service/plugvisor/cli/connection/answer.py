"""The objects of an answer."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from plugvisor.cli.connection.failure import describe_failure


class Answer(dict[str, Any]):
    """A JSON object of an answer. If it lacks a member that is read, what has answered is no Plugvisor."""

    def __init__(self, url: str, members: dict[str, Any]) -> None:
        super().__init__(members)
        self._url = url

    def __missing__(self, name: str) -> Any:
        """Raise `NoAnswer`: `answer["plugins"]` needs no check of its own."""
        raise describe_failure(self._url, KeyError(name))


def decode_answer(url: str, text: str | bytes) -> Answer:
    """The object of an answer, an empty one if it has no body.

    Raises:
        ValueError, TypeError, RecursionError: it is no JSON object.
    """
    content = json.loads(text or "{}", object_hook=partial(Answer, url))
    if not isinstance(content, Answer):
        raise TypeError("it is no object")
    return content
