"""Puts a folder that has come from the swarm into its place.

The install folder belongs to the plugins' user, in which root itself may have no right to write, and should follow
none of its links: with two users a process of that user does it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from plugvisor.engines.swarm.carriers.versions import write_record
from plugvisor.engines.swarm.inside.unpack import UnpackError, unpack_folder
from plugvisor.layout import is_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.users import User

_SECONDS = 120.0


async def place_folder(
    plugin_id: str,
    directory: Path,
    archive: IO[bytes],
    *,
    prefix: str = "",
    labels: Mapping[str, str],
    user: User | None = None,
) -> None:
    """Unpack an archive where the folder was on another machine, and have a version be the current one.

    Args:
        archive: a file, read from its present position.
        prefix: what every name in it begins with.
        labels: of the plugin's secret, which describe the version.
        user: the plugins' user; None: this process's.

    Raises:
        OSError, UnpackError
    """
    if user is None:
        await asyncio.to_thread(_place, plugin_id, directory, archive, prefix, labels)
        return
    descriptor = archive.fileno()
    os.lseek(descriptor, archive.tell(), os.SEEK_SET)  # the process shares it
    arguments = json.dumps([plugin_id, str(directory), prefix, dict(labels)])
    process = await asyncio.to_thread(  # uvloop cannot start one as another user
        subprocess.Popen[bytes],
        [sys.executable, "-P", "-m", "plugvisor.engines.swarm.carriers.placing", arguments],
        stdin=descriptor,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath},
        cwd="/",
        user=user.uid,
        group=user.gid,
        extra_groups=[],
    )
    try:
        _, error = await asyncio.to_thread(process.communicate, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise UnpackError("it takes too long") from None
    finally:
        process.kill()  # does nothing if it has ended
        await asyncio.to_thread(process.wait)
    if process.returncode:
        last = error.decode(errors="replace").strip().rpartition("\n")[2]
        raise UnpackError(last or f"exit code {process.returncode}")


def _place(plugin_id: str, directory: Path, archive: IO[bytes], prefix: str, labels: Mapping[str, str]) -> None:
    unpack_folder(archive, str(directory), replace=False, prefix=prefix)
    if is_version(str(directory)):
        write_record(plugin_id, directory, labels)


def main() -> None:
    """Do it as the user of this process, with the archive as standard input."""
    plugin_id, directory, prefix, labels = json.loads(sys.argv[1])
    try:
        _place(plugin_id, Path(directory), sys.stdin.buffer, prefix, labels)
    except (OSError, UnpackError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
