"""Runs one plugin in this terminal: its log, what becomes of it, and a few keys."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from plugvisor.cli.client import NoAnswer
from plugvisor.cli.connection.paths import make_query, quote_part
from plugvisor.cli.dev.copies import ReadyCopies, TooLarge
from plugvisor.cli.dev.keys import Keys
from plugvisor.cli.dev.stack import END_SECONDS, DevStack, find_start
from plugvisor.cli.output import has_color, make_printable, paint
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.cli.streams.journal import describe
from plugvisor.cli.streams.log_lines import show_message
from plugvisor.errors import CommandRejected, ConfigurationError
from plugvisor.models.manifest import FILE_NAME, ManifestError
from plugvisor.plugins.manifest import read_manifest

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from plugvisor.cli.client import Client
    from plugvisor.cli.dev.copies import Copy
    from plugvisor.models.manifest import Manifest

POLL_SECONDS = 0.1
STATUS_SECONDS = 0.5
LONGEST_LINE_BYTES = 64 * 1024
_COLORS = {"running": "green", "error": "red", "ok": "green"}


def run_dev(arguments: argparse.Namespace) -> int:
    """Run one folder's plugin until `q` or Ctrl-C; nothing of it is left."""
    folder = Path(arguments.folder).resolve()
    if not (folder / FILE_NAME).is_file():
        raise ConfigurationError(
            f"cannot run {str(folder)!r}: it has no {FILE_NAME}; `plugvisor new` makes a folder that has one"
        )
    others = Path(arguments.others).resolve() if arguments.others else None
    if not 0 <= arguments.port <= 65535:
        raise ConfigurationError("cannot use --port: it must be a number from 1 to 65535")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    stack = DevStack(folder, others, arguments.port)
    try:
        with Keys() as keys:
            _Dev(folder, stack, keys).run()
    finally:
        stack.kill()
        stack.remove()
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _Dev:
    def __init__(self, folder: Path, stack: DevStack, keys: Keys) -> None:
        self._folder = folder
        self._stack = stack
        self._keys = keys
        self._colored = has_color(sys.stdout)
        self._copies: ReadyCopies | None = ReadyCopies(folder, stack.root / "ready")
        self._entries: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._offered: tuple[Copy, list[str]] | None = None
        self._looked_at = 0.0
        self._seen: tuple[object, ...] = ()
        self._taken: object = None

    def run(self) -> None:
        manifest = self._wait_for_manifest()
        if manifest is None:
            return
        self._log = _Log(self._stack.find_log(manifest.id))
        self._id = manifest.id
        self._path = f"/plugin/{quote_part(manifest.id)}"
        self._say(f"starting {manifest.id} in {self._folder}")
        self._stack.start()
        try:
            client = self._connect()
            if client is not None:
                self._greet(client, manifest)
                self._follow(client)
        finally:
            self._end()

    def _wait_for_manifest(self) -> Manifest | None:
        """The manifest, once it is valid; None if `q` was typed."""
        said = ""
        while True:
            try:
                return read_manifest(self._folder)
            except ManifestError as error:
                if str(error) != said:
                    said = str(error)
                    self._say(f"{said}; waiting for a change", "red")
            if "q" in self._keys.read(POLL_SECONDS):
                return None

    def _connect(self) -> Client | None:
        while (client := self._stack.connect()) is None:
            self._show_log()
            if "q" in self._keys.read(POLL_SECONDS):
                return None
        return client

    def _greet(self, client: Client, manifest: Manifest) -> None:
        code = (self._stack.root / "run" / "admin_code").read_text().strip()
        self._say(f"page  {self._stack.url}/#code={code}", "bold")
        words = "r reloads it, b goes back to the last version that was ready, q ends"
        self._say(words if self._keys.is_terminal else f"{words}; each with Return")
        path = f"/journal/stream{make_query({'plugin_id': manifest.id})}"
        stream = FollowedStream(client, path, say=lambda _words: None)
        threading.Thread(target=self._read_journal, args=(stream,), daemon=True).start()
        if not manifest.auto_start:
            self._ask(client, "start")

    def _read_journal(self, stream: FollowedStream) -> None:
        with contextlib.suppress(CommandRejected, NoAnswer, OSError):
            for event in stream:
                if event.name == "entry":
                    self._entries.put(event.data)

    # -- while it runs

    def _follow(self, client: Client) -> None:
        while True:
            self._show_log()
            self._show_entries()
            self._look(client)
            self._stack.check()
            for key in self._keys.read(POLL_SECONDS):
                if key == "q":
                    return
                self._obey(client, key)

    def _obey(self, client: Client, key: str) -> None:
        if self._offered is not None:
            offered, self._offered = self._offered, None
            if key == "y":
                self._go_back(*offered)
            else:
                self._say("nothing was changed")
        elif key == "r":
            self._ask(client, "reload")
        elif key == "b":
            self._offer()

    def _ask(self, client: Client, verb: str) -> None:
        try:
            client.call("POST", f"{self._path}/{verb}?wait=0")
        except (CommandRejected, NoAnswer) as error:
            self._say(str(error), "red")

    def _look(self, client: Client) -> None:
        """Copy the folder whenever the plugin has become ready; show why it is as it is."""
        if time.monotonic() < self._looked_at + STATUS_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            status = client.call("GET", f"/plugin/status{make_query({'plugin_id': self._id})}")
        except (CommandRejected, NoAnswer):
            return  # `check` reports its end
        is_ready = status["status"] == "running" and status.get("health") in (None, "healthy")
        if is_ready and self._taken != status["pid"]:
            self._taken = status["pid"]
            self._copy(find_start(status["pid"]))
        seen = (status["status"], status.get("health"), status.get("detail"))
        if seen != self._seen:
            self._seen = seen
            words = ", ".join(filter(None, seen))
            self._say(words, _COLORS.get(status["status"], ""))

    def _show_entries(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._entries.get_nowait()
                if entry["kind"] == "operation":
                    self._say(describe(entry), _COLORS.get(entry.get("outcome", "ok"), "red"))

    # -- the way back

    def _copy(self, started_at: float) -> None:
        if self._copies is None:
            return
        try:
            self._copies.take(started_at)
        except TooLarge as error:
            self._say(f"there is no way back to this version: {error}", "yellow")
            self._copies = None
        except OSError as error:  # a file has just gone, or the disk is full
            self._say(f"this version cannot be kept: {error.strerror}", "yellow")

    def _offer(self) -> None:
        found = self._copies.find() if self._copies is not None else None
        if found is None:
            self._say("there is no other version that was ready")
            return
        copy, changes = found
        at = time.strftime("%H:%M:%S", time.localtime(copy.at))
        names = ", ".join(map(make_printable, changes[:5])) + (f" and {len(changes) - 5} more" if changes[5:] else "")
        self._say(f"go back to the version of {at}? It changes {names} (y/n)", "bold")
        self._offered = found

    def _go_back(self, copy: Copy, changes: list[str]) -> None:
        assert self._copies is not None
        try:
            replaced = self._copies.restore(copy, changes)
        except OSError as error:
            self._say(f"cannot go back: {error.filename}: {error.strerror}", "red")
        else:
            self._say(f"the files are as they were; those that were replaced are in {replaced}")

    # -- output

    def _show_log(self) -> None:
        for line in self._log.read():
            print(show_message(line, colored=self._colored))
        sys.stdout.flush()

    def _say(self, words: str, color: str = "") -> None:
        text = f"{time.strftime('%H:%M:%S')} · {make_printable(words)}"
        print(paint(text, color or "dim") if self._colored else text, flush=True)

    # -- the end

    def _end(self) -> None:
        """Stop everything as `plugvisor up` does; a second Ctrl-C kills it."""
        self._stack.begin_end()
        deadline = time.monotonic() + END_SECONDS
        while not self._stack.has_ended and time.monotonic() < deadline:
            with contextlib.suppress(BrokenPipeError):
                self._show_log()
            time.sleep(POLL_SECONDS / 2)
        with contextlib.suppress(BrokenPipeError):
            self._show_log()


class _Log:
    """A plugin's log file, which may be rotated, as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def read(self) -> list[str]:
        """The lines that are new and complete."""
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset = status.st_ino, 0
                file.seek(self._offset)
                data = file.read(1024 * 1024)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines]
