"""The image that plugins run in, or that theirs are made from."""

from __future__ import annotations

import asyncio
import json
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.errors import StartFailed

if TYPE_CHECKING:
    from plugvisor.engines.swarm.carriers.folder import FolderDigest
    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.settings import Settings

CONTENTS_FILE = ".plugvisor-image.json"
"""In the plugins folder of an image: which image it is, and the digests of the plugins' folders in it, by name."""
MOUNTS = Path("/proc/self/mountinfo")
_LARGEST_BYTES = 4 << 20
_CONTAINER = re.compile(r"/containers/([0-9a-f]{64})/")
_SERVICE = "com.docker.swarm.service.id"
_NOT_SET = "PLUGVISOR_IMAGE is not set, and this service does not run in a container of the swarm: set it"


class BaseImage:
    """The one of the settings, or else the one that this service runs in."""

    def __init__(self, client: DockerClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._own = ""

    async def find(self) -> str:
        """Its name, as nodes can have it.

        Raises:
            StartFailed: none is set, and this service runs in none.
            SupervisorUnavailable
        """
        if self._settings.swarm.image:
            return self._settings.swarm.image
        if not self._own:
            self._own = await self._find_own()
        return self._own

    async def _find_own(self) -> str:
        try:
            container = await self._client.call("GET", f"/containers/{await asyncio.to_thread(_find_container)}/json")
            config = container["Config"]
            service_id = (config.get("Labels") or {}).get(_SERVICE)
            if service_id:
                service = await self._client.call("GET", f"/services/{service_id}")
                return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
            return str(config["Image"])
        except DockerError as error:
            if error.status != 404:
                raise
            raise StartFailed(_NOT_SET) from error

    def holds(self, directory: Path, folder: FolderDigest) -> bool:
        """Whether the image holds this very folder at its path already. Blocks.

        What it holds is in a file in the plugins folder, which this service reads in its own image; if plugins run in
        an image of another name, that does not count.
        """
        if directory.parent != self._settings.plugins_dir:
            return False
        contents = read_contents(self._settings.plugins_dir)
        image, _, _ = self._settings.swarm.image.partition("@")
        if image and contents.get("image") != image:
            return False
        folders = contents.get("folders")
        return isinstance(folders, dict) and folders.get(directory.name) == folder.sha256


def read_contents(plugins_dir: Path) -> dict[str, Any]:
    """The record of an image's contents; empty if it was not made by `plugvisor image build --all`."""
    try:
        with (plugins_dir / CONTENTS_FILE).open("rb") as file:
            contents = json.loads(file.read(_LARGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _find_container() -> str:
    """The id of the container that this process runs in, as its mounts show it; else the host's name."""
    try:
        mounts = MOUNTS.read_text(errors="replace")
    except OSError:
        mounts = ""
    found = _CONTAINER.search(mounts)
    return found[1] if found else platform.node()
