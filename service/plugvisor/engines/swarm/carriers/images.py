"""A folder in an image of its own, which nodes pull from the registry."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.carriers.builder import ImageFailed
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.services import labels
from plugvisor.errors import StartFailed
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.builder import ImageBuilder
    from plugvisor.engines.swarm.carriers.folder import FolderDigest
    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.names import Names

logger = logging.getLogger(__name__)

_DIGEST_CHARACTERS = 16
_MOST_AT_ONCE = 2
_TRUSTED_SECONDS = 60.0
"""Somebody may empty a registry: after this time an image is pushed again, which is quick if it is there."""


class PluginImages:
    """Makes the images of plugins, each once. Every method may raise `SupervisorUnavailable`."""

    def __init__(self, client: DockerClient, builder: ImageBuilder, names: Names, registry: str) -> None:
        self._client = client
        self._names = names
        self._builder = builder
        self._registry = registry
        self._pushed: dict[str, tuple[str, str, float]] = {}
        """By plugin: the image that was pushed last, by tag and by digest, and until when the registry is not asked."""
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)

    async def provide(self, plugin_id: str, directory: Path, folder: FolderDigest, base: str) -> str:
        """Have the registry hold a folder's image; returns its name with its digest.

        If the registry is away, but had the image, its name is returned all the same: nodes may have it.

        Raises:
            StartFailed
        """
        async with self._at_once:
            try:
                tag = await self.name(plugin_id, directory, folder, base)
                pushed = self._pushed.get(plugin_id)
                if pushed is None or pushed[0] != tag or time.monotonic() > pushed[2]:
                    made, image = await self._make(plugin_id, directory, folder, base)
                    pushed = (made, image, time.monotonic() + _TRUSTED_SECONDS)
                    self._pushed[plugin_id] = pushed
            except ImageFailed as error:
                raise StartFailed(str(error)) from error
            except ManifestError as error:
                raise StartFailed(error.problem) from error
        return pushed[1]

    async def name(self, plugin_id: str, directory: Path, folder: FolderDigest, base: str) -> str:
        """The name of a folder's image: another if the folder, its path or the base is another; raises `ImageFailed`.

        It begins with the registry, if there is one.
        """
        base_id = (await self._builder.require(base)).get("Id", base)
        text = "\0".join((plugin_id, str(directory), folder.sha256, base_id))
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        return f"{self._name_repository(plugin_id)}:{digest}"

    async def build(
        self, plugin_id: str, directory: Path, folder: FolderDigest, base: str
    ) -> tuple[str, Mapping[str, Any] | None]:
        """Build a folder's image, unless the Engine has it; returns its name, and what the Engine knew of it before.

        The image of a folder that has changed since it was read has the name of what the folder holds now.

        Raises:
            ImageFailed, ManifestError
        """
        tag = await self.name(plugin_id, directory, folder, base)
        known = await self._builder.inspect(tag)
        if known is None:
            path = str(directory)
            known_by = self._names.label(plugin_id)
            (built,) = await self._builder.build(base, [(directory, path)], tag, known_by, emptied=[path])
            if built.sha256 != folder.sha256:
                named = await self.name(plugin_id, directory, built, base)
                await self._builder.rename(tag, named)
                return named, None
        return tag, known

    async def _make(self, plugin_id: str, directory: Path, folder: FolderDigest, base: str) -> tuple[str, str]:
        """Build and push; returns the image's name with its tag, and with its digest."""
        tag = await self.name(plugin_id, directory, folder, base)
        if await self._builder.inspect(tag) is None:
            # made by another manager: what services refer to remains what the tag means
            await self._builder.try_pull(tag)
        tag, known = await self.build(plugin_id, directory, folder, base)
        repository = tag.rpartition(":")[0]
        try:
            return tag, f"{repository}@{await self._builder.push(tag)}"
        except ImageFailed:
            digests = (known or {}).get("RepoDigests") or []
            before: str | None = next((name for name in digests if name.startswith(f"{repository}@")), None)
            if before is None:
                raise
            logger.warning("%r is started from the image that the registry had before", plugin_id)
            return tag, before

    async def clean(self, plugin_id: str, kept: Collection[str]) -> None:
        """Remove the Engine's copies of a plugin's images, except those of names in `kept`; the registry keeps its."""
        repository = self._name_repository(plugin_id)
        filters = {"label": [f"{labels.ID}={plugin_id}"], "reference": [repository]}
        for image in await self._client.call("GET", "/images/json", query={"filters": filters}) or []:
            if not set(image.get("RepoDigests") or []) & set(kept):
                await self._remove([tag for tag in image.get("RepoTags") or [] if tag.startswith(f"{repository}:")])

    async def _remove(self, tags: list[str]) -> None:
        for tag in tags:
            try:
                await self._client.call("DELETE", f"/images/{tag}")
            except DockerError as error:  # a container uses it
                logger.debug("an image is not removed: %s", error)

    def _name_repository(self, plugin_id: str) -> str:
        name = self._names.name_repository(plugin_id)
        return f"{self._registry}/{name}" if self._registry else name


def list_images(services: Mapping[str, Any]) -> list[str]:
    """The images that a service's specs name."""
    specs = (services.get("Spec"), services.get("PreviousSpec"))
    return [spec["TaskTemplate"]["ContainerSpec"]["Image"] for spec in specs if spec]
