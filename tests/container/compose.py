"""Compose projects for tests, with docker-compose.yml as it is."""

from __future__ import annotations

import os
import subprocess

from tests.container.engine import ROOT, Container, unique_name
from tests.helpers.waiting import DEADLINE_SECONDS


class Project:
    """A compose project with a name, a port and an image of its own."""

    def __init__(self, image: str, **environ: str) -> None:
        self.name = unique_name()
        self.container: Container | None = None
        self._environ = {**os.environ, "PLUGVISOR_IMAGE": image, "PLUGVISOR_PORT": "0", **environ}
        is_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self._command = ["docker", "compose"] if is_plugin else ["docker-compose"]
        self._command += ["--file", str(ROOT / "docker-compose.yml"), "--project-name", self.name]

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run `docker compose …`; returns its output."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def create(self) -> Container:
        """Start it."""
        self.run("up", "--detach", "--no-build")
        self.container = Container(self.run("ps", "--quiet").strip())
        return self.container

    def up(self) -> Container:
        """Start it and wait until the service responds."""
        return self.create().wait_until_ready()

    def recreate(self) -> Container:
        """Replace the container, as an upgrade does, and wait until the service responds."""
        assert self.container is not None
        self.container.close()
        self.run("up", "--detach", "--no-build", "--force-recreate")
        self.container = Container(self.run("ps", "--quiet").strip())
        return self.container.wait_until_ready()

    def down(self) -> None:
        """Remove all of it."""
        if self.container is not None:
            self.container.close()
        self.run("down", "--volumes", "--timeout", "0", check=False)
