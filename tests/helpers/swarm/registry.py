"""A real registry, Debian's `docker-registry`, in the network between a lab's nodes."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.helpers.ports import find_free_port
from tests.helpers.requirements import SWARM, skip_or_fail
from tests.helpers.swarm.lab import GATEWAY
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.swarm.lab import SwarmLab

CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
http: {{addr: "{address}"}}
{auth}"""


class Registry:
    """Nodes reach it at `address`. It keeps what it has while it is away.

    Args:
        folder: its own, for all that it has.
        password_file: of `htpasswd`, with bcrypt; whoever has no name and password in it is rejected.
    """

    def __init__(self, lab: SwarmLab, folder: Path, password_file: Path | None = None) -> None:
        self._lab = lab
        self._folder = folder
        self.address = f"{GATEWAY}:{find_free_port()}"
        auth = f"auth:\n  htpasswd: {{realm: test, path: {password_file}}}\n" if password_file else ""
        (folder / "config.yml").write_text(CONFIG.format(folder=folder, address=self.address, auth=auth))
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            command = [*self._lab.enter(), "docker-registry", "serve", str(self._folder / "config.yml")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self._answers, "the registry")

    def pause(self) -> None:
        """Have it accept connections and say nothing, until it is `down`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def down(self) -> None:
        """Have it away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def fetch(self, path: str) -> str:
        """What it answers to a GET below `/v2/`."""
        url = f"http://{self.address}/v2/{path}"
        curl = [*self._lab.enter(), "curl", "--silent", "--fail", "--max-time", "10", url]
        return subprocess.run(curl, capture_output=True, text=True, check=True).stdout

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        probe = f"exec 3<>/dev/tcp/{host}/{port}"
        return (
            subprocess.run([*self._lab.enter(), "bash", "-c", probe], capture_output=True, check=False).returncode == 0
        )


@contextlib.contextmanager
def run_registry(lab: SwarmLab, folder: Path, password_file: Path | None = None) -> Iterator[Registry]:
    """A registry that answers; at the end it is gone."""
    if shutil.which("docker-registry") is None:
        skip_or_fail("a registry for tests needs docker-registry", SWARM)
    registry = Registry(lab, folder, password_file)
    try:
        registry.up()
        yield registry
    finally:
        registry.down()
