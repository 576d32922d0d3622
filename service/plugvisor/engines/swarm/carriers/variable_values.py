"""The values of variables that a manifest has in files: read here at each start, and carried in its secret."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.inside.launch import LARGEST_BYTES, Launch
from plugvisor.errors import StartFailed
from plugvisor.variable_files import (
    PROGRAM,
    READ_SECONDS,
    VariableFileError,
    pack_files,
    parse_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.users import User

_GRACE_SECONDS = 2.0
"""How much longer than it should take the program that reads may take."""


async def complete_secret(secret: bytes, files: Mapping[str, str], user: User | None) -> bytes:
    """The launch that a secret holds, with the values of its variables that are in files.

    Args:
        files: absolute paths by the variables' names.
        user: whom to read them as; None for this process's user.

    Raises:
        StartFailed
    """
    if not files:
        return secret
    try:
        values = await asyncio.to_thread(_read_values, files, user)
    except VariableFileError as error:
        raise StartFailed(str(error)) from error
    launch = Launch(**json.loads(secret))
    decoded = {name: value.decode("utf-8", "surrogateescape") for name, value in values.items()}
    complete = launch._replace(environment=launch.environment | decoded).render()
    if len(complete) >= LARGEST_BYTES:
        raise StartFailed("its command and environment are larger than 500 KiB, which a swarm cannot carry")
    return complete


def _read_values(files: Mapping[str, str], user: User | None) -> dict[str, bytes]:
    """Read them in a process of the plugins' user, for a manifest can name any file.

    Raises:
        VariableFileError
    """
    names = list(files)
    credentials: dict[str, Any] = {}
    if user is not None:
        groups = os.getgrouplist(user.name, user.gid)
        credentials = {"user": user.uid, "group": user.gid, "extra_groups": groups}
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", PROGRAM, "values"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
            **credentials,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise VariableFileError(names[0]) from error
    try:
        output, _ = process.communicate(pack_files(files), READ_SECONDS + _GRACE_SECONDS)
    except subprocess.TimeoutExpired:  # it waits for a disk that does not answer, and perhaps even then
        with contextlib.suppress(OSError):
            process.kill()
        raise VariableFileError(names[0]) from None
    return parse_values(output, names)
