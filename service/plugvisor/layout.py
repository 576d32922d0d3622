"""The install folder: what is where. Nothing here changes anything.

<install_dir>/<id>/versions/<version>-<digest>/   a version, read-only; its environment is in `.venv`
<install_dir>/<id>/current                        a link to one of them, replaced by rename
<install_dir>/<id>/data/                          the plugin's own, kept across versions
<install_dir>/<id>/installed.json                 `models/installation/record.py`
<install_dir>/.staging/<name>/                    what is being unpacked
<install_dir>/.cache/                             what environments are made of
"""

from __future__ import annotations

import os
import re

CURRENT = "current"
VERSIONS = "versions"
DATA = "data"
RECORD = "installed.json"
ENVIRONMENT = ".venv"
STAGING = ".staging"
CACHE = ".cache"
OWN = frozenset((CURRENT, VERSIONS, DATA, RECORD))
"""All that a plugin's folder in the install folder holds; anything else was put there by somebody else."""

DIGEST_CHARACTERS = 12
LARGEST_RECORD_BYTES = 64 * 1024
_UNSAFE = re.compile(r"[^0-9A-Za-z.+_-]+")


def name_version(version: str, sha256: str) -> str:
    """The name of a version's folder."""
    safe = _UNSAFE.sub("_", version).strip("._-+")[:60] or "0"
    return f"{safe}-{sha256[:DIGEST_CHARACTERS]}"


def find_version(folder: str) -> str | None:
    """The version's folder that `current` leads to; None if this folder was put there by hand, or has no version.

    A link that leads anywhere but to `versions/<name>` was not made by us.
    """
    try:
        target = os.readlink(os.path.join(folder, CURRENT))
    except OSError:
        return None
    parent, name = os.path.split(target)
    if parent != VERSIONS or name in ("", ".", "..") or not os.path.lexists(os.path.join(folder, RECORD)):
        return None
    return os.path.join(folder, VERSIONS, name)


def find_root(directory: str) -> str:
    """The plugin's folder that a working folder belongs to: itself, unless it is a version's."""
    parent = os.path.dirname(directory)
    return os.path.dirname(parent) if os.path.basename(parent) == VERSIONS else directory


def is_uninstalled(folder: str) -> bool:
    """Whether only data is left of a plugin that was installed here."""
    has_current = os.path.lexists(os.path.join(folder, CURRENT))
    return not has_current and os.path.lexists(os.path.join(folder, RECORD))


def find_data(version_folder: str) -> str:
    """The data folder of an installed plugin."""
    return os.path.join(find_root(version_folder), DATA)


def find_environment(version_folder: str) -> str:
    """Where a version's environment is, if it has one."""
    return os.path.join(version_folder, ENVIRONMENT)
