"""The command: bring everything up for each number of plugins, measure, print, save."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bystander import measure_bystander
from benchmarks.changes import measure_changes
from benchmarks.chart import draw_chart
from benchmarks.deaths import measure_deaths
from benchmarks.events import measure_events
from benchmarks.machine import describe_machine
from benchmarks.reads import measure_reads
from benchmarks.rest import measure_rest
from benchmarks.resync import measure_resync
from benchmarks.shutdown import measure_shutdown
from benchmarks.stage import set_stage
from benchmarks.table import format_line, format_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.figure import Figure
    from benchmarks.stage import Stage

MEASUREMENTS: Mapping[str, Callable[[Stage], Iterator[Figure]]] = {
    "reads": measure_reads,
    "rest": measure_rest,
    "changes": measure_changes,
    "deaths": measure_deaths,
    "events": measure_events,
    "resync": measure_resync,
    "bystander": measure_bystander,
    "shutdown": measure_shutdown,  # the last: nothing is left to measure after it
}

RESULTS = Path(__file__).parent
CALL_SECONDS = 120.0
"""No call to supervisord takes longer, or the run ends with an error."""


def main() -> int:
    """Measure what was asked for."""
    arguments = _make_parser().parse_args()
    if not Path("/proc/self/stat").exists():
        print("cannot measure here: CPU time and memory are read from Linux's /proc", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    socket.setdefaulttimeout(CALL_SECONDS)
    machine = describe_machine()
    print(machine, flush=True)
    began = time.monotonic()
    figures: list[Figure] = []
    for plugins in arguments.plugins:
        with set_stage(plugins) as stage:
            for name in arguments.only or MEASUREMENTS:
                for figure in MEASUREMENTS[name](stage):
                    print(format_line(figure), flush=True)
                    figures.append(figure)
    page = format_page(figures, machine)
    print(f"\n{page}\n{time.monotonic() - began:.0f} seconds")
    folder = arguments.output or (None if arguments.only else RESULTS)
    if folder is not None:
        (folder / "results.md").write_text(page, encoding="utf-8")
        (folder / "results.svg").write_text(draw_chart(figures), encoding="utf-8")
        print(f"saved as {folder / 'results.md'} and {folder / 'results.svg'}")
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure Plugvisor beside plain ways.")
    parser.add_argument("--plugins", type=_read_counts, default=[10, 100, 1000], help="comma-separated (10,100,1000)")
    parser.add_argument("--only", type=_read_names, help=f"some of {','.join(MEASUREMENTS)}; nothing is saved")
    parser.add_argument("--output", type=Path, help=f"the folder to save in ({RESULTS})")
    return parser


def _read_counts(text: str) -> list[int]:
    counts = sorted(map(int, text.split(",")))
    if not 2 <= counts[0] <= counts[-1] <= 5000:
        raise argparse.ArgumentTypeError("numbers from 2 to 5000")
    return counts


def _read_names(text: str) -> list[str]:
    names = [name for name in MEASUREMENTS if name in text.split(",")]
    if len(names) != len(text.split(",")):
        raise argparse.ArgumentTypeError(f"some of {','.join(MEASUREMENTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
