"""The credentials of the registry go to that registry alone."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.swarm.carriers.registry_auth import HEADER, read_registry_auth
from plugvisor.errors import ConfigurationError
from plugvisor.swarm_settings import SwarmSettings

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path | None, image: str, registry: str = "registry.example.com:5000/plugins") -> dict[str, str]:
    header = read_registry_auth(SwarmSettings(registry=registry, registry_auth_file=path), image)
    values: dict[str, str] = json.loads(base64.urlsafe_b64decode(header[HEADER]))
    return values


def test_the_registrys_own_images(tmp_path: Path) -> None:
    """Those of the folder of the settings, and those beside it, such as the one that plugins are made from."""
    (tmp_path / "auth").write_text("user:pass:wörd\n")
    expected = {"username": "user", "password": "pass:wörd", "serveraddress": "registry.example.com:5000"}
    for image in ("registry.example.com:5000/plugins/plugvisor-echo:1", "registry.example.com:5000/plugvisor:1.0"):
        assert read(tmp_path / "auth", image) == expected


@pytest.mark.parametrize(
    "image", ["plugvisor:1.0", "docker.io/plugvisor", "registry.example.com/x", "registry.example.com:5000.evil.com/x"]
)
def test_images_of_others(tmp_path: Path, image: str) -> None:
    (tmp_path / "auth").write_text("user:password")
    assert read(tmp_path / "auth", image) == {}
    assert read(tmp_path / "auth", image, registry="") == {}


def test_no_file() -> None:
    assert read(None, "registry.example.com:5000/x") == {}


@pytest.mark.parametrize("text", [b"", b"user", b":password", b"user:password\nuser:password", b"\xff:password"])
def test_a_file_that_cannot_be_used(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "auth").write_bytes(text)
    with pytest.raises(ConfigurationError, match="PLUGVISOR_REGISTRY_AUTH_FILE") as raised:
        read(tmp_path / "auth", "registry.example.com:5000/x")
    assert "user:password\n" not in str(raised.value)
