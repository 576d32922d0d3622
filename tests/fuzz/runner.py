"""libFuzzer on one target, by Atheris, for a time: `python -m tests.fuzz.runner TARGET SECONDS`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["plugvisor", "tomllib", "shlex"]):
    from tests.fuzz.targets import LONGEST_SECONDS, run

CORPUS = Path(__file__).parent / "corpus"
DICTIONARY = Path(__file__).with_name("tokens.dict")
FAILURES = Path(__file__).parents[2] / "build" / "fuzz"
MOST_MEGABYTES = 2048


def main(name: str, seconds: str) -> None:
    """Run until the time is over, or an input breaks an invariant, which is then kept in `build/fuzz`."""
    FAILURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        arguments = [sys.argv[0], found, str(CORPUS / name), f"-max_total_time={seconds}", "-print_final_stats=1"]
        arguments += [
            f"-artifact_prefix={FAILURES}/{name}-",
            f"-timeout={2 * LONGEST_SECONDS:.0f}",
            f"-rss_limit_mb={MOST_MEGABYTES}",
        ]
        arguments += [f"-dict={DICTIONARY}", "-max_len=8192", "-reduce_inputs=0"]
        atheris.Setup(arguments, lambda data: run(name, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
