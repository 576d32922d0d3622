"""Whether the Python that runs a plugin is of a version that its manifest takes: `[plugin_runtime.python]`.

No interpreter is executed to find that out: where a plugin's `python` leads, the plugin itself may decide.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.plugins.versions import is_in_range

if TYPE_CHECKING:
    from plugvisor.models.manifest import Manifest

_INTERPRETER = re.compile(r"python(?:3(?:\.\d+)?)?", re.ASCII)
_NUMBERED = re.compile(r"python(3\.\d{1,3})", re.ASCII)
_CONFIGURED = re.compile(rb"^version(?:_info)?[ \t]*=[ \t]*(3\.\d{1,3}\.\d{1,3})", re.MULTILINE)
_LARGEST_CONFIGURATION_BYTES = 16 * 1024
_ANY_MICRO = ("0", "999")


class PythonVersion(NamedTuple):
    """The version of an interpreter."""

    text: str
    is_exact: bool
    """False: it has two numbers, the third being unknown."""


def find_conflict(manifest: Manifest, interpreter: str) -> str:
    """Why a manifest does not take the interpreter that was found for it, in words; empty if nothing is known against.

    Args:
        interpreter: the path of the program that is executed, which need not be Python.
    """
    wanted = manifest.python.version
    if not wanted or not _INTERPRETER.fullmatch(os.path.basename(interpreter)):
        return ""
    found = find_python_version(interpreter)
    if found is None:
        return ""
    versions = [found.text] if found.is_exact else [f"{found.text}.{micro}" for micro in _ANY_MICRO]
    if any(is_in_range(version, wanted) for version in versions):
        return ""
    return f"it needs Python {wanted.strip()}; python here is {found.text}"


def find_python_version(interpreter: str) -> PythonVersion | None:
    """The version of an interpreter, by files and names; None if neither shows it."""
    folder = os.path.dirname(os.path.dirname(interpreter))
    if (configured := _CONFIGURED.search(_read(os.path.join(folder, "pyvenv.cfg")))) is not None:
        return PythonVersion(configured[1].decode(), is_exact=True)
    path = os.path.realpath(interpreter)
    if path == os.path.realpath(sys.executable):
        return PythonVersion(platform.python_version(), is_exact=True)
    numbered = _NUMBERED.fullmatch(os.path.basename(path))
    return PythonVersion(numbered[1], is_exact=False) if numbered is not None else None


def _read(path: str) -> bytes:
    """The beginning of a regular file; nothing if there is none. Waits for nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, _LARGEST_CONFIGURATION_BYTES) if is_regular else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
