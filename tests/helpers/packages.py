"""Packages: archives that hold a plugin, in memory."""

from __future__ import annotations

import contextlib
import gzip
import io
import socket
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tests.helpers.plugin_code import OBEDIENT

Kind = Literal["zip", "tar.gz"]


@dataclass(frozen=True)
class Link:
    """A symbolic link, as the content of a file."""

    target: str


@dataclass(frozen=True)
class File:
    """A file's content with its mode."""

    data: str | bytes
    mode: int = 0o644


Files = Mapping[str, "str | bytes | File | Link"]
"""What is in a package, by path; a path that ends in `/` is a folder, whatever its content."""


def make_package(files: Files, kind: Kind = "zip", *, top: str = "") -> bytes:
    """An archive of these files, in this order, the same each time; `top` is a folder around all of them."""
    prefix = f"{top}/" if top else ""
    contents = [(prefix + name, content) for name, content in files.items()]
    return make_zip(contents) if kind == "zip" else make_tar(contents)


def make_plugin_package(
    plugin_id: str,
    code: str = OBEDIENT,
    *,
    version: str = "1.0.0",
    runtime: str = "",
    kind: Kind = "zip",
    top: str = "",
    files: Files | None = None,
) -> bytes:
    """A package of a plugin that runs `code`, with more files.

    `runtime` is more TOML, which begins inside `[plugin_runtime]`.
    """
    manifest = (
        f'[plugin]\nid = "{plugin_id}"\nversion = "{version}"\ncommand = ["python", "main.py"]\n'
        f"[plugin_runtime]\n{runtime}\n"
    )
    return make_package({"plugin.toml": manifest, "main.py": code} | dict(files or {}), kind, top=top)


@contextlib.contextmanager
def make_endless_package(plugin_id: str) -> Iterator[bytes]:
    """A package whose environment is not ready before it is given up: the index that it names never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        requirements = f"--index-url http://127.0.0.1:{silent.getsockname()[1]}/simple\nnothing-answers==1\n"
        runtime = "auto_start = false"
        yield make_plugin_package(plugin_id, runtime=runtime, files={"requirements.txt": requirements})


def make_zip(contents: list[tuple[str, str | bytes | File | Link]]) -> bytes:
    """A zip, in which a name may stand twice."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents:
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3  # Unix: its modes count
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _mode(name, content) << 16
            archive.writestr(entry, _data(content))
    return output.getvalue()


def make_tar(contents: list[tuple[str, str | bytes | File | Link]]) -> bytes:
    """A compressed tar, in which a name may stand twice."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in contents:
            entry = tarfile.TarInfo(name)
            mode = _mode(name, content)
            entry.mode = stat.S_IMODE(mode)
            if isinstance(content, Link):
                entry.type, entry.linkname = tarfile.SYMTYPE, content.target
                archive.addfile(entry)
            elif stat.S_ISDIR(mode):
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                data = _data(content)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(output.getvalue(), compresslevel=6, mtime=0)


def _mode(name: str, content: str | bytes | File | Link) -> int:
    if isinstance(content, Link):
        return stat.S_IFLNK | 0o777
    if name.endswith("/"):
        return stat.S_IFDIR | 0o755
    return stat.S_IFREG | (content.mode if isinstance(content, File) else 0o644)


def _data(content: str | bytes | File | Link) -> bytes:
    if isinstance(content, Link):
        return content.target.encode()
    data = content.data if isinstance(content, File) else content
    return data.encode() if isinstance(data, str) else data
