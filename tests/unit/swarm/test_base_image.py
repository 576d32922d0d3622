"""Which image plugins run in, and what it holds already."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.swarm.carriers import base_image
from plugvisor.engines.swarm.carriers.base_image import CONTENTS_FILE, BaseImage
from plugvisor.engines.swarm.carriers.folder import find_digest
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.errors import StartFailed
from plugvisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONTAINER = "0123456789abcdef" * 4
MOUNTS = f"""\
700 600 0:44 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/ABC
710 700 254:1 /var/lib/docker/containers/{CONTAINER}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
"""


class FakeEngine:
    """Answers GET with what it is given."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.calls: list[str] = []

    async def call(self, method: str, path: str) -> Any:
        self.calls.append(path)
        assert method == "GET"
        if path not in self.answers:
            raise DockerError(404, f"no such object: {path}")
        return self.answers[path]


def make_settings(**environ: str) -> Settings:
    return Settings.from_env({"PLUGVISOR_ENGINE": "swarm", **environ})


def find(engine: FakeEngine, settings: Settings) -> str:
    return asyncio.run(BaseImage(engine, settings).find())  # type: ignore[arg-type]


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the service sees as its mounts."""
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(base_image, "MOUNTS", tmp_path / "mountinfo")
    return tmp_path / "mountinfo"


def test_the_image_of_the_settings() -> None:
    engine = FakeEngine({})
    assert find(engine, make_settings(PLUGVISOR_IMAGE="plugvisor:1")) == "plugvisor:1"
    assert engine.calls == []


def test_the_image_of_the_services_own_service(mounts: Path) -> None:
    """By its digest, if the swarm knows it so."""
    image = "registry.example.com/plugvisor:1@sha256:abc"
    engine = FakeEngine(
        {
            f"/containers/{CONTAINER}/json": {
                "Config": {"Image": "sha256:123", "Labels": {"com.docker.swarm.service.id": "own"}}
            },
            "/services/own": {"Spec": {"TaskTemplate": {"ContainerSpec": {"Image": image}}}},
        }
    )
    assert find(engine, make_settings()) == image


def test_the_image_of_a_plain_container(mounts: Path) -> None:
    engine = FakeEngine({f"/containers/{CONTAINER}/json": {"Config": {"Image": "plugvisor:2", "Labels": None}}})
    assert find(engine, make_settings()) == "plugvisor:2"


def test_a_container_without_such_mounts_is_known_by_its_name(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts.unlink()
    monkeypatch.setattr("platform.node", lambda: "0123456789ab")
    engine = FakeEngine({"/containers/0123456789ab/json": {"Config": {"Image": "plugvisor:2"}}})
    assert find(engine, make_settings()) == "plugvisor:2"


def test_no_container(mounts: Path) -> None:
    with pytest.raises(StartFailed, match="PLUGVISOR_IMAGE is not set"):
        find(FakeEngine({}), make_settings())


# -- what it holds


@pytest.mark.parametrize(
    ("image", "contents", "expected"),
    [
        ("", {"image": "plugvisor:1"}, True),
        ("plugvisor:1", {"image": "plugvisor:1"}, True),
        ("plugvisor:1@sha256:abc", {"image": "plugvisor:1"}, True),
        ("plugvisor:2", {"image": "plugvisor:1"}, False),
        ("", {"folders": {"echo": "0" * 64}}, False),
        ("", {"folders": {}}, False),
        ("", {"folders": ["echo"]}, False),
        ("", [], False),
        ("", None, False),
    ],
)
def test_an_image_that_holds_the_folder(tmp_path: Path, image: str, contents: Any, *, expected: bool) -> None:
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "plugin.toml").write_text("")
    digest = find_digest(folder)
    if isinstance(contents, dict):
        contents = {"folders": {"echo": digest.sha256}, **contents}
    if contents is not None:
        (tmp_path / CONTENTS_FILE).write_text(json.dumps(contents))
    settings = make_settings(PLUGVISOR_IMAGE=image, PLUGVISOR_PLUGINS_DIR=str(tmp_path))
    found = BaseImage(FakeEngine({}), settings).holds(folder, digest)  # type: ignore[arg-type]
    assert found is expected


def test_a_folder_elsewhere_is_not_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "echo").mkdir()
    digest = find_digest(tmp_path / "echo")
    contents = {"image": "plugvisor:1", "folders": {"echo": digest.sha256}}
    (tmp_path / "plugins" / CONTENTS_FILE).write_text(json.dumps(contents))
    settings = make_settings(PLUGVISOR_PLUGINS_DIR=str(tmp_path / "plugins"))
    assert not BaseImage(FakeEngine({}), settings).holds(tmp_path / "echo", digest)  # type: ignore[arg-type]
