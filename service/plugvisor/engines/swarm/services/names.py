"""The names that a plugin's objects have in the swarm, and the labels that say whose they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.services import labels
from plugvisor.swarm_settings import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGEST_CHARACTERS = 12
_LONGEST_NAME = 63
_LONGEST_OBJECT_NAME = 64
_LONGEST_NUMBER = 4
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
"""The names that the swarm accepts for a service."""
_NOT_IN_IMAGES = re.compile("[^a-z0-9]+")


@dataclass(frozen=True)
class Names:
    """Those of one Plugvisor of a swarm, which can have several: each sees its own objects alone."""

    owner: str = DEFAULT_NAME
    """`PLUGVISOR_NAME`, without a hyphen: so that no two have a name in common. Two that share it are one Plugvisor."""

    def name_service(self, plugin_id: str) -> str:
        """The name of a plugin's service; of an id that no name can hold, its beginning and a digest."""
        name = f"{self.owner}-{plugin_id}"
        if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
            return name
        digest = blake2b(plugin_id.encode(), digest_size=6).hexdigest()
        return f"{name[: _LONGEST_NAME - len(digest) - 1]}-{digest}"

    def name_object(self, plugin_id: str, content: str, number: int | None = None) -> str:
        """The name of a config or secret: of the swarm's names, two that differ in case alone are the same.

        Args:
            content: its digest.
            number: of a part.
        """
        digest = sha256(f"{plugin_id}\0{content}".encode()).hexdigest()[:_DIGEST_CHARACTERS]
        longest = _LONGEST_OBJECT_NAME - len(f"{self.owner}--{digest}-") - _LONGEST_NUMBER
        name = f"{self.owner}-{plugin_id.lower()[:longest]}-{digest}"
        return name if number is None else f"{name}-{number}"

    def name_repository(self, plugin_id: str) -> str:
        """The name of a plugin's images."""
        return f"{self.owner}-{_NOT_IN_IMAGES.sub('-', plugin_id.lower()).strip('-')}"

    def name_data_volume(self, plugin_id: str) -> str:
        """The name of the volume with an installed plugin's data, on each node its own."""
        return f"{self.owner}-{plugin_id}-data"

    def label(self, plugin_id: str) -> dict[str, str]:
        """The labels of everything that a plugin has."""
        return {labels.ID: plugin_id, labels.OWNER: self.owner}

    def find_plugin_id(self, known: Mapping[str, Any] | None) -> str:
        """The id of the plugin that labels name; empty if they are somebody else's."""
        known = known or {}
        plugin_id = known.get(labels.ID)
        is_ours = isinstance(plugin_id, str) and known.get(labels.OWNER, DEFAULT_NAME) == self.owner
        return str(plugin_id) if is_ours else ""

    def find_service_plugin(self, service: Mapping[str, Any]) -> str:
        """The id of the plugin that a service is; empty if it is somebody else's.

        Labels alone do not make it a plugin: it has the name that is made from the id, and replicas.
        """
        spec = service.get("Spec") or {}
        plugin_id = self.find_plugin_id(spec.get("Labels"))
        if not plugin_id or spec.get("Name") != self.name_service(plugin_id):
            return ""
        return plugin_id if "Replicated" in (spec.get("Mode") or {}) else ""
