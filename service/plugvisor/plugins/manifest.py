"""`plugin.toml` -> `Manifest`: what a plugin says of itself, checked by type and range (DESIGN.md §3)."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from plugvisor.plugins.metadata import Metadata, read_metadata
from plugvisor.plugins.positions import find_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "plugin.toml"
LARGEST_MANIFEST_BYTES = 256 * 1024
RESERVED_IDS = {"plugvisor": "the service's own program", "all": "supervisorctl, to which it means every program"}
"""Ids that no plugin may have, in lower case, and what they are reserved for."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_STOP_SIGNALS = ("TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2")
# Linux takes no single argument or variable longer than this, its final NUL included (MAX_ARG_STRLEN).
_LONGEST_STRING_BYTES = 128 * 1024 - 1

# tomllib keeps every beginning of a dotted key: one of 100,000 parts would take it 40 GB. Parts longer
# than 256 characters are not looked for: a manifest has no room for enough of them to matter.
_DEEP_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:\\.|[^"\\\n]){0,256}+"|'[^'\n]{0,256}+')[ \t]*+\.[ \t]*+){64}""", re.ASCII
)


class ManifestError(Exception):
    """A manifest cannot be used; the text begins with the file and, where there is one, the line."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        where = FILE_NAME if line is None else f"{FILE_NAME} line {line}"
        super().__init__(f"{where}: {problem}")
        self.problem = problem


@dataclass(frozen=True)
class SupervisorOptions:
    """supervisord's own options that a manifest may set; the defaults are supervisord's."""

    startsecs: int = 1
    startretries: int = 3
    autorestart: Literal["true", "false", "unexpected"] = "unexpected"
    exitcodes: tuple[int, ...] = (0,)
    stopsignal: str = "TERM"
    stopwaitsecs: int = 10
    priority: int = 999


@dataclass(frozen=True)
class Manifest:
    """A valid manifest. Either `command` or `entry` is set; `command` wins where a file has both."""

    id: str
    name: str
    version: str = "0.1.0"
    description: str = ""
    command: tuple[str, ...] = ()
    entry: str = ""
    enabled: bool = True
    auto_start: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    supervisor: SupervisorOptions = SupervisorOptions()
    metadata: Metadata = field(default_factory=Metadata)


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder`'s manifest.

    Raises:
        ManifestError: the file is missing, unreadable, no regular file, too large or invalid.
    """
    return parse_manifest(_read_file(folder / FILE_NAME))


def _read_file(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if path.parent.is_symlink() and not os.path.exists(path.parent):
            raise ManifestError("the folder is a link that leads nowhere; correct or remove it") from error
        if not os.path.exists(path.parent):
            raise ManifestError("the folder is gone; put it back, or refresh to have the plugin removed") from error
        raise ManifestError("the folder has no such file; write one, or move the folder elsewhere") from error
    except OSError as error:
        raise ManifestError(f"it cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # before open(), which refuses a directory
            raise ManifestError("it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > LARGEST_MANIFEST_BYTES:
        raise ManifestError(f"it is larger than {LARGEST_MANIFEST_BYTES // 1024} KiB")
    return data


def parse_manifest(data: bytes) -> Manifest:
    """Check the bytes of a manifest; raises `ManifestError` for the first thing that is wrong with it."""
    try:
        text = data.decode("utf-8-sig")  # an editor may have put a byte order mark before it
    except UnicodeDecodeError as error:
        raise ManifestError("it is not UTF-8", data.count(b"\n", 0, error.start) + 1) from error
    deep_key = _DEEP_KEY.search(text)
    if deep_key:
        raise ManifestError("it is nested too deeply", text.count("\n", 0, deep_key.start()) + 1)
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ManifestError("it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        problem, line = _split_position(str(error), text)
        raise ManifestError(problem, line) from error
    except ValueError as error:  # int() refuses thousands of digits, in words about itself
        raise ManifestError("a number in it has too many digits") from error
    return _Reader(document, text).read()


def _split_position(message: str, text: str) -> tuple[str, int | None]:
    """tomllib tells the position as text alone: `Invalid value (at line 3, column 5)`."""
    match = re.search(r" \(at (?:line (\d+), column \d+|(end of document))\)$", message)
    if match is None:
        return message, None
    line = int(match[1]) if match[1] else text.count("\n") + 1
    return message[: match.start()], line


@dataclass
class _Reader:
    """Takes the values that are ours out of a parsed document; tables and keys unknown to us are the plugin's."""

    document: dict[str, Any]
    text: str

    def read(self) -> Manifest:
        plugin_id = self._text("plugin", "id")
        if plugin_id is None:
            self._fail("plugin", None, "[plugin] needs an `id`")
        if not _ID.fullmatch(plugin_id):
            self._fail(
                "plugin",
                "id",
                f"the id {_shorten(plugin_id)} must be 1 to 64 letters, digits, `_` or `-`, "
                "the first a letter or digit",
            )
        if plugin_id.casefold() in RESERVED_IDS:
            self._fail("plugin", "id", f"the id {plugin_id!r} is reserved for {RESERVED_IDS[plugin_id.casefold()]}")
        command = self._command()
        entry = self._entry()
        if not command and not entry:
            self._fail("plugin", None, "[plugin] needs a `command` or an `entry`")
        return Manifest(
            id=plugin_id,
            name=self._text("plugin", "name") or plugin_id,
            version=self._text("plugin", "version") or Manifest.version,
            description=self._text("plugin", "description") or "",
            command=command,
            entry=entry,
            enabled=self._flag("plugin_runtime", "enabled"),
            auto_start=self._flag("plugin_runtime", "auto_start"),
            environment=self._environment(),
            supervisor=self._supervisor_options(),
            metadata=read_metadata(self._table("plugin")),
        )

    def _command(self) -> tuple[str, ...]:
        value = self._table("plugin").get("command")
        if value is None:
            return ()
        if isinstance(value, str):
            try:
                value = shlex.split(value)
            except ValueError as error:
                self._fail("plugin", "command", f"`command` cannot be split into words: {str(error).lower()}")
        if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
            self._fail("plugin", "command", "`command` must be a list of strings, or one string, and not empty")
        if not value[0]:
            self._fail("plugin", "command", "the first word of `command` is empty")
        for word in value:
            self._check_string("plugin", "command", word, "a word of `command`")
        return tuple(value)

    def _entry(self) -> str:
        entry = self._text("plugin", "entry")
        if entry is None:
            return ""
        module, _, attribute = entry.partition(":")
        if not all(name.isidentifier() for name in [*module.split("."), attribute]):
            self._fail("plugin", "entry", f"`entry` {_shorten(entry)} must look like module:attribute")
        return entry

    def _environment(self) -> dict[str, str]:
        table = "plugin_runtime.environment"
        values = self._table(table)
        for name, value in values.items():
            if not isinstance(value, str):
                self._fail(table, name, f"the variable {_shorten(name)} must be a string: write it in quotes")
            if not name or "=" in name:
                self._fail(table, name, f"{_shorten(name)} cannot be the name of an environment variable")
            self._check_string(table, name, f"{name}={value}", f"the variable {_shorten(name)}")
        return values

    def _supervisor_options(self) -> SupervisorOptions:
        table = "plugin_runtime.supervisor"
        values = dict(self._table(table))
        for name, value in values.items():
            if name in _RANGES:
                low, high = _RANGES[name]
                if not _is_int(value) or not low <= value <= high:
                    self._fail(table, name, f"`{name}` must be a whole number from {low} to {high}")
            elif name == "autorestart":
                # 1 and 1.0 equal True
                if not isinstance(value, bool | str) or value not in (True, False, "true", "false", "unexpected"):
                    self._fail(table, name, '`autorestart` must be true, false or "unexpected"')
                values[name] = str(value).lower()
            elif name == "exitcodes":
                codes = value if isinstance(value, list) else []
                if not codes or len(codes) > 256 or not all(_is_int(code) and 0 <= code <= 255 for code in codes):
                    self._fail(table, name, "`exitcodes` must be a list of whole numbers from 0 to 255")
                values[name] = tuple(codes)
            elif name == "stopsignal":
                if value not in _STOP_SIGNALS:
                    self._fail(table, name, f"`stopsignal` must be one of {', '.join(_STOP_SIGNALS)}")
            else:
                allowed = ", ".join(SupervisorOptions.__dataclass_fields__)
                self._fail(table, name, f"{_shorten(name)} is no option that may be set here; these are: {allowed}")
        return SupervisorOptions(**values)

    def _table(self, name: str) -> dict[str, Any]:
        value: Any = self.document
        for part in name.split("."):
            value = value.get(part, {})
            if not isinstance(value, dict):
                self._fail(name, None, f"[{name}] must be a table")
        table: dict[str, Any] = value
        return table

    def _text(self, table: str, key: str) -> str | None:
        value = self._table(table).get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._fail(table, key, f"`{key}` must be a string: write it in quotes")
        self._check_string(table, key, value, f"`{key}`")
        return value

    def _flag(self, table: str, key: str) -> bool:
        value = self._table(table).get(key, True)
        if not isinstance(value, bool):
            self._fail(table, key, f"`{key}` must be true or false")
        return value

    def _check_string(self, table: str, key: str, value: str, what: str) -> None:
        if "\0" in value:
            self._fail(table, key, f"{what} holds a NUL character, which no process can receive")
        if len(value.encode()) > _LONGEST_STRING_BYTES:
            self._fail(
                table,
                key,
                f"{what} is longer than {_LONGEST_STRING_BYTES} bytes, which no process can receive",
            )

    def _fail(self, table: str, key: str | None, problem: str) -> NoReturn:
        raise ManifestError(problem, find_line(self.text, table, key))


# Wide enough for any use, and finite: a stop must end some day, and supervisord adds these to its clock.
_RANGES = {
    "startsecs": (0, 3600),
    "startretries": (0, 1_000_000),
    "stopwaitsecs": (0, 3600),
    "priority": (0, 1_000_000),
}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shorten(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
