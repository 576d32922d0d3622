"""One image that holds the folders of all plugins."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.carriers.base_image import CONTENTS_FILE
from plugvisor.engines.swarm.carriers.builder import ImageFailed
from plugvisor.engines.swarm.carriers.folder import find_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.builder import ImageBuilder

DEFAULT_PLUGINS_DIR = "/plugins"
_VARIABLE = "PLUGVISOR_PLUGINS_DIR="


async def build_common_image(builder: ImageBuilder, base: str, folders: Sequence[Path], tag: str) -> str:
    """Build an image whose plugins folder holds these folders and no others; returns the path of that.

    Raises:
        ImageFailed, ManifestError
        SupervisorUnavailable
    """
    plugins_dir = _find_plugins_dir(await builder.require(base))
    digests = [await asyncio.to_thread(find_digest, folder) for folder in folders]
    contents = {
        "image": tag,
        "folders": {folder.name: digest.sha256 for folder, digest in zip(folders, digests, strict=True)},
    }
    placed = [(folder, f"{plugins_dir}/{folder.name}") for folder in folders]
    files = {f"{plugins_dir}/{CONTENTS_FILE}": json.dumps(contents, sort_keys=True).encode()}
    built = await builder.build(base, placed, tag, {}, emptied=[plugins_dir], files=files)
    if built != digests:
        raise ImageFailed("a folder has changed while it was read; build the image again")
    return plugins_dir


def _find_plugins_dir(image: Mapping[str, Any]) -> str:
    """The plugins folder of Plugvisor in an image."""
    variables = (image.get("Config") or {}).get("Env") or []
    paths = [variable.removeprefix(_VARIABLE) for variable in variables if variable.startswith(_VARIABLE)]
    path = paths[-1].rstrip("/") if paths else ""
    return path if path.startswith("/") else DEFAULT_PLUGINS_DIR
