"""`plugvisor pack`."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.output import make_printable, show_size
from plugvisor.errors import ConfigurationError
from plugvisor.installer.names import PackageRefused
from plugvisor.models.manifest import FILE_NAME
from plugvisor.plugins.manifest import ManifestError, read_manifest
from plugvisor.plugins.packing import pack

if TYPE_CHECKING:
    import argparse

    from plugvisor.models.manifest import Manifest
    from plugvisor.plugins.packing import Packed

_UNSAFE = re.compile(r"[^0-9A-Za-z.+_-]+")


def run_pack(arguments: argparse.Namespace) -> int:
    """Make a package."""
    manifest = check_manifest(arguments.folder)
    file: Path = arguments.output or Path(name_package(manifest))
    packed = make_package(arguments.folder, file)
    if arguments.json:
        values = {"file": str(file), "plugin_id": manifest.id, "version": manifest.version}
        print(json.dumps({**values, "size_bytes": packed.package_bytes, "sha256": packed.sha256}))
    else:
        files = "1 file" if packed.entries == 1 else f"{packed.entries} files"
        print(f"{make_printable(str(file))}: {files}, {show_size(packed.package_bytes)}")
        print(f"SHA-256 {packed.sha256}")
    return 0


def check_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder that is to be packed, and print its warnings.

    Raises:
        ConfigurationError: it is invalid, so that the package could not be installed; or there is none.
    """
    if not os.path.lexists(folder / FILE_NAME):
        what = f"it has no {FILE_NAME}" if os.path.isdir(folder) else "there is no such folder"
        raise ConfigurationError(f"cannot pack {str(folder)!r}: {what}")
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        raise ConfigurationError(f"cannot pack {str(folder)!r}: {error}") from error
    for warning in manifest.warnings:
        print(f"warning: {make_printable(warning, sys.stderr.encoding)}", file=sys.stderr)
    return manifest


def make_package(folder: Path, file: Path) -> Packed:
    """Pack a folder into a file; raises `ConfigurationError`."""
    if os.path.lexists(file) and not file.is_file():  # a device would be replaced
        raise ConfigurationError(f"cannot write {str(file)!r}: it is no regular file")
    try:
        return pack(folder, file)
    except PackageRefused as error:
        raise ConfigurationError(f"cannot pack {str(folder)!r}: {error}") from error
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        raise ConfigurationError(f"cannot pack {str(folder)!r}:{where} {error.strerror}") from error


def name_package(manifest: Manifest) -> str:
    """The name of a package's file: `echo-1.0.0.zip`."""
    version = _UNSAFE.sub("_", manifest.version)
    return f"{manifest.id}-{version}.zip" if version else f"{manifest.id}.zip"
