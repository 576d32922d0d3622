"""The image, built once for a test run, and containers of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor import VERSION

from tests.container.compose import Project
from tests.container.engine import (
    HARDENED,
    ROOT,
    Container,
    build,
    docker,
    locked,
    remove_image,
    run_docker,
    unique_name,
    unique_tag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUIRED = "PLUGVISOR_TESTS_REQUIRE_DOCKER"
"""A variable that is set where Docker must be there: its absence then fails the tests instead of skipping them."""


def skip_or_fail(problem: str) -> None:
    """Skip the test, or fail it where Docker is required."""
    (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(problem)


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """A Docker Engine."""
    if shutil.which("docker") is None:
        skip_or_fail("there is no docker command")
    status, output = run_docker("version")
    if status != 0:
        skip_or_fail(f"no Docker Engine responds: {output}")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share, and no other run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def image(engine: None, run_folder: Path) -> Iterator[str]:
    """The image, built from this tree by the first process that needs it, and removed by the last."""
    lock, tag_file, users = run_folder / "image.lock", run_folder / "image.tag", run_folder / "image.users"
    users.mkdir(exist_ok=True)
    own = users / str(os.getpid())
    with locked(lock):
        if not tag_file.exists():
            tag = unique_tag()
            build(tag, ROOT, "--build-arg", f"VERSION={VERSION}")
            tag_file.write_text(tag)
        tag = tag_file.read_text()
        own.touch()
    yield tag
    with locked(lock):
        own.unlink()
        if not any(users.iterdir()):
            tag_file.unlink()
            remove_image(tag)


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
        skip_or_fail("there is no docker compose")
    projects: list[Project] = []

    def make(**environ: str) -> Project:
        projects.append(Project(image, **environ))
        return projects[-1]

    with locked(run_folder / "compose.lock"):
        yield make
        for project in projects:
            project.down()
