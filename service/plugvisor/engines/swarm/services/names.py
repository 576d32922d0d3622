"""The names that a plugin's objects have in the swarm."""

from __future__ import annotations

import re
from hashlib import blake2b

PREFIX = "plugvisor-"
_LONGEST_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
"""What the swarm takes as the name of a service."""


def name_service(plugin_id: str) -> str:
    """The name of a plugin's service; of an id that no name can hold, its beginning and a digest."""
    name = f"{PREFIX}{plugin_id}"
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
        return name
    digest = blake2b(plugin_id.encode(), digest_size=6).hexdigest()
    return f"{PREFIX}{plugin_id[: _LONGEST_NAME - len(PREFIX) - len(digest) - 1]}-{digest}"


def name_data_volume(plugin_id: str) -> str:
    """The name of the volume with an installed plugin's data, on each node its own."""
    return f"{PREFIX}{plugin_id}-data"
