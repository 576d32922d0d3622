"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One result of a check."""

    level: Level
    detail: str
    advice: str = ""
    """The advice; empty if it is ok."""


def ok(detail: str) -> Finding:
    """All is well."""
    return Finding("ok", detail)


def warning(detail: str, advice: str) -> Finding:
    """Plugvisor runs, but something will not work as it should."""
    return Finding("warning", detail, advice)


def problem(detail: str, advice: str) -> Finding:
    """Plugvisor does not start, or a plugin of it."""
    return Finding("problem", detail, advice)


def from_error(error: Exception, advice: str = "", level: Level = "problem") -> Finding:
    """A finding of an error whose message ends with the advice, after a semicolon."""
    detail, _, own_advice = str(error).partition("; ")
    return Finding(level, detail, own_advice or advice)
