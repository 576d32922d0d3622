"""Manifests, without a file."""

from __future__ import annotations

from typing import Any

from plugvisor.models.manifest import Manifest


def make_manifest(**fields: Any) -> Manifest:
    """A valid manifest; its id is `echo`, its command `true`."""
    return Manifest(**{"id": "echo", "name": "echo", "command": ("true",)} | fields)
