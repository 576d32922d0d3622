"""The figures as text: a line each for the terminal, and a Markdown page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.figure import Figure, Sample

HEADINGS = ("measured", "plugins", "unit", "ours", "worst", "beside", "its", "worst", "ours / its")

_PAGE = """\
# Plugvisor measured

Made by `scripts/bench`. Every figure of ours stands beside the same work done another way in the same run on the
same machine: what counts is the ratio. *Ours* and *its* are medians; *worst* is the 99th percentile, or the maximum of
fewer than 100 tries. For requests/s more is better, for everything else less.
Reads are asked for by 32 connections at once.

{machine}.

![how many times better](results.svg)

{table}
"""


def format_line(figure: Figure) -> str:
    """One line for the terminal."""
    what, plugins, unit, ours, ours_worst, beside, other, other_worst, ratio = _cells(figure)
    ours = f"{ours} {unit}" + (f" (worst {ours_worst})" if ours_worst else "")
    other = f"{other} {unit}" + (f" (worst {other_worst})" if other_worst else "")
    return f"{plugins:>5}  {what}: {ours}" + (f"; {beside}: {other}; ratio {ratio}" if beside else "")


def format_page(figures: Sequence[Figure], machine: str) -> str:
    """The whole page."""
    rows = [HEADINGS, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    is_text = [heading in ("measured", "unit", "beside") for heading in HEADINGS]
    rule = ["-" * width if text else "-" * (width - 1) + ":" for width, text in zip(widths, is_text, strict=True)]
    lines = []
    for row in (HEADINGS, rule, *rows[1:]):
        cells = zip(row, widths, is_text, strict=True)
        lines.append(" | ".join(cell.ljust(width) if text else cell.rjust(width) for cell, width, text in cells))
    return _PAGE.format(machine=machine, table="\n".join(f"| {line} |" for line in lines))


def format_number(value: float) -> str:
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 or not value else f"{value:.1g}"


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else format_number(figure.ratio)
    return (
        figure.what,
        str(figure.plugins),
        figure.unit,
        *_pair(figure.ours),
        figure.beside,
        *_pair(figure.other),
        ratio,
    )


def _pair(sample: Sample | None) -> tuple[str, str]:
    if sample is None:
        return "", ""
    return format_number(sample.median), "" if sample.worst is None else format_number(sample.worst)
