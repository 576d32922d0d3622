"""Packages that plugins require: wheels and source trees made on the spot, so that no network is needed."""

from __future__ import annotations

import base64
import hashlib
import io
import textwrap
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BACKEND = """\
import os, subprocess, sys, time
from pathlib import Path

def build_wheel(folder, settings=None, metadata=None):
{code}
    raise SystemExit("no wheel")

def get_requires_for_build_wheel(settings=None):
    return []
"""


def make_wheel(
    name: str, version: str, files: Mapping[str, bytes] | None = None, *, entry_points: str = "", requires: str = ""
) -> bytes:
    """A wheel whose module, `<name>.py`, has the version as `VERSION`, unless `files` says otherwise."""
    info = f"{name}-{version}.dist-info"
    contents = dict(files or {f"{name}.py": f"VERSION = '{version}'\ndef main(): print(VERSION)\n".encode()})
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents[f"{info}/METADATA"] = f"{metadata}Requires-Dist: {requires}\n".encode() if requires else metadata.encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entry_points}\n".encode()
    rows = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return output.getvalue()


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes] | None = None, **more: str) -> Path:
    """Write a wheel into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    wheel.write_bytes(make_wheel(name, version, files, **more))
    return wheel


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Install a wheel that has nothing but modules."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def make_source(code: str, prefix: str = "") -> dict[str, str]:
    """The files of a source tree whose build runs some code, and then fails."""
    project = (
        '[project]\nname = "built"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    backend = BACKEND.format(code=textwrap.indent(textwrap.dedent(code), "    "))
    return {f"{prefix}backend.py": backend, f"{prefix}pyproject.toml": project}


def write_source(folder: Path, code: str) -> None:
    """Write a source tree whose build runs some code, and then fails."""
    folder.mkdir(parents=True)
    for name, text in make_source(code).items():
        folder.joinpath(name).write_text(text)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
