"""The service's state, in configs of the swarm: `<owner>-state-<number>`, of which the largest counts.

A config cannot be changed, and no two have one name: of two services that write at once, one is told.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.services import labels
from plugvisor.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.names import Names

logger = logging.getLogger(__name__)

MOST_BYTES = 500_000
"""Older Engines take no larger config."""
KEPT = 2
"""How many there are at most, the newest included."""
_MOST_FOREIGN = 20
"""How many names that others have taken are passed over."""
_GONE, _TAKEN = 404, 409
_NUMBER = "([1-9][0-9]{0,11})"
"""A larger number was not written here: after it there would be none left."""


class SwarmState:
    """See `plugvisor.engines.kept_state.KeptState`."""

    def __init__(self, client: DockerClient, names: Names) -> None:
        self._client = client
        self._prefix = f"{names.owner}-state-"
        self._writer = secrets.token_hex(8)
        self.is_own = False
        self._name = re.compile(f"{self._prefix}{_NUMBER}")

    async def load(self) -> tuple[int, bytes] | None:
        """The newest that was kept, and its number; None if there is none."""
        found = await self._list()
        self.is_own = False
        if not found:
            return None
        number = max(found)
        self.is_own = found[number]["Spec"]["Labels"].get(labels.WRITER) == self._writer
        try:
            return number, base64.b64decode(found[number]["Spec"].get("Data") or "", validate=True)
        except binascii.Error as error:
            raise StoreUnavailable("what the swarm keeps of the service cannot be read") from error

    async def save(self, number: int, data: bytes) -> bool:
        """Keep some data, and of what was kept before only the newest; returns False if the number is taken.

        It gets a higher number if somebody else's config has the name.
        """
        if len(data) > MOST_BYTES:
            raise StoreUnavailable(
                f"the swarm cannot keep what the service remembers: it has {len(data)} bytes, and {MOST_BYTES} are "
                "possible"
            )
        found = await self._list()
        if found and max(found) >= number:
            return False
        for candidate in range(number, number + _MOST_FOREIGN):
            if await self._create(candidate, data):
                break
            if max(await self._list(), default=0) >= number:
                return False
            logger.warning("a config named %s%d was not made by Plugvisor", self._prefix, candidate)
        else:
            raise StoreUnavailable("configs of somebody else have the names of what the swarm is to keep: remove them")
        self.is_own = True
        for old in sorted(found)[: -KEPT + 1 or None]:
            await self._remove(found[old]["ID"])
        return True

    async def _create(self, number: int, data: bytes) -> bool:
        """Returns False if there is a config of that name."""
        body = {
            "Name": f"{self._prefix}{number}",
            "Labels": {labels.STATE: str(number), labels.WRITER: self._writer},
            "Data": base64.b64encode(data).decode(),
        }
        try:
            await self._client.call("POST", "/configs/create", body=body)
        except DockerError as error:
            if error.status == _TAKEN:
                return False
            raise _translate(error) from error
        return True

    async def _list(self) -> dict[int, Mapping[str, Any]]:
        """The configs by their numbers; one without our label is somebody else's."""
        try:
            configs = await self._client.call("GET", "/configs", query={"filters": {"label": [labels.STATE]}})
        except DockerError as error:
            raise _translate(error) from error
        found = ((self._name.fullmatch(config["Spec"]["Name"]), config) for config in configs)
        return {int(match[1]): config for match, config in found if match}

    async def _remove(self, config_id: str) -> None:
        try:
            await self._client.call("DELETE", f"/configs/{config_id}")
        except DockerError as error:
            if error.status != _GONE:
                logger.warning("an old config of what the service remembers cannot be removed: %s", error)


def _translate(error: DockerError) -> StoreUnavailable:
    logger.warning("the swarm does not keep what the service remembers: %s", error)
    return StoreUnavailable("the swarm does not keep what the service remembers")
