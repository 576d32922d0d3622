"""Builds images that hold folders of plugins, by the Docker Engine, and pushes them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import tarfile
import tempfile
import time
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any

import msgspec

from plugvisor.engines.swarm.carriers.folder import add_folder
from plugvisor.engines.swarm.carriers.registry_auth import read_registry_auth
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.errors import ConfigurationError, PlugvisorError, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.folder import FolderDigest
    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.swarm_settings import SwarmSettings

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 20.0
"""How long a registry may say nothing; a slow disk of a registry or a node is silent for some seconds too."""
_SEE_LOG = "; the log says why"
_MOST_RETRIES = 2
"""Of the Engine, which waits longer before each."""
_MEMORY_BYTES = 8 << 20
"""A larger build context is written to a file."""
_PIECE_BYTES = 256 * 1024
_LONGEST_LINE_BYTES = 1 << 20
_ROOT = "root"
"""The folder of a build context whose contents get into the image, each at its absolute path."""


class ImageFailed(PlugvisorError):
    """An image cannot be built, or the registry does not take it; the sentence is for a client."""


class ImageBuilder:
    """Every method may raise `SupervisorUnavailable`."""

    def __init__(self, client: DockerClient, settings: SwarmSettings, build_seconds: float) -> None:
        self._client = client
        self._settings = settings
        self._build_seconds = build_seconds
        self._silent_until: dict[str, float] = {}  # by registry

    async def inspect(self, image: str) -> Mapping[str, Any] | None:
        """The Engine's description of an image; None if it does not have it."""
        try:
            found: Mapping[str, Any] = await self._client.call("GET", f"/images/{image}/json")
        except DockerError as error:
            if error.status == 404:
                return None
            raise ImageFailed("the Docker Engine does not describe an image; the log says why") from error
        return found

    async def require(self, image: str) -> Mapping[str, Any]:
        """The Engine's description of an image, which is pulled if it does not have it; raises `ImageFailed`."""
        if (found := await self.inspect(image)) is None:
            await self.pull(image)
            found = await self.inspect(image)
        if found is None:
            raise ImageFailed(f"the image {image} cannot be had: name another as PLUGVISOR_IMAGE")
        return found

    async def pull(self, image: str) -> None:
        """Pull an image; raises `ImageFailed`."""
        async with self._failing(f"the image {image} cannot be had: name another as PLUGVISOR_IMAGE"):
            await self._ask_registry(image, self._pull(image))

    async def try_pull(self, image: str) -> None:
        """Pull an image of the registry if that has it."""
        with contextlib.suppress(DockerError, TimeoutError, ConfigurationError):
            await self._ask_registry(image, self._pull(image))

    async def _pull(self, image: str) -> Mapping[str, Any]:
        query = {"fromImage": image} if "@" in image or ":" in image.rpartition("/")[2] else _latest(image)
        headers = await asyncio.to_thread(read_registry_auth, self._settings, image)
        return await self._run("POST", "/images/create", query, headers, None, silence_seconds=SILENCE_SECONDS)

    async def _ask_registry(self, image: str, call: Coroutine[Any, Any, Mapping[str, Any]]) -> Mapping[str, Any]:
        """Make a call that an image's registry must answer; for a moment after one that it has not, fail at once.

        Else each of many plugins would wait for it, one after the other.
        """
        registry = image.partition("/")[0]
        if time.monotonic() < self._silent_until.get(registry, 0.0):
            call.close()
            raise TimeoutError
        try:
            return await call
        except TimeoutError:
            self._silent_until[registry] = time.monotonic() + SILENCE_SECONDS
            raise

    async def build(
        self,
        base: str,
        folders: Sequence[tuple[Path, str]],
        tag: str,
        image_labels: Mapping[str, str],
        *,
        emptied: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
    ) -> list[FolderDigest]:
        """Build an image of a base and folders.

        Args:
            folders: each with its absolute path in the image.
            emptied: paths at which the image has nothing else.
            files: texts of further files, by their absolute paths.

        Returns:
            what each folder holds.

        Raises:
            ImageFailed, ManifestError
        """
        dockerfile = _write_dockerfile(base, image_labels, emptied)
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as context:
            digests = await asyncio.to_thread(_write_context, context, dockerfile, folders, files or {})
            async with self._failing(f"the image with its folder cannot be built{_SEE_LOG}"):
                query = {"version": "1", "t": tag, "q": "1", "rm": "1", "forcerm": "1", "networkmode": "none"}
                headers = {"Content-Type": "application/x-tar"}
                await self._run(
                    "POST", "/build", query, headers, _read_pieces(context), silence_seconds=self._build_seconds
                )
        return digests

    async def rename(self, image: str, new: str) -> None:
        """Give an image another name with a tag, in the place of the one that it has; raises `ImageFailed`."""
        repository, _, tag = new.rpartition(":")
        async with self._failing(f"an image cannot be named{_SEE_LOG}"):
            await self._client.call("POST", f"/images/{image}/tag", query={"repo": repository, "tag": tag})
            await self._client.call("DELETE", f"/images/{image}")

    async def push(self, image: str) -> str:
        """Push an image that has a tag; returns its digest, `sha256:…`; raises `ImageFailed`."""
        name, _, tag = image.rpartition(":")
        async with self._failing(
            f"the registry cannot be reached, or does not take the image with its folder{_SEE_LOG}"
        ):
            headers = await asyncio.to_thread(read_registry_auth, self._settings, image)
            path = f"/images/{name}/push"
            pushing = self._run("POST", path, {"tag": tag}, headers, None, silence_seconds=SILENCE_SECONDS)
            answer = await self._ask_registry(image, pushing)
            digest = answer.get("Digest")
            if not isinstance(digest, str) or not digest.startswith("sha256:"):
                raise DockerError(200, "the Engine does not name the digest of what it has pushed")
        return digest

    async def _run(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | None,
        *,
        silence_seconds: float,
    ) -> Mapping[str, Any]:
        """Make a call that reports its progress; returns the last result in it.

        The time is bounded here and not by the client: that a registry is silent is not the manager's failure.

        Raises:
            DockerError: it has failed.
            TimeoutError
        """
        loop = asyncio.get_running_loop()
        result: Mapping[str, Any] = {}
        retries = 0
        async with (
            asyncio.timeout(self._build_seconds),
            asyncio.timeout(silence_seconds) as silence,
            self._client.stream(
                method, path, query=query, content=content, headers=headers, timeout_seconds=2 * self._build_seconds
            ) as chunks,
        ):
            async for line in _read_lines(chunks):
                silence.reschedule(loop.time() + silence_seconds)
                if "error" in line:
                    raise DockerError(200, str(line["error"]))
                retries += str(line.get("status", "")).startswith("Retrying in 1 second")
                if retries > _MOST_RETRIES:
                    raise DockerError(200, "the registry fails again and again")
                if isinstance(line.get("aux"), dict):
                    result = line["aux"]
        return result

    @asynccontextmanager
    async def _failing(self, sentence: str) -> AsyncIterator[None]:
        what = sentence.removesuffix(_SEE_LOG)
        try:
            yield
        except DockerError as error:
            logger.error("%s: %s", what, error)
            if "unauthorized" in str(error) or "no basic auth credentials" in str(error):
                sentence = "the registry does not accept the credentials of PLUGVISOR_REGISTRY_AUTH_FILE"
            raise ImageFailed(sentence) from error
        except TimeoutError as error:
            logger.error("%s: it has taken too long", what)
            raise ImageFailed(sentence) from error
        except ConfigurationError as error:
            raise ImageFailed(str(error)) from error


def _latest(image: str) -> dict[str, str]:
    return {"fromImage": image, "tag": "latest"}


def _write_dockerfile(base: str, image_labels: Mapping[str, str], emptied: Sequence[str]) -> bytes:
    """The Dockerfile; what changes from build to build is last, so that the rest is cached."""
    lines = [f"FROM {base}"]
    if emptied:
        lines.append(f"RUN {json.dumps(['/bin/rm', '-rf', *emptied])}")
    lines += [f"LABEL {name}={json.dumps(value)}" for name, value in image_labels.items()]
    return "\n".join([*lines, f"COPY {_ROOT} /", ""]).encode()


def _write_context(
    output: IO[bytes], dockerfile: bytes, folders: Sequence[tuple[Path, str]], files: Mapping[str, bytes]
) -> list[FolderDigest]:
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in {"Dockerfile": dockerfile, **{_ROOT + path: text for path, text in files.items()}}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        digests = [add_folder(archive, directory, _ROOT + path) for directory, path in folders]
    output.seek(0)
    return digests


async def _read_pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece


async def _read_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[Mapping[str, Any]]:
    """The JSON objects of a stream, one a line; what is none is left out."""
    buffered = b""
    async for chunk in chunks:
        buffered += chunk
        *lines, buffered = buffered.split(b"\n")
        if len(buffered) > _LONGEST_LINE_BYTES:
            raise SupervisorUnavailable("the Docker Engine's answer is not understood")
        for line in [*lines]:
            if (value := _parse(line)) is not None:
                yield value
    if (value := _parse(buffered)) is not None:
        yield value


def _parse(line: bytes) -> Mapping[str, Any] | None:
    try:
        value = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None
