"""Containers of the image."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.container.compose import Project
from tests.container.engine import HARDENED, Container, docker, locked, run_docker, unique_name
from tests.helpers.requirements import DOCKER, skip_or_fail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session", autouse=True)
def engine(docker_engine: None) -> None:
    """Every test here needs a Docker Engine."""


@pytest.fixture
def run(image: str) -> Iterator[Callable[..., Container]]:
    """Starts containers of this test's own: `run("--env", "X=y", image=…)`."""
    started: list[Container] = []

    def run_container(*options: str, image: str = image) -> Container:
        started.append(Container.run(image, options))
        return started[-1]

    yield run_container
    for container in started:
        container.remove()


SAMPLES_ENVIRONMENT = [
    f"--env={name}={value}"
    for name, value in {
        "TZ": "Asia/Shanghai", "PLUGVISOR_LOG_TO_STDOUT": "true", "PLUGVISOR_HOSTS": "localhost",
    }.items()
]  # fmt: skip


@pytest.fixture(scope="session")
def samples(image: str) -> Iterator[Container]:
    """A container with the sample plugins, as restricted as docker-compose.yml has it."""
    container = Container.run(image, [*HARDENED, *SAMPLES_ENVIRONMENT])
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
        made.append(docker("volume", "create", unique_name()).strip())
        return made[-1]

    yield make
    for name in made:
        run_docker("volume", "rm", "--force", name)


@pytest.fixture
def compose(image: str, run_folder: Path) -> Iterator[Callable[..., Project]]:
    """Makes projects, in one test at a time: the kernel counts nproc for a user, across containers."""
    if shutil.which("docker-compose") is None and "compose" not in docker("--help"):
        skip_or_fail("there is no docker compose", DOCKER)
    projects: list[Project] = []

    def make(**environ: str) -> Project:
        projects.append(Project(image, **environ))
        return projects[-1]

    with locked(run_folder / "compose.lock"):
        yield make
        for project in projects:
            project.down()
