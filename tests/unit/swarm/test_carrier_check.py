"""A folder that cannot travel is refused before anything is changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.swarm.engine import SwarmEngine
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.manifest import parse_manifest
from plugvisor.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = b'[plugin]\nid = "echo"\ncommand = ["python", "main.py"]\n'


def make_engine(tmp_path: Path, **environ: str) -> SwarmEngine:
    """An engine that is not opened."""
    return SwarmEngine(
        Settings.from_env({"PLUGVISOR_ENGINE": "swarm", "PLUGVISOR_RUN_DIR": str(tmp_path / "run"), **environ})
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is just too large for configs."""
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "plugin.toml").write_bytes(MANIFEST)
    (folder / "data").write_bytes(os.urandom(900_000))
    return folder


def test_a_folder_that_cannot_travel_is_an_invalid_manifest(tmp_path: Path, folder: Path) -> None:
    engine = make_engine(tmp_path)
    with pytest.raises(ManifestError, match="without a registry"):
        engine.render(parse_manifest(MANIFEST), folder)
    (folder / "data").write_bytes(os.urandom(800_000))
    assert engine.render(parse_manifest(MANIFEST), folder).id == "echo"


def test_with_a_registry_a_folder_may_have_any_size(tmp_path: Path, folder: Path) -> None:
    engine = make_engine(tmp_path, PLUGVISOR_REGISTRY="registry.example.com")
    assert engine.render(parse_manifest(MANIFEST), folder).id == "echo"
