"""A folder in configs of the swarm: every node gets them with the task, without a registry."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.carriers.folder import write_archive
from plugvisor.engines.swarm.inside.launch import FOLDER_FILE
from plugvisor.errors import StartFailed
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.folder import FolderDigest
    from plugvisor.engines.swarm.carriers.objects import SwarmObjects

LARGEST_BYTES = 900_000
"""Of a folder when it is compressed."""
PART_BYTES = 450_000
"""Some Engines accept 500 KiB at most, others 1,000."""
PARTS = "plugvisor.parts"
"""Label of the first part: how many there are."""
_TOO_LARGE = (
    f"its folder is larger than {LARGEST_BYTES // 1000} KB when it is compressed, its environment included: more "
    "cannot be brought to other nodes without a registry; set PLUGVISOR_REGISTRY, or put it into the image "
    "(`plugvisor image build --all`)"
)
_MOST_REMEMBERED = 4096
_judged: dict[str, bool] = {}
"""Whether the folder of a digest fits."""


class _Bounded(io.BytesIO):
    """Raises `_TooLarge` when it gets more than configs hold; what comes at the end of a `GzipFile` is dropped then."""

    _is_full = False

    def write(self, data: Any) -> int:
        if self._is_full:
            return len(data)
        written = super().write(data)
        if self.tell() > LARGEST_BYTES:
            self._is_full = True
            raise _TooLarge
        return written


class _TooLarge(Exception):
    """A folder is too large for configs."""


def check_fits(directory: Path, folder: FolderDigest) -> None:
    """Raise `ManifestError` if a folder is too large to travel without a registry. Blocks."""
    if folder.sha256 not in _judged:
        try:
            compress(directory)
        except _TooLarge:
            fits = False
        else:
            fits = True
        if len(_judged) > _MOST_REMEMBERED:
            _judged.clear()
        _judged[folder.sha256] = fits
    if not _judged[folder.sha256]:
        raise ManifestError(_TOO_LARGE)


def compress(directory: Path) -> tuple[bytes, FolderDigest]:
    """A folder as a `.tar.gz`, and the digest of what is in it. Blocks.

    Raises:
        ManifestError: something in it cannot travel.
    """
    output = _Bounded()
    with gzip.GzipFile("", "wb", fileobj=output, mtime=0) as file:
        digest = write_archive(directory, file)  # type: ignore[arg-type]
    return output.getvalue(), digest


async def carry(
    objects: SwarmObjects, plugin_id: str, directory: Path, folder: FolderDigest
) -> tuple[str, list[Mapping[str, Any]]]:
    """Bring a folder into configs; returns the digest of what they hold, and the references of a service to them.

    Raises:
        StartFailed: it cannot travel, or is too large.
        SupervisorUnavailable, DockerError
    """
    content = folder.sha256
    parts = await find_parts(objects, plugin_id, content)
    if parts is None:
        try:
            data, written = await asyncio.to_thread(compress, directory)
        except _TooLarge:
            raise StartFailed(_TOO_LARGE) from None
        except ManifestError as error:
            raise StartFailed(error.problem) from error
        content = written.sha256  # it may have changed since it was rendered: what runs is what is there now
        count = -(-len(data) // PART_BYTES)
        parts = []
        for number in reversed(range(count)):  # the first last: with it, all are there
            name = objects.names.name_object(plugin_id, content, number)
            piece = data[number * PART_BYTES : (number + 1) * PART_BYTES]
            part = await objects.ensure("configs", plugin_id, content, name, data=piece, extra={PARTS: str(count)})
            parts.insert(0, {"ID": part, "Spec": {"Name": name}})
    return content, [_refer(part, number) for number, part in enumerate(parts)]


async def find_parts(objects: SwarmObjects, plugin_id: str, content: str) -> list[Mapping[str, Any]] | None:
    """The configs that hold the folder of a digest, in their order; None if they are not all there.

    Raises:
        StartFailed: one of them belongs to somebody else.
        SupervisorUnavailable, DockerError
    """
    first = await objects.find("configs", plugin_id, content, [objects.names.name_object(plugin_id, content, 0)])
    if not first:
        return None
    count = int(first[0]["Spec"]["Labels"].get(PARTS, "1"))
    names = [objects.names.name_object(plugin_id, content, number) for number in range(1, count)]
    parts = [*first, *(await objects.find("configs", plugin_id, content, names) if names else [])]
    return parts if len(parts) == count else None


def join_parts(parts: list[Mapping[str, Any]]) -> bytes:
    """The archive that configs hold."""
    return b"".join(base64.b64decode(part["Spec"]["Data"]) for part in parts)


def _refer(part: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    return {
        "ConfigID": part["ID"],
        "ConfigName": part["Spec"]["Name"],
        "File": {"Name": f"{FOLDER_FILE}{number}", "UID": "0", "GID": "0", "Mode": 0o444},
    }
