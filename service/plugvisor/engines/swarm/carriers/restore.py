"""Brings folders of plugins from the swarm onto this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from plugvisor.engines.swarm.carriers.configs import find_parts, join_parts
from plugvisor.engines.swarm.carriers.placing import place_folder
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.inside.unpack import UnpackError
from plugvisor.engines.swarm.services import labels
from plugvisor.errors import PlugvisorError, StartFailed, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plugvisor.engines.swarm.carriers.builder import ImageBuilder
    from plugvisor.engines.swarm.carriers.objects import SwarmObjects
    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.users import User

logger = logging.getLogger(__name__)

_SILENCE_SECONDS = 30.0


class FolderRestorer:
    """See `Carrier.restore`."""

    def __init__(
        self,
        client: DockerClient,
        objects: SwarmObjects,
        builder: ImageBuilder,
        roots: Iterable[Path],
        user: User | None = None,
    ) -> None:
        self._client = client
        self._objects = objects
        self._builder = builder
        self._roots = tuple(roots)
        self._user = user
        self._turn = asyncio.Lock()
        self._awaited: set[str] | None = None
        """The plugins whose folders are to be brought here; None before the first look."""
        self._problems: dict[str, str] = {}
        """Why each of them could not be: that is logged once."""

    def list_awaited(self, services: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """See `Carrier.list_awaited`."""
        return [name for name in services if self._awaited is None or name in self._awaited]

    async def restore(self, services: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Restore what is missing; what cannot be restored is logged, and tried again by the next call."""
        async with self._turn:
            awaited = self._awaited = {*services} if self._awaited is None else self._awaited & services.keys()
            return [plugin_id for plugin_id in sorted(awaited) if await self._try(plugin_id, services[plugin_id])]

    async def _try(self, plugin_id: str, service: Mapping[str, Any]) -> bool:
        """Restore one folder if it is missing; returns whether it was."""
        awaited = self._awaited or set()
        known = service["Spec"].get("Labels") or {}
        path = known.get(labels.FOLDER, "")
        if not os.path.isabs(path) or await asyncio.to_thread(os.path.lexists, path):
            awaited.discard(plugin_id)
            return False
        if not self._is_inside(path):
            logger.warning("the folder of %r is not brought here: %s is in no folder of plugins", plugin_id, path)
            awaited.discard(plugin_id)
            return False
        try:
            await self._restore(plugin_id, Path(path), known.get(labels.CARRIER, ""), service)
        except SupervisorUnavailable:
            raise
        except (DockerError, PlugvisorError, UnpackError, OSError) as error:
            if self._problems.get(plugin_id) != str(error):
                logger.error("the folder of %r cannot be brought here: %s", plugin_id, error)
            self._problems[plugin_id] = str(error)
            return False
        except Exception as error:  # one odd service must not keep this one from starting
            if self._problems.get(plugin_id) != repr(error):
                logger.exception("the folder of %r cannot be brought here", plugin_id)
            self._problems[plugin_id] = repr(error)
            return False
        logger.info("the folder of a plugin that runs was brought here: %s", path)
        awaited.discard(plugin_id)
        self._problems.pop(plugin_id, None)
        return True

    def _is_inside(self, path: str) -> bool:
        """Whether a path lies in a folder of plugins."""
        return any(Path(os.path.normpath(path)).is_relative_to(root) for root in self._roots)

    async def _restore(self, plugin_id: str, directory: Path, carrier: str, service: Mapping[str, Any]) -> None:
        way, _, what = carrier.partition(":")
        container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
        parts = None
        if way == "configs":
            parts = await find_parts(self._objects, plugin_id, what)
            if parts is None:
                raise StartFailed("its configs are gone")
        secret: Mapping[str, Any] = next(iter(container.get("Secrets") or []), {})
        known = await self._read_labels(plugin_id, secret.get("SecretID", ""))
        with tempfile.TemporaryFile() as archive:
            if parts:
                await asyncio.to_thread(archive.write, join_parts(parts))
            else:
                await self._download_from_image(container["Image"], directory, archive)
            archive.seek(0)
            prefix = "" if parts else directory.name
            await place_folder(plugin_id, directory, archive, prefix=prefix, labels=known, user=self._user)

    async def _download_from_image(self, image: str, directory: Path, archive: IO[bytes]) -> None:
        await self._builder.require(image)
        body = {"Image": image, "Entrypoint": ["/nothing"], "HostConfig": {"NetworkMode": "none"}}
        container = (await self._client.call("POST", "/containers/create", body=body))["Id"]
        try:
            await self._download(container, directory, archive)
        finally:
            await self._client.call("DELETE", f"/containers/{container}", query={"force": "true", "v": "true"})

    async def _download(self, container: str, directory: Path, archive: IO[bytes]) -> None:
        path = f"/containers/{container}/archive"
        async with self._client.stream(
            "GET", path, query={"path": str(directory)}, silence_seconds=_SILENCE_SECONDS
        ) as chunks:
            async for chunk in chunks:
                await asyncio.to_thread(archive.write, chunk)

    async def _read_labels(self, plugin_id: str, secret_id: str) -> Mapping[str, str]:
        for secret in await self._objects.list("secrets", plugin_id):
            if secret["ID"] == secret_id:
                found: Mapping[str, str] = secret["Spec"].get("Labels") or {}
                return found
        return {}
