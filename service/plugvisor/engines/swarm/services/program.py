"""A plugin's program: its service, with what it needs on a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.folder import FolderDigest
    from plugvisor.models.manifest import Manifest
    from plugvisor.settings import Settings


@dataclass(frozen=True)
class SwarmProgram:
    """Two that are equal run the same."""

    id: str
    directory: Path
    folder: FolderDigest
    """What the folder holds."""
    digest: str
    """Of all that follows, and of the folder: what differs between two programs that do not run the same."""
    spec: bytes = field(repr=False)
    """The service's spec as JSON, without image, configs, secrets, replicas and what labels remember."""
    secret: bytes = field(repr=False)
    """What `inside` reads: arguments, environment, exit codes; it can contain secrets."""


def render_program(manifest: Manifest, directory: Path, settings: Settings) -> SwarmProgram:
    """Make the program of a plugin; raises `ManifestError` for what a swarm cannot run."""
    raise NotImplementedError
