"""Reads `plugin.toml` and validates it against the declarations in `models/manifest.py`."""

from __future__ import annotations

import logging
import os
import re
import shlex
import stat
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from plugvisor.layout import LARGEST_MANIFEST_BYTES, find_root
from plugvisor.models.manifest import FILE_NAME, LONGEST_STRING_BYTES, RESERVED_IDS, TABLES, Manifest, ManifestError
from plugvisor.plugins.lifecycle import add_dependencies, check_lifecycle, unify_forms
from plugvisor.plugins.metadata import read_metadata
from plugvisor.plugins.misspelt import find_misspelt
from plugvisor.plugins.positions import Position, find_position, locate
from plugvisor.plugins.validation import find_invalid

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Manifest", "ManifestError", "parse_manifest", "read_manifest"]

logger = logging.getLogger(__name__)


# tomllib keeps every beginning of a dotted key: one of 100,000 parts would take it 40 GB. Parts longer
# than 256 characters are not looked for: a manifest has no room for enough of them to matter.
_DEEP_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:\\.|[^"\\\n]){0,256}+"|'[^'\n]{0,256}+')[ \t]*+\.[ \t]*+){64}""", re.ASCII
)

ManifestCache = dict["Path", tuple[bytes, Manifest | ManifestError]]
"""By folder, a manifest file's bytes and what they were parsed to."""


def read_manifest(folder: Path, cache: ManifestCache | None = None) -> Manifest:
    """Read and validate a folder's manifest.

    Args:
        cache: the file is parsed only if its bytes are not those in here.

    Raises:
        ManifestError: whatever goes wrong.
    """
    try:
        data = _read_file(folder / FILE_NAME)
        known = cache.get(folder) if cache is not None else None
        if known is None or known[0] != data:
            known = data, _try_to_parse(data)
            if cache is not None:
                cache[folder] = known
                for warning in known[1].warnings if isinstance(known[1], Manifest) else ():
                    logger.warning("%s: %s", ascii(os.path.basename(find_root(str(folder)))), warning)
    except ManifestError:
        raise
    except Exception as error:
        # Even if memory runs out: the other plugins' manifests may be read all the same.
        logger.exception("cannot read the manifest in %r", str(folder))
        raise ManifestError("it cannot be read; the log says why") from error
    result = known[1]
    if isinstance(result, ManifestError):
        raise result.without_traceback()
    return result


def _try_to_parse(data: bytes) -> Manifest | ManifestError:
    try:
        return parse_manifest(data)
    except ManifestError as error:
        return error.without_traceback()


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
    data = b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ManifestError("it is no regular file")
        while len(data) <= LARGEST_MANIFEST_BYTES and (more := os.read(descriptor, LARGEST_MANIFEST_BYTES + 1)):
            data += more
    except OSError as error:
        raise ManifestError(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > LARGEST_MANIFEST_BYTES:
        raise ManifestError(f"it is larger than {LARGEST_MANIFEST_BYTES // 1024} KiB")
    return data


def parse_manifest(data: bytes) -> Manifest:
    """Validate the bytes of a manifest; raises `ManifestError` for the first thing that is wrong with it."""
    return _Reader(*parse_document(data)).read()


def parse_document(data: bytes) -> tuple[dict[str, Any], str]:
    """The tables of any TOML file, and its text; raises `ManifestError`."""
    try:
        text = data.decode("utf-8-sig")  # an editor may have put a byte order mark before it
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise ManifestError("it is not UTF-8", *locate(before, len(before))) from error
    if text.count(".") >= 64 and (deep_key := _DEEP_KEY.search(text)):
        raise ManifestError("it is nested too deeply", *locate(text, deep_key.start()))
    try:
        return tomllib.loads(text), text
    except RecursionError as error:
        raise ManifestError("it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        problem, position = _take_apart(str(error), text)
        raise ManifestError(problem, *(position or ())) from error
    except ValueError as error:  # int() refuses thousands of digits, in words about itself
        raise ManifestError("a number in it has too many digits") from error


def _take_apart(message: str, text: str) -> tuple[str, Position | None]:
    """Take tomllib's message apart: `Invalid value (at line 3, column 5)`, and hide the keys that it may repeat."""
    position = None
    if match := re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message):
        message = message[: match.start()]
        position = Position(int(match[1]), int(match[2])) if match[1] else locate(text, len(text))
    return re.sub(r"""\(['"].*\)|(?<= key )['"].*""", "…", message, flags=re.DOTALL), position


@dataclass
class _Reader:
    """Takes the keys that are ours out of a parsed document; tables and keys unknown to us are the plugin's.

    No error repeats a string of the file, which may be a secret in the wrong place.
    """

    document: dict[str, Any]
    text: str

    def read(self) -> Manifest:
        values = self._take_values()
        try:
            manifest = msgspec.convert(values, Manifest)
        except msgspec.ValidationError as error:
            table_of = {key: table for table, keys in TABLES.items() for key in keys}
            invalid = find_invalid(values, Manifest, table_of)
            position = find_position(self.text, invalid.table, invalid.key)
            raise ManifestError(invalid.problem, *(position or ())) from error
        self._check(manifest)
        return manifest

    def _take_values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for table, keys in TABLES.items():
            content = self.document.get(table, {})
            if not isinstance(content, dict):
                self._fail(table, None, f"[{table}] must be a table")
            values |= {key: content[key] for key in keys if key in content}
        if isinstance(command := values.get("command"), str):
            try:
                values["command"] = shlex.split(command)
            except ValueError as error:
                self._fail("plugin", "command", f"`command` cannot be split into words: {str(error).lower()}")
        options = values.get("supervisor")
        if isinstance(options, dict) and isinstance(flag := options.get("autorestart"), bool):
            values["supervisor"] = options | {"autorestart": str(flag).lower()}
        if values.get("version") == "":
            del values["version"]
        values["metadata"] = read_metadata(self.document.get("plugin", {}))
        unify_forms(values, self._fail)
        ignored = add_dependencies(values, values["metadata"].dependencies, self.text)
        values["warnings"] = (*find_misspelt(self.document, self.text), *ignored)
        return values

    def _check(self, manifest: Manifest) -> None:
        """Check what the declaration of a field cannot say."""
        reason = RESERVED_IDS.get(manifest.id.casefold())
        if reason is not None:
            self._fail("plugin", "id", f"the id {manifest.id!r} is reserved for {reason}")
        if not manifest.command and not manifest.entry:
            self._fail("plugin", None, "[plugin] needs a `command` or an `entry`")
        if manifest.command and not manifest.command[0]:
            self._fail("plugin", "command", "the first word of `command` is empty")
        if any(_is_too_long(word) for word in manifest.command):
            self._fail("plugin", "command", f"a word of `command` is longer than {LONGEST_STRING_BYTES} bytes")
        if _is_too_long(manifest.entry):
            self._fail("plugin", "entry", f"`entry` is longer than {LONGEST_STRING_BYTES} bytes")
        check_lifecycle(manifest, self._fail)
        for name in manifest.environment_files:
            if name in manifest.environment:
                problem = "this variable is in [plugin_runtime.environment] too: keep one of the two"
                self._fail("plugin_runtime.environment_files", name, problem)
        for name, value in manifest.environment.items():
            if _is_too_long(f"{name}={value}"):
                problem = f"a variable is longer than {LONGEST_STRING_BYTES} bytes, its name included"
                self._fail("plugin_runtime.environment", name, problem)

    def _fail(self, table: str, key: str | None, problem: str) -> NoReturn:
        raise ManifestError(problem, *(find_position(self.text, table, key) or ()))


def _is_too_long(string: str) -> bool:
    return len(string.encode()) > LONGEST_STRING_BYTES
