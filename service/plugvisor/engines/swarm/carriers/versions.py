"""The files beside a version's folder that make it an installed version on another machine too."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from plugvisor.layout import (
    CURRENT,
    DIGEST_CHARACTERS,
    LARGEST_RECORD_BYTES,
    RECORD,
    VERSIONS,
    find_environment,
    find_root,
    is_version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION = "plugvisor.version"
"""Label of the secret of an installed plugin: the JSON of its version's record."""


def describe_version(directory: Path) -> dict[str, str]:
    """The label with the record of a version; none for a plugin that was put there by hand. Blocks."""
    if not is_version(str(directory)):
        return {}
    try:
        return {VERSION: json.dumps(_read_record(find_root(str(directory)))["versions"][directory.name])}
    except (KeyError, TypeError, ValueError):
        return {}


def write_record(plugin_id: str, directory: Path, labels: Mapping[str, str]) -> None:
    """Make a version that was restored the current one; raises `OSError`. Blocks.

    Another one that this machine has is from before: it was replaced when the service was elsewhere.
    """
    root = find_root(str(directory))
    earlier = _read_record(root)
    versions = {directory.name: _find(directory, labels)}
    record = {"id": plugin_id, "current": directory.name, "versions": {**earlier.get("versions", {}), **versions}}
    if earlier.get("current") in earlier.get("versions", {}):
        record["previous"] = earlier["current"]
    # beside the version, where nothing is listed that is none
    temporary = os.path.join(os.path.dirname(directory), f".plugvisor-{os.urandom(8).hex()}")
    with open(temporary, "x", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(temporary, os.path.join(root, RECORD))
    os.symlink(os.path.join(VERSIONS, directory.name), temporary)
    os.replace(temporary, os.path.join(root, CURRENT))


def _read_record(root: str) -> dict[str, Any]:
    """The plugin's record on this machine; empty if there is none that can be used."""
    try:
        with open(os.path.join(root, RECORD), "rb") as file:
            record = json.loads(file.read(LARGEST_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("versions", {}), dict) else {}


def _find(directory: Path, labels: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(labels[VERSION])
    except (KeyError, ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    version, _, digest = directory.name.rpartition("-")
    return {
        "version": version,
        "sha256": digest.ljust(64, "0") if len(digest) == DIGEST_CHARACTERS else "0" * 64,
        "source": "restored",
        "installed_at": time.time(),
        "installed_by": "",
        "environment": os.path.isdir(find_environment(str(directory))),
    }
