"""The runner as a real process, whose output arrives line by line."""

import os
import queue
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.helpers.waiting import DEADLINE_SECONDS

RUNNER = Path(__file__).resolve().parents[2] / "service" / "plugvisor" / "runner" / "__main__.py"

# Nothing of the tests' own environment but PATH: PYTHONUNBUFFERED, for one, would hide a missing flush.
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


class Process:
    """A process whose output arrives line by line; every wait has a deadline."""

    def __init__(self, command, folder, environment=None):
        self.popen = subprocess.Popen(
            command,
            cwd=folder,
            env=ENVIRONMENT | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._stdout = queue.Queue()
        self._stderr = []
        self._readers = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_stdout(self):
        for line in self.popen.stdout:
            self._stdout.put(line.rstrip("\n"))
        self._stdout.put(None)

    def _read_stderr(self):
        self._stderr.extend(self.popen.stderr)

    def line(self):
        """Return the next line of stdout without its line break; None at the end."""
        try:
            return self._stdout.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            pytest.fail(f"no line on stdout within {DEADLINE_SECONDS} s; stderr: {self._stderr}")

    def rest(self):
        """Return all further lines, until the process closes its stdout."""
        return list(iter(self.line, None))

    def send(self, number=signal.SIGTERM):
        self.popen.send_signal(number)

    def write(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def end(self):
        """Wait for the end; returns the exit status and stderr."""
        status = self.popen.wait(DEADLINE_SECONDS)
        for reader in self._readers:
            reader.join(DEADLINE_SECONDS)
        return status, "".join(self._stderr)

    def close(self):
        self.popen.kill()
        self.end()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            stream.close()
