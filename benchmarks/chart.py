"""The ratios as a bar chart in SVG: right of the middle Plugvisor is better; each line is a factor of ten."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from benchmarks.table import format_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.result import Result

LABEL_WIDTH = 560
BARS_WIDTH = 480
MARGIN = 60
BAR_HEIGHT = 12
GAP = 20
BETTER, WORSE = ("#0b7285", "#3bc9db", "#99e9f2"), ("#d9480f", "#ff922b", "#ffd8a8")
"""For the smallest number of plugins, the next, and all others."""

_STYLE = "text{font:12px sans-serif;fill:#212529}.reference_name{fill:#868e96;font-size:10px}.axis{stroke:#dee2e6}"


def draw_chart(results: Sequence[Result]) -> str:
    """The chart; one bar for each number of plugins, grouped by what was measured."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        if result.times_better is not None:
            groups.setdefault((result.name, result.unit, result.reference_name), []).append(result)
    sizes = sorted({result.plugins for result in results})
    powers = [math.log10(result.times_better or 1) for group in groups.values() for result in group]
    first, last = min(-1, math.floor(min(powers, default=0))), max(1, math.ceil(max(powers, default=0)))

    def place(power: float) -> float:
        return LABEL_WIDTH + MARGIN + (power - first) / (last - first) * BARS_WIDTH

    parts, top = [], 40.0
    for (name, unit, reference_name), group in groups.items():
        height = max(BAR_HEIGHT * len(group), 26)
        parts.append(_text(LABEL_WIDTH, top + 10, f"{name}, {unit}", anchor="end"))
        parts.append(_text(LABEL_WIDTH, top + 22, f"compared with: {reference_name}", anchor="end", style="small"))
        for number, result in enumerate(group):
            parts.append(_bar(result, top + number * BAR_HEIGHT, place, min(sizes.index(result.plugins), 2)))
        top += height + GAP / 2
    width = LABEL_WIDTH + BARS_WIDTH + 2 * MARGIN
    axis = [
        f'<line class="axis" x1="{place(power):.0f}" x2="{place(power):.0f}" y1="30" y2="{top:.0f}"/>'
        + _text(place(power), 24, f"×{format_number(10.0**power)}" if power else "the same", anchor="middle")
        for power in range(first, last + 1)
    ]
    legend = "top to bottom: " + ", ".join(str(size) for size in sizes) + " plugins"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + 10:.0f}"'
            f' viewBox="0 0 {width} {top + 10:.0f}" role="img">',
            "<title>How many times better Plugvisor is than another way</title>",
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            _text(LABEL_WIDTH, 24, f"how many times better; {legend}", anchor="end"),
            *axis,
            *parts,
            "</svg>",
            "",
        ]
    )


def _bar(result: Result, top: float, place: Callable[[float], float], shade: int) -> str:
    times = result.times_better or 1
    start, end = sorted((place(0), place(math.log10(times))))
    color = (BETTER if times >= 1 else WORSE)[shade]
    bar = (
        f'<rect x="{start:.1f}" y="{top:.0f}" width="{max(end - start, 1):.1f}" height="{BAR_HEIGHT - 2}"'
        f' fill="{color}"/>'
    )
    if times >= 1:
        return bar + _text(end + 4, top + 9, format_number(times), style="small")
    return bar + _text(start - 4, top + 9, format_number(times), anchor="end", style="small")


def _text(x: float, y: float, text: str, *, anchor: str = "start", style: str = "label") -> str:
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
