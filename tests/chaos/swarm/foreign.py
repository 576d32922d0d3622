"""What somebody else has on the swarm: no operation of Plugvisor's may change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

NAMES = {"service": "foreign", "config": "plugvisor-foreign", "secret": "plugvisor-foreign"}


class Foreign:
    """A service, a config and a secret, the names of which are much like ours."""

    def __init__(self, stack: SwarmStack, image: str) -> None:
        self._stack = stack
        create = ("service", "create", "--detach", "--no-healthcheck", "--replicas", "1", "--endpoint-mode", "dnsrr")
        stack.docker(*create, "--name", NAMES["service"], "--entrypoint", "sleep", image, "infinity")
        content = stack.root / "foreign"
        content.write_text("theirs")
        for kind in ("config", "secret"):
            stack.docker(kind, "create", NAMES[kind], str(content))
        self._before = self._read()

    def find_changes(self) -> list[str]:
        """What is not as it was."""
        now = self._read()
        return [f"6: somebody else's {kind} is {now[kind]}" for kind in NAMES if now[kind] != self._before[kind]]

    def _read(self) -> dict[str, Any]:
        found = {}
        for kind, name in NAMES.items():
            [one] = json.loads(self._stack.docker(kind, "inspect", name))
            found[kind] = (one["ID"], one["Spec"])
        return found
