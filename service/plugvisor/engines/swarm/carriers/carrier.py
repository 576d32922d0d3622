"""Brings the folder of a plugin onto the nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.program import SwarmProgram
    from plugvisor.settings import Settings


@dataclass(frozen=True)
class Carried:
    """What a service's spec needs so that its tasks have the folder."""

    image: str
    label: str
    """For `labels.CARRIER`."""
    configs: tuple[Mapping[str, Any], ...] = ()
    """For `ContainerSpec.Configs`."""
    secrets: tuple[Mapping[str, Any], ...] = ()
    """For `ContainerSpec.Secrets`."""


class Carrier:
    """Chooses the way for each folder. Every method may raise `SupervisorUnavailable`."""

    def __init__(self, client: DockerClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def carry(self, program: SwarmProgram) -> Carried:
        """Bring a program's folder and secret to where tasks find them; nothing is done that was done before.

        Raises:
            StartFailed: the registry is away, the image cannot be built, or there is no way for this folder.
        """
        raise NotImplementedError

    async def clean(self, plugin_id: str, keep: Iterable[Mapping[str, Any]] = ()) -> None:
        """Remove the configs and secrets of a plugin that no service of `keep` refers to; nothing is raised.

        Args:
            keep: services, as the Engine describes them: the present one, so that what it was before can return.
        """
        raise NotImplementedError

    async def restore(self, services: Mapping[str, Mapping[str, Any]]) -> list[Path]:
        """Unpack, where it was, the folder of each service whose folder is not on this machine; returns the folders.

        So a service that was rescheduled to another manager has its plugins. Nothing that is there is changed.

        Args:
            services: by plugin id.
        """
        raise NotImplementedError
