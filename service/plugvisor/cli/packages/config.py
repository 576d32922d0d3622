"""`plugvisor config get`, `set` and `edit`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client, NoAnswer
from plugvisor.cli.output import make_printable
from plugvisor.cli.packages.install import quote_id
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    import argparse

_LARGEST_BYTES = 256 * 1024
_RELOAD_SECONDS = 20


def run_get(arguments: argparse.Namespace) -> int:
    """Print a manifest."""
    client = Client.from_env(os.environ)
    if arguments.json:
        print(json.dumps(client.call("GET", f"/plugin/{quote_id(arguments.plugin_id)}/config")))
        return 0
    query = f"?earlier={arguments.earlier}" if arguments.earlier else ""
    text = client.read_text(f"{_path_of(arguments.plugin_id)}{query}").content
    if sys.stdout.isatty():
        for line in text.decode(errors="replace").splitlines():
            print("\t".join(map(make_printable, line.split("\t"))))
    else:
        sys.stdout.buffer.write(text)
    return 0


def run_set(arguments: argparse.Namespace) -> int:
    """Replace a manifest."""
    text = _read(arguments.file)
    headers = {"If-Match": arguments.if_match} if arguments.if_match else {}
    client = Client.from_env(os.environ)
    _report(client, arguments, _write(client, arguments.plugin_id, text, headers))
    return 0


def run_edit(arguments: argparse.Namespace) -> int:
    """Have an editor change a manifest; nobody's change is overwritten, and no text is lost."""
    client = Client.from_env(os.environ)
    editor = _find_editor()
    before = client.read_text(_path_of(arguments.plugin_id))
    folder = Path(tempfile.mkdtemp(prefix="plugvisor-"))  # which nobody else can enter: there may be secrets in it
    file = folder / "plugin.toml"
    file.write_bytes(before.content)
    while True:
        try:
            status = _run_editor([*editor, str(file)])
        except OSError as error:
            shutil.rmtree(folder)
            raise ConfigurationError(f"cannot run the editor {editor[0]!r}: {error.strerror}; set EDITOR") from error
        text = _read(file)
        if status != 0 or text == before.content:
            shutil.rmtree(folder)
            print("plugvisor: nothing was changed", file=sys.stderr)
            return 0 if status == 0 else 1
        try:
            written = _write(client, arguments.plugin_id, text, {"If-Match": before.etag})
        except NoAnswer:
            print(f"plugvisor: your text is in {str(file)!r}", file=sys.stderr)
            raise
        except CommandRejected as error:
            print(f"plugvisor: {error}", file=sys.stderr)
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or not _wants_to_go_on():
                print(f"plugvisor: nothing was changed; your text is in {str(file)!r}", file=sys.stderr)
                return 1
            continue
        shutil.rmtree(folder)
        _report(client, arguments, written)
        return 0


def _find_editor() -> list[str]:
    """The words of `$VISUAL` or `$EDITOR`."""
    name = "VISUAL" if os.environ.get("VISUAL") else "EDITOR"
    try:
        return shlex.split(os.environ.get(name, "")) or ["vi"]
    except ValueError as error:
        raise ConfigurationError(f"cannot use {name}: a quotation mark in it is not closed") from error


def _run_editor(command: list[str]) -> int:
    """Run an editor, whose affair Ctrl-C is; returns its exit status."""
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, handler)


def _path_of(plugin_id: str) -> str:
    return f"/plugin/{quote_id(plugin_id)}/config/toml"


def _read(path: Path) -> bytes:
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


def _write(client: Client, plugin_id: str, text: bytes, headers: dict[str, str]) -> Any:
    return client.write_text(_path_of(plugin_id), text, {**headers, "Content-Type": "application/toml"})


def _report(client: Client, arguments: argparse.Namespace, written: Any) -> None:
    """Say what was written, and apply it if that was asked for."""
    if arguments.json:
        print(json.dumps(written))
    else:
        for warning in written["warnings"]:
            print(f"warning: {make_printable(warning, sys.stderr.encoding)}", file=sys.stderr)
        print(make_printable(written["message"].partition("; ")[0] if arguments.reload else written["message"]))
    if not arguments.reload:
        return
    answer = client.call("POST", f"/plugin/{quote_id(arguments.plugin_id)}/reload?wait={_RELOAD_SECONDS}")
    if not arguments.json:
        print(f"{arguments.plugin_id!r} is reloaded, and {answer['status']}")


def _wants_to_go_on() -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    print("Edit it again? [Y/n] ", end="", file=sys.stderr, flush=True)
    try:
        return sys.stdin.readline().strip().lower() in ("", "y", "yes")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return False  # so that it is said where the text is
