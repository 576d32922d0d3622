"""The image, built once, and containers of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor import VERSION

from tests.container.engine import HARDENED, ROOT, Container, build, docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUIRED = "PLUGVISOR_TESTS_REQUIRE_DOCKER"
"""Set where there must be an engine, so that its absence fails instead of being skipped."""


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """A Docker Engine that answers."""
    if shutil.which("docker") is None:
        problem = "there is no docker command"
    else:
        asked = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=30, check=False)
        problem = "" if asked.returncode == 0 else f"no Docker Engine answers: {asked.stderr.strip()}"
    if problem and os.environ.get(REQUIRED):
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def image(engine: None) -> Iterator[str]:
    """The image, built from this tree."""
    tag = f"plugvisor-test:{uuid.uuid4().hex[:12]}"
    build(tag, ROOT, "--build-arg", f"VERSION={VERSION}")
    yield tag
    docker("rmi", "--force", tag, check=False)


@pytest.fixture
def run(image: str) -> Iterator[Callable[..., Container]]:
    """Starts containers of this test's own: `run("--env", "X=y", image=…, arguments=[…])`."""
    started: list[Container] = []

    def run_container(*options: str, image: str = image, arguments: tuple[str, ...] = ()) -> Container:
        started.append(Container(image, options, arguments))
        return started[-1]

    yield run_container
    for container in started:
        container.remove()


@pytest.fixture(scope="session")
def samples(image: str) -> Iterator[Container]:
    """A container with the sample plugins, as little privileged as the compose file makes it."""
    container = Container(image, [*HARDENED, "--env", "TZ=Asia/Shanghai", "--env", "PLUGVISOR_LOG_TO_STDOUT=true"])
    try:
        yield container.wait_until_ready()
    finally:
        container.remove()


@pytest.fixture
def plugins() -> Iterator[Path]:
    """An empty plugins folder that a container's users can read."""
    with tempfile.TemporaryDirectory(prefix="pv-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def volume() -> Iterator[Callable[[], str]]:
    """Makes volumes of this test's own."""
    made: list[str] = []

    def make() -> str:
        made.append(docker("volume", "create", f"plugvisor-test-{uuid.uuid4().hex[:12]}").strip())
        return made[-1]

    yield make
    for name in made:
        docker("volume", "rm", "--force", name, check=False)
