"""The results as text: a line each for the terminal, and a Markdown page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Result, Sample

HEADINGS = (
    "measured",
    "plugins",
    "unit",
    "Plugvisor",
    "±",
    "worst",
    "compared with",
    "reference",
    "worst",
    "ratio",
    "goal",
    "met",
)
TEXT_HEADINGS = ("measured", "unit", "compared with", "met")

_PAGE = """\
# Plugvisor measured

Made by `scripts/bench`. Each value of Plugvisor stands next to a reference, the same work done another way in the same
run on the same machine: the ratio of the two is what counts. *Plugvisor* and *reference* are medians; *±* is half of
the interquartile range; *worst* is the 99th percentile, or the maximum of fewer than 100 values. For requests/s more is
better, for everything else less. Reads are requested by 32 connections at once.

{machine}.

![How many times better than another way](results.svg)

## Goals

{goals}

## All results

{results}
"""


def format_line(result: Result) -> str:
    """One line for the terminal."""
    name, plugins, unit, median, spread, worst, reference_name, reference, _, ratio, goal, met = _format_cells(result)
    line = f"{plugins:>5}  {name}: {median} {unit}"
    details = [f"±{spread}" if spread else "", f"worst {worst}" if worst else ""]
    if any(details):
        line += f" ({', '.join(filter(None, details))})"
    if reference_name:
        line += f"; {reference_name}: {reference} {unit}; ratio {ratio}"
    return line + (f"; goal {goal}: {'met' if met == 'yes' else 'NOT met'}" if goal else "")


def format_page(results: Sequence[Result], machine: str) -> str:
    """The whole page."""
    return _PAGE.format(machine=machine, goals=format_goals(results), results=_format_table(results))


def format_goals(results: Sequence[Result]) -> str:
    """The results that have a goal, as a table."""
    return _format_table([result for result in results if result.goal])


def format_number(value: float) -> str:
    """A number with three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 or not value else f"{value:.1g}"


def _format_table(results: Sequence[Result]) -> str:
    rows = [HEADINGS, *map(_format_cells, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    is_text = [heading in TEXT_HEADINGS for heading in HEADINGS]
    rule = tuple("-" * width if text else "-" * (width - 1) + ":" for width, text in zip(widths, is_text, strict=True))
    lines = []
    for row in (HEADINGS, rule, *rows[1:]):
        cells = zip(row, widths, is_text, strict=True)
        lines.append(" | ".join(cell.ljust(width) if text else cell.rjust(width) for cell, width, text in cells))
    return "\n".join(f"| {line} |" for line in lines)


def _format_cells(result: Result) -> tuple[str, ...]:
    spread = result.value.spread
    return (
        result.name,
        str(result.plugins),
        result.unit,
        format_number(result.value.median),
        "" if spread is None else f"{spread:.0%}",
        _format_worst(result.value),
        result.reference_name,
        "" if result.reference is None else format_number(result.reference.median),
        "" if result.reference is None else _format_worst(result.reference),
        "" if result.ratio is None else format_number(result.ratio),
        _format_goal(result),
        {None: "", True: "yes", False: "no"}[result.meets_goal],
    )


def _format_worst(sample: Sample) -> str:
    return "" if sample.worst is None else format_number(sample.worst)


def _format_goal(result: Result) -> str:
    if result.goal is None:
        return ""
    sign = "≥" if result.more_is_better else "≤"
    return f"{sign} {format_number(result.goal.limit)}" + (" ×" if result.goal.is_ratio else "")
