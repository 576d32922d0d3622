"""Environments that are built by the real `uv`, from wheels that are made here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.environment import BuildRefused, Built, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Builder:
    """Builds versions that share a cache."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    def write_version(self, name: str, *requirements: str) -> Path:
        """A version that requires these, of the wheels that were made."""
        version = self.folder / name / "versions" / "1"
        version.mkdir(parents=True)
        self.wheels.mkdir(exist_ok=True)
        lines = ["--no-index", f"--find-links {self.wheels}", *requirements]
        version.joinpath("requirements.txt").write_text("\n".join(lines))
        return version

    def build(
        self, version: Path, python: str = "", seconds: float = 60, is_cancelled: Callable[[], bool] = lambda: False
    ) -> Built:
        return build(
            str(version), python, seconds, str(self.folder / "cache"), say=self.lines.append, is_cancelled=is_cancelled
        )

    def refuse(
        self, version: Path, python: str = "", seconds: float = 60, is_cancelled: Callable[[], bool] = lambda: False
    ) -> BuildRefused:
        """Build what cannot be built; nothing is left of the environment."""
        with pytest.raises(BuildRefused) as caught:
            self.build(version, python, seconds, is_cancelled)
        assert not version.joinpath(".venv").exists()
        assert str(self.folder) not in f"{caught.value}{caught.value.log}{self.lines}"
        return caught.value
