"""`plugvisor image build`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.output import make_printable
from plugvisor.engines.swarm.carriers.base_image import BaseImage
from plugvisor.engines.swarm.carriers.builder import ImageBuilder, ImageFailed
from plugvisor.engines.swarm.carriers.common_image import build_common_image
from plugvisor.engines.swarm.carriers.folder import find_digest
from plugvisor.engines.swarm.carriers.images import PluginImages
from plugvisor.engines.swarm.docker.client import DockerClient, DockerError
from plugvisor.engines.swarm.services.names import Names
from plugvisor.errors import CommandRejected, ConfigurationError, StartFailed, SupervisorUnavailable
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.catalog import load_catalog
from plugvisor.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from plugvisor.plugins.catalog import Catalog, Plugin

_TAG = re.compile(r"[a-z0-9](?:[a-z0-9._/-]|:[0-9]+/)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?")


def run_build(arguments: argparse.Namespace) -> int:
    """Build images that hold plugins."""
    if arguments.all != bool(arguments.tag):
        raise ConfigurationError("`--all` needs `--tag`, the name of the image, and `--tag` needs `--all`")
    settings = Settings.from_env({**os.environ, "PLUGVISOR_ENGINE": "swarm"})  # only that reads where the Engine is
    if arguments.all:
        arguments.tag = _check_tag(arguments.tag)
        if len(arguments.names) > 1:
            raise ConfigurationError("`--all` takes one folder: that of all plugins")
        folder = Path(arguments.names[0]).absolute() if arguments.names else settings.plugins_dir
        return asyncio.run(_build_common(settings, folder, arguments))
    if arguments.push and not settings.swarm.registry:
        raise ConfigurationError("cannot push without PLUGVISOR_REGISTRY: set it, such as to localhost:5000")
    return asyncio.run(_build_each(settings, arguments))


def _check_tag(tag: str) -> str:
    """The whole name of an image; raises `ConfigurationError`."""
    if not _TAG.fullmatch(tag):
        raise ConfigurationError(f"cannot use --tag {tag!r}: it must look like registry.example.com/plugvisor:1.0")
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


async def _build_common(settings: Settings, folder: Path, arguments: argparse.Namespace) -> int:
    plugins = _choose(_load(folder, None), ())
    started = time.monotonic()
    async with _connect(settings) as (client, builder):
        base = await BaseImage(client, settings).find()
        folders = [plugin.folder for plugin in plugins if plugin.folder is not None]
        await build_common_image(builder, base, folders, arguments.tag)
        digest = await builder.push(arguments.tag) if arguments.push else await _find_id(builder, arguments.tag)
    _print(arguments, f"{len(plugins)} plugins", arguments.tag, digest, time.monotonic() - started)
    return 0


async def _build_each(settings: Settings, arguments: argparse.Namespace) -> int:
    plugins = _choose(_load(settings.plugins_dir, settings.install_dir), arguments.names)
    async with _connect(settings) as (client, builder):
        base = await BaseImage(client, settings).find()
        images = PluginImages(client, builder, Names(settings.swarm.name), settings.swarm.registry)
        for plugin in plugins:
            if plugin.directory is None:
                continue
            started = time.monotonic()
            try:
                digest = await asyncio.to_thread(find_digest, plugin.directory)
                tag, _ = await images.build(plugin.id, plugin.directory, digest, base)
            except ManifestError as error:
                raise CommandRejected(f"{plugin.id}: {error.problem}", 1) from error
            built = await builder.push(tag) if arguments.push else await _find_id(builder, tag)
            _print(arguments, plugin.id, tag, built, time.monotonic() - started)
    return 0


@asynccontextmanager
async def _connect(settings: Settings) -> AsyncIterator[tuple[DockerClient, ImageBuilder]]:
    client = DockerClient(settings.swarm)
    try:
        yield client, ImageBuilder(client, settings.swarm, settings.build_seconds)
    except (DockerError, ImageFailed, StartFailed, SupervisorUnavailable) as error:
        raise CommandRejected(make_printable(str(error)), 1) from error
    finally:
        await client.close()


async def _find_id(builder: ImageBuilder, image: str) -> str:
    found = await builder.inspect(image)
    return str(found["Id"]) if found else ""


def _load(plugins_dir: Path, install_dir: Path | None) -> Catalog:
    try:
        # which programs there are in the image is not known here
        return load_catalog(plugins_dir, {}, lambda manifest, _directory: manifest.id, None, install_dir)
    except OSError as error:
        raise ConfigurationError(f"cannot read the folder {str(error.filename)!r}: {error.strerror}") from error


def _choose(catalog: Catalog, plugin_ids: tuple[str, ...] | list[str]) -> list[Plugin]:
    """Plugins by their ids, or all; raises `CommandRejected` if one cannot be used."""
    for plugin_id in plugin_ids:
        if plugin_id not in catalog:
            raise CommandRejected(f"there is no plugin {make_printable(repr(plugin_id))}", 1)
    plugins = [catalog[plugin_id] for plugin_id in plugin_ids] if plugin_ids else list(catalog.values())
    for plugin in plugins:
        if plugin.problem:
            raise CommandRejected(f"{plugin.name_of_folder}: {make_printable(plugin.problem)}", 1)
    if not plugins:
        raise CommandRejected("there are no plugins", 1)
    return plugins


def _print(arguments: argparse.Namespace, what: str, image: str, digest: str, seconds: float) -> None:
    if arguments.json:
        print(json.dumps({"image": image, "digest": digest, "seconds": round(seconds, 3)}))
    else:
        print(f"{what}: {image} {digest} in {seconds:.1f} s", flush=True)
