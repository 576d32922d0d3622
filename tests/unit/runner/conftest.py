"""The runner on a plugin of the test's."""

import sys
from textwrap import dedent

import pytest

from tests.helpers.runner_processes import RUNNER, Process


@pytest.fixture
def start():
    """start(command, folder, environment) -> Process; killed after the test if it is still alive."""
    processes = []

    def start(command, folder, environment=None):
        processes.append(Process(command, folder, environment))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def run(start, tmp_path):
    """run(source, entry) -> Process: the runner on a plugin.py with that source."""

    def run(source, entry="plugin:Plugin", folder=tmp_path, file="plugin.py"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(dedent(source), encoding="utf-8")
        return start([sys.executable, str(RUNNER), entry], folder)

    return run
