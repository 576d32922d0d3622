"""How long commands take, from their start to their end."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately, time_call
from benchmarks.systems.plugvisor_stack import ADMIN_CODE, HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.testbed import Testbed

ROUNDS = 21
SECONDS = 20.0
START_GOAL_MS = 150.0
LIST_GOAL_MS = 400.0
"""With 100 plugins."""

NOTHING = "python -c pass"
CLIENT = "a script with urllib: the same three requests"
SCRIPT = """\
import json, sys
from urllib.request import Request, urlopen
for path in ("/plugins", "/plugin/status", "/plugin/metrics"):
    request = Request(sys.argv[1] + path, headers={"Authorization": "Bearer " + sys.argv[2]})
    with urlopen(request) as answer:
        json.load(answer)
"""


def measure_command(testbed: Testbed) -> Iterator[Result]:
    """`-V`, `--help` and `ls`, next to an interpreter that does nothing, and to a script that asks the same."""
    url = f"http://{HOST}:{testbed.plugvisor.port}"
    command = [sys.executable, "-m", "plugvisor"]
    commands = {
        "plugvisor -V": [*command, "-V"],
        "plugvisor --help": [*command, "--help"],
        "plugvisor ls": [*command, "ls", "--url", url],
        NOTHING: [sys.executable, "-c", "pass"],
        CLIENT: [sys.executable, "-c", SCRIPT, url, ADMIN_CODE],
    }
    measured = run_alternately({name: partial(_run, words) for name, words in commands.items()}, ROUNDS, SECONDS)
    for name, reference, goal in (
        ("plugvisor -V", NOTHING, START_GOAL_MS),
        ("plugvisor --help", NOTHING, START_GOAL_MS),
        ("plugvisor ls", CLIENT, LIST_GOAL_MS),
    ):
        value, other = (Sample.of(measured[method]["took"]) for method in (name, reference))
        limit = Goal(goal) if testbed.plugins <= 100 or name != "plugvisor ls" else None
        yield Result(name, testbed.plugins, "ms", value, reference, other, goal=limit)


def _run(words: Sequence[str]) -> dict[str, float]:
    environ = os.environ | {"PLUGVISOR_TOKEN": ADMIN_CODE}
    run = partial(subprocess.run, words, env=environ, stdout=subprocess.DEVNULL, check=True)
    return {"took": time_call(run)}
