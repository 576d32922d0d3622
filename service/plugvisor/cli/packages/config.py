"""`plugvisor config get` and `set`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import make_query, quote_part
from plugvisor.cli.output import make_printable
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_LARGEST_BYTES = 256 * 1024
_RELOAD_SECONDS = 20


def run_get(arguments: argparse.Namespace) -> int:
    """Print a manifest."""
    if arguments.json and arguments.earlier:
        raise ConfigurationError("cannot use --json with --earlier: an earlier manifest is printed as it was written")
    client = Client.from_env(os.environ)
    if arguments.json:
        print(json.dumps(client.call("GET", f"/plugin/{quote_part(arguments.plugin_id)}/config")))
        return 0
    query = make_query({"earlier": arguments.earlier or ""})
    text = client.read_text(f"{path_of(arguments.plugin_id)}{query}").content
    if sys.stdout.isatty():
        for line in text.decode(errors="replace").splitlines():
            print("\t".join(map(make_printable, line.split("\t"))))
    else:
        sys.stdout.buffer.write(text)
    return 0


def run_set(arguments: argparse.Namespace) -> int:
    """Replace a manifest."""
    text = read_manifest(arguments.file)
    headers = {"If-Match": arguments.if_match} if arguments.if_match else {}
    client = Client.from_env(os.environ)
    report_written(client, arguments, write(client, arguments.plugin_id, text, headers))
    return 0


def path_of(plugin_id: str) -> str:
    """The path of a manifest's text."""
    return f"/plugin/{quote_part(plugin_id)}/config/toml"


def read_manifest(path: Path) -> bytes:
    """Read a file, or standard input if it is `-`; raises `ConfigurationError`."""
    if str(path) == "-" and sys.stdin is None:
        raise ConfigurationError("cannot read the manifest: there is no standard input")
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            text = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if len(text) > _LARGEST_BYTES:
        raise ConfigurationError(f"cannot use {str(path)!r}: a manifest has at most {_LARGEST_BYTES // 1024} KiB")
    return text


def write(client: Client, plugin_id: str, text: bytes, headers: dict[str, str]) -> Any:
    """Replace a manifest; raises as `Client.call` does."""
    return client.write_text(path_of(plugin_id), text, {**headers, "Content-Type": "application/toml"})


def report_written(client: Client, arguments: argparse.Namespace, written: Any) -> None:
    """Say what was written, and apply it if that was asked for."""
    if arguments.json:
        print(json.dumps(written))
    else:
        for warning in written["warnings"]:
            print(f"warning: {make_printable(warning, sys.stderr.encoding)}", file=sys.stderr)
        print(make_printable(written["message"].partition("; ")[0] if arguments.reload else written["message"]))
    if not arguments.reload:
        return
    answer = client.call("POST", f"/plugin/{quote_part(arguments.plugin_id)}/reload?wait={_RELOAD_SECONDS}")
    if not arguments.json:
        print(make_printable(f"{arguments.plugin_id!r} is reloaded, and {answer['status']}"))
