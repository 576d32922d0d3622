"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor import VERSION

from tests.container.engine import ROOT, Container, build, docker, remove_image, unique_tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIST_VERSIONS = """
import importlib.metadata
for distribution in importlib.metadata.distributions():
    print(distribution.name, distribution.version)
"""
FIND_STARLETTE = "import importlib.util; print(importlib.util.find_spec('starlette') is not None)"
FIND_UNREADABLE = """
import os
for folder in ("/opt/plugvisor", "/plugins"):
    for path, folders, files in os.walk(folder):
        for name in files + folders:
            path_of_it = os.path.join(path, name)
            if not os.access(path_of_it, os.R_OK | (os.X_OK if name in folders else 0)):
                print(path_of_it)
"""
LABELS = "org.opencontainers.image"


@pytest.fixture(scope="module")
def idle(image: str) -> Iterator[Container]:
    """A container in which nothing runs."""
    container = Container.run(image, ["--entrypoint", "sleep"], ["infinity"])
    yield container
    container.remove()


def inspect_image(tag: str) -> Any:
    return json.loads(docker("inspect", tag))[0]


def copy_build_context(folder: Path) -> None:
    """Copy what the Dockerfile needs, as .dockerignore lists it, so that a test may change it."""
    shutil.copy(ROOT / "Dockerfile", folder)
    shutil.copy(ROOT / ".dockerignore", folder)
    for name in re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)


def test_the_runner_is_whole(idle: Container) -> None:
    """The image's Python, which has nothing of Plugvisor, runs a copy of it; a context is in a file of its own."""
    plugin = "echo 'def main(ctx): print(ctx.plugin_id)' >main.py"
    run = f"mkdir -p /tmp/echo && cd /tmp/echo && {plugin} && python /opt/plugvisor/share/runner.py main:main"
    assert idle.execute("sh", "-c", run).strip() == "echo"


def test_labels(image: str) -> None:
    config = inspect_image(image)["Config"]
    assert config["Labels"][f"{LABELS}.title"] == "Plugvisor"
    assert config["Labels"][f"{LABELS}.version"] == VERSION
    assert config["Healthcheck"]["Test"] == ["CMD", "plugvisor", "health"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={VERSION}\n" in dockerfile, "the label of a build without arguments"


def test_a_change_of_the_source_keeps_the_dependencies(image: str, tmp_path: Path) -> None:
    """Only the layers of the package and of the samples are new; the labels have the values of the build."""
    copy_build_context(tmp_path)
    with (tmp_path / "service/plugvisor/__init__.py").open("a") as file:
        file.write("# a change\n")
    values = {"SOURCE": "https://example.com/plugvisor", "REVISION": "0f1e2d3", "CREATED": "2026-11-24T12:00:00Z"}
    options = [option for name, value in values.items() for option in ("--build-arg", f"{name}={value}")]
    tag = unique_tag()
    build(tag, tmp_path, *options)
    try:
        changed = inspect_image(tag)
    finally:
        remove_image(tag)
    old, new = inspect_image(image)["RootFS"]["Layers"], changed["RootFS"]["Layers"]
    assert len(old) == len(new)
    package, samples = len(old) - 2, len(old) - 1
    assert [index for index in range(len(old)) if old[index] != new[index]] in ([package], [package, samples])
    labels = changed["Config"]["Labels"]
    assert {name: labels[f"{LABELS}.{name.lower()}"] for name in values} == values


def test_a_package_with_another_hash_is_rejected(tmp_path: Path, image: str) -> None:
    """pip installs nothing but what the lock names."""
    lock = (ROOT / "requirements.lock").read_text()
    tampered = re.sub(r"(?<=sha256:)[0-9a-f]{64}", "0" * 64, lock)
    (tmp_path / "requirements.lock").write_text(tampered)
    (tmp_path / "requirements-build.lock").write_text((ROOT / "requirements-build.lock").read_text())
    dockerfile = (ROOT / "Dockerfile").read_text()
    (tmp_path / "Dockerfile").write_text(dockerfile.partition("FROM dependencies")[0])
    with pytest.raises(pytest.fail.Exception, match="DO NOT MATCH THE HASHES"):
        build(unique_tag(), tmp_path)


def test_the_service_has_the_locked_versions_and_nothing_else(idle: Container) -> None:
    installed = {
        re.sub("[-_.]+", "-", name).lower(): version
        for name, version in (line.split() for line in idle.run_python(LIST_VERSIONS).splitlines())
    }
    assert installed.pop("plugvisor") == VERSION
    locked = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert installed == {name: locked.get(name) for name in installed}
    assert not {"pip", "setuptools"} & set(installed)


def test_there_is_no_compiler(idle: Container) -> None:
    assert idle.execute("sh", "-c", "command -v gcc cc make || echo none").strip() == "none"


def test_no_cache_no_tests_no_sources_are_left(idle: Container) -> None:
    names = ("-name", "*.whl", "-o", "-name", "tests", "-o", "-name", "test_*")
    assert idle.execute("find", "/opt", "/usr/local", *names) == ""
    folders = "/root/.cache /src /wheels /image /var/lib/apt/lists/*"
    assert idle.execute("sh", "-c", f"ls -d {folders} 2>/dev/null || true") == ""


def test_what_plugins_install_is_apart_from_the_service(idle: Container) -> None:
    assert idle.execute("python", "-c", FIND_STARLETTE).strip() == "False"
    assert idle.run_python(FIND_STARLETTE).strip() == "True"


def test_users_cannot_write_to_anything_of_ours(idle: Container) -> None:
    folders = ("/opt", "/usr/local", "/etc", "/plugins")
    assert idle.execute("find", *folders, "-xdev", "!", "-type", "l", "-perm", "/022") == ""


def test_plugins_can_read_everything_of_ours(idle: Container) -> None:
    """Launch scripts run the package with the service's Python, as the plugins' user."""
    assert idle.run_python(FIND_UNREADABLE, user="plugin") == ""
    assert VERSION in idle.run_python("import plugvisor.cli.main, plugvisor; print(plugvisor.VERSION)", user="plugin")


def test_no_file_is_setuid_or_setgid(idle: Container) -> None:
    assert idle.execute("find", "/", "-xdev", "-type", "f", "-perm", "/6000") == ""
