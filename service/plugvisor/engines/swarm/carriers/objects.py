"""Configs and secrets of the swarm: made once, never changed, and removed only if they are ours."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any, Literal

from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.services import labels
from plugvisor.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.names import Names

    Object = Mapping[str, Any]
    Kind = Literal["configs", "secrets"]

logger = logging.getLogger(__name__)

CONTENT = "plugvisor.content"
"""Label with the whole digest of what an object holds."""


class SwarmObjects:
    """Every method may raise `SupervisorUnavailable` and `DockerError`."""

    def __init__(self, client: DockerClient, names: Names) -> None:
        self._client = client
        self.names = names

    async def find(self, kind: Kind, plugin_id: str, content: str, names: Collection[str]) -> list[Object]:
        """Those of these names that there are, in the order of the names.

        Raises:
            StartFailed: one of them belongs to somebody else.
        """
        listed = await self._client.call("GET", f"/{kind}", query={"filters": {"name": list(names)}}) or []
        by_name = {item["Spec"]["Name"].lower(): item for item in listed}
        found = [by_name[name.lower()] for name in names if name.lower() in by_name]
        for item in found:
            known = item["Spec"].get("Labels") or {}
            if self.names.find_plugin_id(known) != plugin_id or known.get(CONTENT) != content:
                logger.error("the swarm's %s named %s was not made by Plugvisor", kind[:-1], item["Spec"]["Name"])
                raise StartFailed(f"a {kind[:-1]} in the place of the plugin's was not made by Plugvisor: remove it")
        return found

    async def ensure(
        self, kind: Kind, plugin_id: str, content: str, name: str, *, data: bytes, extra: Mapping[str, str]
    ) -> str:
        """Make an object unless it is there; returns its id.

        Args:
            extra: further labels of a new one.

        Raises:
            StartFailed: somebody else's has its name.
        """
        if found := await self.find(kind, plugin_id, content, [name]):
            return str(found[0]["ID"])
        body = {
            "Name": name,
            "Labels": {**self.names.label(plugin_id), CONTENT: content, **extra},
            "Data": base64.b64encode(data).decode(),
        }
        try:
            return str((await self._client.call("POST", f"/{kind}/create", body=body))["ID"])
        except DockerError as error:
            if error.status != 409 or not (found := await self.find(kind, plugin_id, content, [name])):
                raise
            return str(found[0]["ID"])  # made by somebody meanwhile

    async def _list_labelled(self, kind: Kind, label: str) -> dict[str, list[Object]]:
        """Those of ours by their plugins' ids."""
        found: dict[str, list[Object]] = {}
        for item in await self._client.call("GET", f"/{kind}", query={"filters": {"label": [label]}}) or []:
            known = item["Spec"].get("Labels") or {}
            if CONTENT in known and (plugin_id := self.names.find_plugin_id(known)):
                found.setdefault(plugin_id, []).append(item)
        return found

    async def list(self, kind: Kind, plugin_id: str) -> list[Object]:
        """All of a plugin's."""
        return (await self._list_labelled(kind, f"{labels.ID}={plugin_id}")).get(plugin_id, [])

    async def list_plugins(self, kind: Kind) -> set[str]:
        """The ids of the plugins that have some."""
        return set(await self._list_labelled(kind, labels.ID))

    async def remove(self, kind: Kind, object_id: str) -> None:
        """Remove one; nothing is done if a service still uses it, or it is gone."""
        try:
            await self._client.call("DELETE", f"/{kind}/{object_id}")
        except DockerError as error:
            logger.debug("a %s is not removed: %s", kind[:-1], error)
