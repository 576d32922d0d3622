"""Brings the folder of a plugin onto the nodes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.carriers import configs
from plugvisor.engines.swarm.carriers.base_image import BaseImage
from plugvisor.engines.swarm.carriers.builder import ImageBuilder
from plugvisor.engines.swarm.carriers.images import PluginImages, list_images
from plugvisor.engines.swarm.carriers.objects import SwarmObjects
from plugvisor.engines.swarm.carriers.registry_auth import read_registry_auth
from plugvisor.engines.swarm.carriers.restore import FolderRestorer
from plugvisor.engines.swarm.carriers.variable_values import complete_secret
from plugvisor.engines.swarm.carriers.versions import describe_version
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.inside.launch import SECRET_NAME
from plugvisor.engines.swarm.services.names import Names
from plugvisor.errors import ConfigurationError, PlugvisorError, StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.program import SwarmProgram
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

IMAGE = "image"
REGISTRY = "registry"
CONFIGS = "configs"
"""The ways, as `labels.CARRIER` begins."""


@dataclass(frozen=True)
class Carried:
    """The parts of a service's spec by which its tasks have the folder."""

    image: str
    label: str
    """For `labels.CARRIER`."""
    configs: tuple[Mapping[str, Any], ...] = ()
    """For `ContainerSpec.Configs`."""
    secrets: tuple[Mapping[str, Any], ...] = ()
    """For `ContainerSpec.Secrets`."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For the call that creates or updates the service, whose nodes pull the image with them."""


class Carrier:
    """Chooses the way for each folder. Every method may raise `SupervisorUnavailable`."""

    def __init__(self, client: DockerClient, settings: Settings) -> None:
        self._settings = settings
        names = Names(settings.swarm.name)
        self._objects = SwarmObjects(client, names)
        self._base = BaseImage(client, settings)
        builder = ImageBuilder(client, settings.swarm, settings.build_seconds)
        self._images = PluginImages(client, builder, names, settings.swarm.registry)
        self._user = user = settings.users.plugins if settings.users is not None and os.geteuid() == 0 else None
        roots = [folder for folder in (settings.plugins_dir, settings.install_dir) if folder is not None]
        self._restorer = FolderRestorer(client, self._objects, builder, roots, user)

    def check(self, program: SwarmProgram) -> None:
        """Raise `ManifestError` if there is no way for a program's folder. Blocks."""
        if not (self._settings.swarm.registry or self._base.holds(program.directory, program.folder)):
            configs.check_fits(program.directory, program.folder)

    async def carry(self, program: SwarmProgram, *, is_started: bool = True) -> Carried:
        """Bring a program's folder and secret to where tasks find them; nothing is done that was done before.

        Args:
            is_started: otherwise the files of variables need not be there yet.

        Raises:
            StartFailed: the registry is away, the image cannot be built, there is no way for this folder, or the file
                of a variable cannot be read.
        """
        try:
            return await self._carry(program, is_started=is_started)
        except DockerError as error:
            logger.error("what %r needs cannot be brought to the nodes: %s", program.id, error)
            raise StartFailed("the Docker Engine does not take what its tasks need; the log says why") from error
        except ConfigurationError as error:
            raise StartFailed(str(error)) from error

    async def _carry(self, program: SwarmProgram, *, is_started: bool) -> Carried:
        base = await self._base.find()
        image, label = base, IMAGE
        references: list[Mapping[str, Any]] = []
        if not await asyncio.to_thread(self._base.holds, program.directory, program.folder):
            if self._settings.swarm.registry:
                image = await self._images.provide(program.id, program.directory, program.folder, base)
                label = f"{REGISTRY}:{image}"
            else:
                content, references = await configs.carry(self._objects, program.id, program.directory, program.folder)
                label = f"{CONFIGS}:{content}"
        secret = await self._carry_secret(program, is_started=is_started)
        headers = await asyncio.to_thread(read_registry_auth, self._settings.swarm, image)
        return Carried(image, label, tuple(references), (secret,), headers)

    async def _carry_secret(self, program: SwarmProgram, *, is_started: bool) -> Mapping[str, Any]:
        data = program.secret
        try:
            data = await complete_secret(data, program.variable_files, self._user)
        except StartFailed as error:
            if is_started:
                raise
            logger.warning("%r has no value for a variable yet: %s", program.id, error)
        content = hashlib.sha256(data).hexdigest()
        name = self._objects.names.name_object(program.id, content)
        version = await asyncio.to_thread(describe_version, program.directory)
        secret = await self._objects.ensure("secrets", program.id, content, name, data=data, extra=version)
        # readable to any user: `inside` reads it as the one that the plugin runs as, and its checks do after that
        file = {"Name": SECRET_NAME, "UID": "0", "GID": "0", "Mode": 0o444}
        return {"SecretID": secret, "SecretName": name, "File": file}

    async def clean(self, plugin_id: str, keep: Iterable[Mapping[str, Any]] = ()) -> None:
        """Remove the configs and secrets of a plugin that no service of `keep` refers to; nothing is raised.

        Args:
            keep: services, as the Engine describes them: the present one, so that what it was before can return.
        """
        services = list(keep)
        try:
            used = {reference for service in services for reference in _list_references(service)}
            for kind in ("configs", "secrets"):
                for item in await self._objects.list(kind, plugin_id):
                    if item["ID"] not in used:
                        await self._objects.remove(kind, item["ID"])
            if self._settings.swarm.registry:
                await self._images.clean(plugin_id, [name for service in services for name in list_images(service)])
        except (DockerError, PlugvisorError) as error:
            logger.warning("what %r needs no more is not removed: %s", plugin_id, error)

    async def list_plugins(self) -> set[str]:
        """The ids of the plugins that have configs or secrets."""
        try:
            return await self._objects.list_plugins("configs") | await self._objects.list_plugins("secrets")
        except DockerError as error:
            logger.warning("it is not known what plugins that were removed have left: %s", error)
            return set()

    def list_awaited(self, services: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The plugins whose folders `restore` has still to bring here."""
        return self._restorer.list_awaited(services)

    async def restore(self, services: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Unpack, where it was, the folder of each service whose folder is not on this machine; returns whose.

        So a service that was rescheduled to another manager has its plugins. A folder that is there is not changed,
        and nothing is put outside this service's folders of plugins: another service may have other ones.
        What is missing is found at the first call; later ones try again what could not be had.

        Args:
            services: by plugin id.
        """
        return await self._restorer.restore(services)


def _list_references(service: Mapping[str, Any]) -> Iterable[str]:
    for spec in (service.get("Spec"), service.get("PreviousSpec")):
        container = spec["TaskTemplate"]["ContainerSpec"] if spec else {}
        yield from (reference["ConfigID"] for reference in container.get("Configs") or [])
        yield from (reference["SecretID"] for reference in container.get("Secrets") or [])
