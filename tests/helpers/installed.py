"""Installed plugins, laid out by hand as an installation leaves them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from plugvisor import layout

if TYPE_CHECKING:
    from pathlib import Path

RECORD = {"version": "1", "sha256": "0" * 64, "source": "", "installed_at": 1.0, "installed_by": "admin"}


def place_version(install_dir: Path, plugin_id: str, version: str, manifest: str) -> Path:
    """Make the folder of a version, which is not current yet; returns it."""
    folder = install_dir / plugin_id
    name = layout.name_version(version, hashlib.sha256(manifest.encode()).hexdigest())
    version_folder = folder / layout.VERSIONS / name
    version_folder.mkdir(parents=True)
    (folder / layout.DATA).mkdir(exist_ok=True)
    (version_folder / "plugin.toml").write_text(manifest)
    return version_folder


def make_current(version_folder: Path) -> None:
    """Have `current` lead to a version, in one step."""
    folder = version_folder.parent.parent
    versions = {path.name: RECORD for path in version_folder.parent.iterdir()}
    record = {"id": folder.name, "current": version_folder.name, "versions": versions}
    (folder / layout.RECORD).write_text(json.dumps(record))
    link = folder / ".link"
    link.symlink_to(f"{layout.VERSIONS}/{version_folder.name}")
    link.replace(folder / layout.CURRENT)


def install(install_dir: Path, plugin_id: str, version: str, manifest: str) -> Path:
    """Make a version, and make it current; returns its folder."""
    version_folder = place_version(install_dir, plugin_id, version, manifest)
    make_current(version_folder)
    return version_folder


def make_environment(version_folder: Path, version: str = "3.12.1") -> Path:
    """Make the environment of a version, whose `python` is a script; returns the folder of its programs."""
    programs = version_folder / layout.ENVIRONMENT / "bin"
    programs.mkdir(parents=True)
    (programs.parent / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion_info = {version}\n")
    (programs / "python").write_text('#!/bin/sh\necho "$0 $*"\n')
    (programs / "python").chmod(0o755)
    return programs
