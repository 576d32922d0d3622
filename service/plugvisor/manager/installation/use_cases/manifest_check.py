"""Checks the manifest of a package as `plugvisor check` does. Everything blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import InvalidManifest
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.catalog import Plugin
from plugvisor.plugins.dependencies import find_warnings, resolve
from plugvisor.plugins.manifest import parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.models.manifest import Manifest
    from plugvisor.plugins.catalog import Catalog


def check_manifest(data: bytes, catalog: Catalog, folder: Path) -> tuple[Manifest, list[str]]:
    """Parse a manifest, and put it among the other plugins; returns what its author should know, too.

    Args:
        folder: holds it, or will.

    Raises:
        InvalidManifest
    """
    try:
        manifest = parse_manifest(data)
    except ManifestError as error:
        raise refuse(error) from error
    after = resolve({**catalog, manifest.id: Plugin(manifest.id, folder, manifest, program=manifest)})
    if after[manifest.id].problem:
        raise InvalidManifest(f"its manifest is invalid: {after[manifest.id].problem}")
    broken = [
        f"the plugin {other.id!r} cannot be started with this version: {other.problem}"
        for other in after.values()
        if other.problem and other.id != manifest.id and not catalog[other.id].problem
    ]
    return manifest, [*manifest.warnings, *find_warnings(after).get(manifest.id, ()), *broken]


def check_program(manifest: Manifest, folder: Path, engine: Engine) -> None:
    """Check that the engine can run a version that is in its place; raises `InvalidManifest`."""
    try:
        engine.render(manifest, folder)
    except ManifestError as error:
        raise refuse(error) from error


def refuse(error: ManifestError) -> InvalidManifest:
    """The error for clients."""
    refused = InvalidManifest(f"its manifest is invalid: {error}")
    refused.line, refused.column = error.line, error.column
    return refused
