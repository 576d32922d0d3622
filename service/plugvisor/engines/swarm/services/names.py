"""The names that a plugin's objects have in the swarm."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.services import labels

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "plugvisor-"
_LONGEST_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
"""The names that the swarm accepts for a service."""


def name_service(plugin_id: str) -> str:
    """The name of a plugin's service; of an id that no name can hold, its beginning and a digest."""
    name = f"{PREFIX}{plugin_id}"
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
        return name
    digest = blake2b(plugin_id.encode(), digest_size=6).hexdigest()
    return f"{PREFIX}{plugin_id[: _LONGEST_NAME - len(PREFIX) - len(digest) - 1]}-{digest}"


def find_plugin_id(service: Mapping[str, Any]) -> str:
    """The id of the plugin that a service is; empty if it is somebody else's.

    A label alone does not make it a plugin: it has the name that is made from the id, and replicas.
    """
    spec = service.get("Spec") or {}
    plugin_id = (spec.get("Labels") or {}).get(labels.ID)
    if not isinstance(plugin_id, str) or spec.get("Name") != name_service(plugin_id):
        return ""
    return plugin_id if "Replicated" in (spec.get("Mode") or {}) else ""


def name_data_volume(plugin_id: str) -> str:
    """The name of the volume with an installed plugin's data, on each node its own."""
    return f"{PREFIX}{plugin_id}-data"
