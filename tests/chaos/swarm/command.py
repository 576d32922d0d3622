"""`scripts/chaos --engine swarm`."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.swarm.cast import FAULTS
from tests.chaos.swarm.rounds import make_rounds
from tests.chaos.swarm.run import run_rounds
from tests.helpers.stack import ROOT
from tests.helpers.swarm.lab import explain_absence
from tests.helpers.swarm.pool import LabPool

if TYPE_CHECKING:
    import argparse

TAG = "plugvisor:chaos"


def run_swarm(seed: int, arguments: argparse.Namespace) -> int:
    """Play rounds over a lab of its own; exit status 1 if a promise was broken, 2 if there can be no lab."""
    if problem := explain_absence():
        _print(problem)
        return 2
    _print(f"seed {seed}")
    image = arguments.image or build_image()
    with tempfile.TemporaryDirectory() as folder, closing(LabPool(Path(folder), image)) as pool, pool.lease() as lab:
        rounds = make_rounds(seed, arguments.first_round, arguments.fault or tuple(FAULTS))
        result = run_rounds(lab, image, rounds, arguments.seconds, operations=arguments.operations, report=_print)
    _print(str(result))
    if result.violations:
        faults = "".join(f" --fault {kind}" for kind in arguments.fault)
        _print(
            f"again: scripts/chaos --engine swarm --seed {seed} --first-round {result.last_round} --seconds 1{faults}"
        )
    return 1 if result.violations else 0


def build_image() -> str:
    """Have this machine's Engine build the image; returns its name."""
    subprocess.run(["docker", "build", "--quiet", "--tag", TAG, "."], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return TAG


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints
