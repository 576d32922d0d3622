"""The command: for each number of plugins start the systems, measure, print and save."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chart import draw_chart
from benchmarks.groups.blocking import measure_blocking
from benchmarks.groups.bulk import measure_bulk
from benchmarks.groups.command import measure_command
from benchmarks.groups.crash_loop import measure_crash_loop
from benchmarks.groups.crashes import measure_crashes
from benchmarks.groups.dependencies import measure_dependencies
from benchmarks.groups.environments import measure_environments
from benchmarks.groups.events import measure_events
from benchmarks.groups.idle import measure_idle
from benchmarks.groups.journal import measure_journal
from benchmarks.groups.lifecycle import measure_lifecycle
from benchmarks.groups.memory_limit import measure_memory_limit
from benchmarks.groups.monitoring import measure_monitoring
from benchmarks.groups.operations import measure_operations
from benchmarks.groups.reads import measure_reads
from benchmarks.groups.remembering import measure_remembering
from benchmarks.groups.resync import measure_resync
from benchmarks.groups.store import measure_store
from benchmarks.groups.swarm import measure_swarm
from benchmarks.groups.updates import measure_updates
from benchmarks.groups.uploads import measure_uploads
from benchmarks.machine import describe_machine
from benchmarks.table import format_goals, format_line, format_page
from benchmarks.testbed import Testbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.result import Result


@dataclass(frozen=True)
class Group:
    """Measurements of one topic, and with how many plugins they are made unless the command says otherwise."""

    measure: Callable[[Testbed], Iterator[Result]]
    plugins: tuple[int, ...]


GROUPS: Mapping[str, Group] = {
    "lifecycle": Group(measure_lifecycle, (10, 1000)),  # first: it starts a stack of its own
    "idle": Group(measure_idle, (10, 1000)),  # before anything has made the processes grow
    "reads": Group(measure_reads, (10, 100, 1000)),
    "operations": Group(measure_operations, (10, 200)),
    "crashes": Group(measure_crashes, (10,)),
    "events": Group(measure_events, (10, 1000)),
    "blocking": Group(measure_blocking, (1000,)),
    "bulk": Group(measure_bulk, (100, 1000)),
    "resync": Group(measure_resync, (1000,)),
    "dependencies": Group(measure_dependencies, (10, 100)),
    "monitoring": Group(measure_monitoring, (100,)),
    "crash_loop": Group(measure_crash_loop, (10,)),
    "remembering": Group(measure_remembering, (100, 1000)),
    "journal": Group(measure_journal, (100,)),
    "store": Group(measure_store, (100,)),
    "memory_limit": Group(measure_memory_limit, (10,)),
    "updates": Group(measure_updates, (10,)),
    "uploads": Group(measure_uploads, (100,)),
    "command": Group(measure_command, (10, 100)),
    "environments": Group(measure_environments, (10,)),
    "swarm": Group(measure_swarm, (100,)),
}

RESULTS_DIR = Path(__file__).parent
CALL_SECONDS = 120.0
"""The longest call to supervisord; after it the run ends with an error."""


def main() -> int:
    """Measure what the arguments name."""
    arguments = _make_parser().parse_args()
    if not Path("/proc/self/stat").exists():
        print("cannot measure here: CPU time and memory are read from Linux's /proc", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that every system is ended
    socket.setdefaulttimeout(CALL_SECONDS)
    machine = describe_machine()
    print(machine, flush=True)
    began = time.monotonic()
    groups = {name: group for name, group in GROUPS.items() if name in (arguments.only or GROUPS)}
    counts = sorted(arguments.plugins or {count for group in groups.values() for count in group.plugins})
    results: list[Result] = []
    failed: list[str] = []
    for count in counts:
        with Testbed(count) as testbed:
            for name, group in groups.items():
                if arguments.plugins or count in group.plugins:
                    try:
                        for result in group.measure(testbed):
                            print(format_line(result), flush=True)
                            results.append(result)
                    except Exception:  # noqa: BLE001 - what the others have measured is not lost
                        traceback.print_exc()
                        failed.append(f"{name} with {count} plugins")
    if failed:
        machine += f"\n\nFailed, and is not or not wholly below: {', '.join(failed)}."
    print(f"\n{format_goals(results)}\n{time.monotonic() - began:.0f} seconds")
    is_whole = not arguments.only and not arguments.plugins
    folder = arguments.output or (RESULTS_DIR if is_whole else None)
    if folder is not None:
        (folder / "results.md").write_text(format_page(results, machine), encoding="utf-8")
        (folder / "results.svg").write_text(draw_chart(results), encoding="utf-8")
        print(f"saved as {folder / 'results.md'} and {folder / 'results.svg'}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _make_parser() -> argparse.ArgumentParser:
    sizes = "; ".join(f"{name}: {','.join(map(str, group.plugins))}" for name, group in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure Plugvisor next to the same work done another way.",
        epilog=f"A run of everything is saved in {RESULTS_DIR}, any other only with --output.",
    )
    parser.add_argument("--plugins", type=_read_counts, help=f"numbers of plugins, comma-separated ({sizes})")
    parser.add_argument("--only", type=_read_names, help=f"groups, comma-separated, of {','.join(GROUPS)}")
    parser.add_argument("--output", type=Path, help="the folder to save the results in")
    return parser


def _read_counts(text: str) -> list[int]:
    counts = sorted(map(int, text.split(",")))
    if not 2 <= counts[0] <= counts[-1] <= 5000:
        raise argparse.ArgumentTypeError("numbers from 2 to 5000")
    return counts


def _read_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - GROUPS.keys():
        raise argparse.ArgumentTypeError(f"no such group: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
