"""`plugvisor config edit`."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from difflib import unified_diff
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.output import make_printable, print_error, print_notice
from plugvisor.cli.packages.config import path_of, read_manifest, report_written, write
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_MARK = "# plugvisor: "
"""The beginning of each line that is written above the text, and removed again."""
_HINT = "change it and save it; to give up, empty the file or save it as it is"


class _GivenUp(Exception):
    """The text is not to be written. The message, if there is one, says why, and then the text is kept."""


def run_edit(arguments: argparse.Namespace) -> int:
    """Have an editor change a manifest; nobody's change is overwritten unasked, and no text is lost."""
    client = Client.from_env(os.environ)
    editor = _find_editor()
    text = client.read_text(path_of(arguments.plugin_id))
    folder = Path(tempfile.mkdtemp(prefix="plugvisor-"))  # which nobody else can enter: there may be secrets in it
    session = _Session(client, arguments.plugin_id, folder / "plugin.toml", text.content, text.etag)
    try:
        written = session.run(editor)
    except _GivenUp as reason:
        if str(reason):
            print_error(str(reason))
            print_notice(f"nothing was changed; your text is in {str(session.file)!r}")
            return 1
        shutil.rmtree(folder)
        print_notice("nothing was changed")
        return 0 if session.is_unchanged else 1
    except (CommandRejected, ConfigurationError):
        if session.is_edited:
            print_notice(f"your text is in {str(session.file)!r}")
        else:
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    report_written(client, arguments, written)
    return 0


class _Session:
    """One manifest in an editor, until it is written or given up.

    Args:
        current: the text that is to be replaced.
        etag: of that text.
    """

    def __init__(self, client: Client, plugin_id: str, file: Path, current: bytes, etag: str) -> None:
        self.file = file
        self.is_unchanged = False
        self.is_edited = False
        self._client = client
        self._plugin_id = plugin_id
        self._current = current
        self._etag = etag
        self._notes: list[str] = []
        self._rejected: list[bytes] = []

    def run(self, editor: Sequence[str]) -> Any:
        """Edit until the text is written; returns the service's answer.

        Raises:
            _GivenUp
            ConfigurationError: there is no such editor, the file cannot be read, or the service does not answer.
            CommandRejected: what somebody else has written cannot be read.
        """
        text = self._current
        while True:
            text = self._edit(editor, text)
            try:
                return write(self._client, self._plugin_id, text, {"If-Match": self._etag})
            except CommandRejected as error:
                if error.status == HTTPStatus.PRECONDITION_FAILED:
                    if (written := self._settle_conflict(text, error)) is not None:
                        return written
                elif error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                    self._note_mistake(text, error)
                else:
                    raise _GivenUp(str(error)) from error

    def _edit(self, editor: Sequence[str], text: bytes) -> bytes:
        """Have a text changed; returns it without our notes, as the file then has it too."""
        self.file.write_bytes("".join(f"{line}\n" for line in self._notes).encode() + text)
        try:
            status = _run_editor([*editor, str(self.file)])
        except OSError as error:
            raise ConfigurationError(f"cannot run the editor {editor[0]!r}: {error.strerror}; set EDITOR") from error
        if status != 0:
            raise _GivenUp
        try:
            edited = self._without_notes(read_manifest(self.file))
        except ConfigurationError:
            self.is_edited = self.file.is_file()  # it is too large
            raise
        self.is_unchanged = edited == self._current
        if not edited.strip() or self.is_unchanged:
            raise _GivenUp
        self.file.write_bytes(edited)
        self.is_edited = True
        if edited in self._rejected:
            raise _GivenUp("it was saved as it was rejected before")
        return edited

    def _without_notes(self, text: bytes) -> bytes:
        notes = {line.encode() for line in self._notes}
        return b"".join(line for line in text.splitlines(keepends=True) if line.rstrip(b"\r\n") not in notes)

    def _note_mistake(self, text: bytes, error: CommandRejected) -> None:
        """Have the editor show what is wrong, and in which of its lines."""
        self._rejected.append(text)
        print_error(str(error))
        line = error.problem.get("line")  # where the manifest is invalid, counted from 1
        where = f" (line {line + 2} here)" if line else ""
        self._notes = [f"{_MARK}{_flatten(str(error))}{where}", f"{_MARK}{_HINT}"]

    def _settle_conflict(self, text: bytes, error: CommandRejected) -> Any:
        """Show what somebody else has changed, and ask; returns the service's answer, or None to edit it again."""
        theirs = self._client.read_text(path_of(self._plugin_id))
        changes = _compare(self._current, theirs.content)
        print_error(str(error))
        for line in changes:
            print(make_printable(line, sys.stderr.encoding), file=sys.stderr)
        choice = _ask("Edit yours again with this above it, overwrite theirs, or quit? [e/o/q] ")
        if choice not in ("e", "o"):
            raise _GivenUp("somebody else has changed the manifest meanwhile")
        self._current, self._etag = theirs.content, theirs.etag
        if choice == "o":
            try:
                return write(self._client, self._plugin_id, text, {"If-Match": self._etag})
            except CommandRejected as again:
                raise _GivenUp(str(again)) from again
        self._notes = [f"{_MARK}{_flatten(line)}" for line in ("somebody else has changed this:", *changes, _HINT)]
        return None


def _compare(before: bytes, after: bytes) -> Sequence[str]:
    old, new = (text.decode(errors="replace").splitlines() for text in (before, after))
    return [*unified_diff(old, new, "before", "now", n=1, lineterm="")]


def _flatten(line: str) -> str:
    """A line that can stand in a comment of TOML."""
    return "".join(character if character.isprintable() or character == "\t" else " " for character in line)


def _find_editor() -> list[str]:
    """The words of `$VISUAL` or `$EDITOR`."""
    name = "VISUAL" if os.environ.get("VISUAL") else "EDITOR"
    try:
        words = shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise ConfigurationError(f"cannot use {name}: a quotation mark in it is not closed") from error
    if not words and (sys.stdin is None or not sys.stdin.isatty()):
        raise ConfigurationError("cannot edit: without a terminal, EDITOR must name a program; or use `config set`")
    return words or ["vi"]


def _run_editor(command: list[str]) -> int:
    """Run an editor, whose affair Ctrl-C is; returns its exit status."""
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, handler)


def _ask(question: str) -> str:
    """The first letter of the answer; empty if there is nobody to ask."""
    if sys.stdin is None or not sys.stdin.isatty():
        return ""
    print(question, end="", file=sys.stderr, flush=True)
    try:
        return sys.stdin.readline().strip().lower()[:1]
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return ""  # so that it is said where the text is
