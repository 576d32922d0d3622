"""All verbs of the command."""

from __future__ import annotations

from plugvisor.cli.verbs import authors, images, packages, plugins, processes, streams

VERBS = (
    *processes.VERBS,
    *plugins.VERBS,
    *streams.VERBS,
    *packages.VERBS,
    *authors.VERBS,
    *images.VERBS,
)
GROUPS = {
    "identity": "add, list, remove and rotate identities",
    "config": "print, replace and edit the manifests of plugins",
    "image": "build images that hold plugins",
}
"""The first words of verbs that have two."""
