"""Checks a manifest that a client sends for a plugin that is there. Everything blocks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.manager.installation.manifest_file import check_size, make_json
from plugvisor.manager.installation.use_cases.manifest_check import check_manifest, refuse
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.manifest import parse_document, parse_manifest
from plugvisor.plugins.positions import find_position

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.models.manifest import Manifest
    from plugvisor.plugins.catalog import Catalog, Plugin

_KEY = re.compile("`(command|entry)`")
"""The key that an engine's error names."""


class Checked(NamedTuple):
    """A manifest that can be used."""

    program: Any
    """The engine's, of the plugin with this manifest."""
    warnings: list[str]


def check_text(plugin: Plugin, text: bytes, catalog: Catalog, directory: Path, engine: Engine) -> Checked:
    """Check a manifest as `plugvisor check` does.

    Args:
        directory: holds it, or will.

    Raises:
        InvalidManifest
    """
    try:
        check_size(text)
        manifest = parse_manifest(text)
        if plugin.id.endswith("\\"):
            raise plugin.manifest_error or ManifestError("its id is not its own")
        if manifest.id != plugin.id:
            raise _locate(text, "plugin", "id", f"the id cannot be changed here: `id` must be {plugin.id!r}")
        _, warnings = check_manifest(text, catalog, plugin.folder or directory)
        return Checked(_render(manifest, directory, text, engine), [*warnings, *engine.list_ignored(manifest)])
    except ManifestError as error:
        raise refuse(error) from error


def parse_text(text: bytes) -> dict[str, Any]:
    """Every table, as JSON can hold it; raises `InvalidManifest`."""
    try:
        document: dict[str, Any] = make_json(parse_document(text)[0])
    except ManifestError as error:
        raise refuse(error) from error
    return document


def _render(manifest: Manifest, directory: Path, text: bytes, engine: Engine) -> Any:
    try:
        return engine.render(manifest, directory)
    except ManifestError as error:
        if (named := _KEY.search(error.problem)) is not None:
            raise _locate(text, "plugin", named[1], error.problem) from error
        if manifest.python.version and manifest.python.version.strip() in error.problem:
            raise _locate(text, "plugin_runtime.python", "version", error.problem) from error
        raise


def _locate(text: bytes, table: str, key: str, problem: str) -> ManifestError:
    return ManifestError(problem, *(find_position(text.decode("utf-8-sig"), table, key) or ()))
