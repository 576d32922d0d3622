"""`plugvisor install`, `update` and `rollback`."""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import quote_part
from plugvisor.cli.packages.follow import finish, follow
from plugvisor.cli.packages.pack import check_manifest, make_package, name_package
from plugvisor.cli.packages.upload import send_package
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def run_install(arguments: argparse.Namespace) -> int:
    """Install a plugin, or with `--replace` another version of it."""
    options = {"replace": "true" if arguments.replace else ""}
    return _install(Client.from_env(os.environ), arguments, options)


def run_update(arguments: argparse.Namespace) -> int:
    """Update a plugin that is installed."""
    client = Client.from_env(os.environ)
    versions = client.call("GET", f"/plugin/{quote_part(arguments.plugin_id)}/versions")
    if not versions["installed"]:
        raise CommandRejected(
            f"cannot update {arguments.plugin_id!r}: it was put there by hand; change the files in its folder", 409
        )
    return _install(client, arguments, {"replace": "true", "plugin_id": arguments.plugin_id})


def run_rollback(arguments: argparse.Namespace) -> int:
    """Have a plugin's previous version take the place of the current one."""
    client = Client.from_env(os.environ)
    operation = client.call("POST", f"/plugin/{quote_part(arguments.plugin_id)}/rollback?wait=0")
    return report(client, operation, arguments)


def report(client: Client, operation: dict[str, Any], arguments: argparse.Namespace, more: str = "") -> int:
    """Follow an operation, unless its end is not to be waited for; returns the exit status.

    Args:
        more: is added to what it has done.
    """
    if arguments.no_wait:
        print(json.dumps(operation) if arguments.json else operation["id"])
        return 0
    operation = follow(client, operation, quiet=arguments.json)
    return finish(operation, describe(operation) + more, as_json=arguments.json)


def describe(operation: dict[str, Any]) -> str:
    """Describe a successful operation."""
    plugin = repr(operation.get("plugin_id", ""))
    version, previous = operation.get("version"), operation.get("previous_version")
    new = f" {version}" if version else ""
    if operation["verb"] == "uninstall":
        return f"{plugin} is removed"
    if operation.get("unchanged"):
        return f"{plugin}{new} was current already"
    if operation["verb"] == "install":
        return f"{plugin}{new} is installed"
    what = "is rolled back" if operation["verb"] == "rollback" else "is updated"
    if version and version == previous:
        return f"{plugin} {what}, and is still version {version}"
    return f"{plugin} {what}" + (f" from {previous}" if previous else "") + (f" to {version}" if version else "")


def _install(client: Client, arguments: argparse.Namespace, options: dict[str, str]) -> int:
    options |= {"start": "true" if arguments.start else "", "sha256": (arguments.sha256 or "").lower()}
    with _open_package(arguments.package) as (package, name):
        operation = send_package(client, package, name, options, quiet=arguments.json)
    return report(client, operation, arguments, " and started" if arguments.start else "")


@contextmanager
def _open_package(path: Path) -> Iterator[tuple[BufferedReader, str]]:
    """Open a package, or pack a folder; with the name of the file, which is empty for standard input."""
    if str(path) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise ConfigurationError("cannot read the package: standard input is neither a file nor a pipe")
        assert isinstance(sys.stdin.buffer, BufferedReader)
        yield sys.stdin.buffer, ""
        return
    if path.is_dir():
        manifest = check_manifest(path)
        with TemporaryDirectory(prefix="plugvisor-") as folder:
            file = Path(folder, name_package(manifest))
            make_package(path, file)
            with file.open("rb") as package:
                yield package, file.name
        return
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would not even be opened
            raise ConfigurationError(f"cannot install {str(path)!r}: it is no file")
        package = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"cannot read {str(path)!r}: {error.strerror}") from error
    with package:
        yield package, os.fsencode(path.name).decode(errors="replace")
