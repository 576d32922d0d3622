"""A registry in a lab's network, at an address that every node reaches: Debian's `docker-registry`."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.helpers.requirements import SWARM, skip_or_fail
from tests.helpers.swarm.lab import GATEWAY
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.swarm.lab import SwarmLab

PORT = 5000


class Registry:
    """Made with an empty folder; `start()` and `stop()` as often as a test likes."""

    address = f"{GATEWAY}:{PORT}"

    def __init__(self, lab: SwarmLab, folder: Path) -> None:
        if shutil.which("docker-registry") is None:
            skip_or_fail("there is no docker-registry", SWARM)
        self._lab = lab
        self._log = folder / "registry.log"
        self._config = folder / "registry.yml"
        self._config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '{self.address}'}}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve; return when it answers."""
        with self._log.open("ab") as log:
            command = [*self._lab.enter(), "docker-registry", "serve", str(self._config)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self._answers, f"the registry; see {self._log}")

    def stop(self) -> None:
        """End it: a connection to it is refused then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        code = f"import socket; socket.create_connection(('{GATEWAY}', {PORT}), 1).close()"
        command = [*self._lab.enter(), "python3", "-c", code]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def run_registry(lab: SwarmLab, folder: Path) -> Iterator[Registry]:
    """A registry that serves, until the end."""
    registry = Registry(lab, folder)
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
