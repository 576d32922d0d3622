"""Fixtures for every test; what they are made of is in `tests/helpers/`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import zlib
from typing import TYPE_CHECKING

import hypothesis
import pytest
from plugvisor import VERSION

from tests.container.engine import ROOT, build, locked, remove_image, run_docker, unique_tag
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.requirements import DOCKER, SWARM, skip_or_fail
from tests.helpers.stack import PlugvisorStack, run_stack
from tests.helpers.swarm.lab import SwarmLab, explain_absence
from tests.helpers.swarm.pool import LabPool
from tests.helpers.swarm.stack import SwarmStack, run_swarm_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx


def pytest_configure() -> None:
    """Have Ctrl-C end what tests start: a shell starts what is in its background with that signal ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine makes any example slow
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def plugvisor() -> Iterator[PlugvisorStack]:
    """A Plugvisor of this test's own, not up yet."""
    with run_stack() as stack:
        yield stack


@pytest.fixture(scope="module")
def shared() -> Iterator[PlugvisorStack]:
    """One Plugvisor for a whole file, up, with no plugin: each test adds its own under an id of its own."""
    with run_stack() as stack:
        stack.up()
        yield stack


@pytest.fixture
def add(shared: PlugvisorStack, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Adds a plugin, named after the test, to the shared Plugvisor; returns its id."""

    def add_plugin(code: str = OBEDIENT, *, runtime: str = "auto_start = false", suffix: str = "") -> str:
        name = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)
        plugin_id = (name if len(name) <= 50 else f"{name[:40]}-{zlib.crc32(name.encode()):08x}") + suffix
        shared.write_plugin(plugin_id, code, runtime=runtime)
        answers: list[httpx.Response] = []

        def refresh() -> bool:
            answers.append(shared.post("/plugins/refresh"))
            return answers[-1].status_code != 503

        wait_for(refresh, "a refresh")
        # one that a busy machine has not answered in time may have added it
        assert len(answers) > 1 or plugin_id in answers[0].json()["added"], answers[0].text
        return plugin_id

    return add_plugin


# -- Docker


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker Engine of this machine's."""
    if shutil.which("docker") is None:
        skip_or_fail("there is no docker command", DOCKER)
    status, output = run_docker("version")
    if status != 0:
        skip_or_fail(f"no Docker Engine responds: {output}", DOCKER)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share, and no other run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def image(docker_engine: None, run_folder: Path) -> Iterator[str]:
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


# -- a swarm


@pytest.fixture(scope="session")
def swarm_possible() -> None:
    """A machine that a swarm can be made on."""
    if problem := explain_absence():
        skip_or_fail(problem, SWARM)


@pytest.fixture(scope="session")
def lab_pool(swarm_possible: None, image: str, run_folder: Path) -> Iterator[LabPool]:
    """The labs of this test run, whose nodes have the image."""
    pool = LabPool(run_folder, image)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def swarm_lab(lab_pool: LabPool) -> Iterator[SwarmLab]:
    """A swarm of three managers for this file alone; its tests may break it, and must mend what the next one needs."""
    with lab_pool.lease() as lab:
        yield lab


@pytest.fixture
def swarm_stack(swarm_lab: SwarmLab, image: str) -> Iterator[SwarmStack]:
    """A Plugvisor of this test's own, not up yet, whose plugins run in the swarm."""
    with run_swarm_stack(swarm_lab, image) as stack:
        yield stack


@pytest.fixture(scope="module")
def swarm_shared(swarm_lab: SwarmLab, image: str) -> Iterator[SwarmStack]:
    """One Plugvisor for a whole file, up, whose plugins run in the swarm."""
    with run_swarm_stack(swarm_lab, image) as stack:
        stack.up()
        yield stack
