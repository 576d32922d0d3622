"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re

import pytest
from plugvisor import VERSION

from tests.container.engine import ROOT, docker

LIST_VERSIONS = """
import importlib.metadata
for distribution in importlib.metadata.distributions():
    print(distribution.name, distribution.version)
"""


def run_in(image: str, *command: str) -> str:
    return docker("run", "--rm", "--entrypoint", command[0], image, *command[1:])


def test_labels(image: str) -> None:
    config = json.loads(docker("inspect", image))[0]["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == "Plugvisor"
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert config["Healthcheck"]["Test"] == ["CMD", "plugvisor", "health"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={VERSION}\n" in dockerfile, "the label of a build without arguments"


def test_the_service_has_the_pinned_versions_and_nothing_else(image: str) -> None:
    installed = dict(
        line.split() for line in run_in(image, "/opt/plugvisor/bin/python", "-c", LIST_VERSIONS).splitlines()
    )
    assert installed.pop("plugvisor") == VERSION
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = dict(line.split("==") for line in constraints.splitlines() if "==" in line)
    by_name = {re.sub("[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    assert {name: by_name.get(re.sub("[-_.]+", "-", name).lower()) for name in installed} == installed
    assert not {"pytest", "mypy", "ruff", "pip", "setuptools"} & set(installed)


@pytest.mark.parametrize("program", ["gcc", "cc", "make"])
def test_there_is_no_compiler(image: str, program: str) -> None:
    assert run_in(image, "sh", "-c", f"command -v {program} || echo none").strip() == "none"


def test_no_cache_no_tests_no_sources_are_left(image: str) -> None:
    assert (
        run_in(image, "find", "/opt", "/usr/local", "-name", "*.whl", "-o", "-name", "tests", "-o", "-name", "test_*")
        == ""
    )
    assert run_in(image, "sh", "-c", "ls -d /root/.cache /src /wheels /var/lib/apt/lists/* 2>/dev/null || true") == ""


def test_what_plugins_install_is_apart_from_the_service(image: str) -> None:
    import_starlette = "import importlib.util; print(importlib.util.find_spec('starlette'))"
    assert run_in(image, "python", "-c", import_starlette).strip() == "None"
    assert run_in(image, "/opt/plugvisor/bin/python", "-c", import_starlette).strip() != "None"


def test_nothing_of_ours_may_be_written_by_the_users(image: str) -> None:
    found = run_in(image, "find", "/opt", "/usr/local", "/etc", "/plugins", "-xdev", "!", "-type", "l", "-perm", "/022")
    assert found.split() == []
