"""The layout of the install folder. Nothing here changes anything.

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
import stat

CURRENT = "current"
VERSIONS = "versions"
DATA = "data"
RECORD = "installed.json"
ENVIRONMENT = ".venv"
MANIFEST = "plugin.toml"
LARGEST_MANIFEST_BYTES = 256 * 1024
STAGING = ".staging"
CACHE = ".cache"
OWN = frozenset((CURRENT, VERSIONS, DATA, RECORD))
"""All that a plugin's folder in the install folder holds; anything else was put there by somebody else."""

DEPENDENCIES = ("requirements.txt", "pyproject.toml")
"""The files that an environment is made from."""
DIGEST_CHARACTERS = 12
LARGEST_RECORD_BYTES = 64 * 1024
_UNSAFE = re.compile(r"[^0-9A-Za-z.+_-]+")
_VERSION_NAME = re.compile(rf".+-[0-9a-f]{{{DIGEST_CHARACTERS}}}")


def name_version(version: str, sha256: str) -> str:
    """The name of a version's folder."""
    safe = _UNSAFE.sub("_", version).strip("._-+")[:60] or "0"
    return f"{safe}-{sha256[:DIGEST_CHARACTERS]}"


def find_version(folder: str) -> str | None:
    """The version's folder that `current` leads to; None if this folder was put there by hand, or has no version.

    A link that leads anywhere but to `versions/<version>-<digest>` was not made by us.
    """
    try:
        target = os.readlink(f"{folder}/{CURRENT}")
    except OSError:
        return None
    parent, name = os.path.split(target)
    if parent != VERSIONS or not _VERSION_NAME.fullmatch(name) or not os.path.lexists(f"{folder}/{RECORD}"):
        return None
    return os.path.join(folder, VERSIONS, name)


def find_root(directory: str) -> str:
    """The plugin's folder that a working folder belongs to: itself, unless it is a version's."""
    parent, name = os.path.split(directory)
    # the name, too: `versions` may be the plugins folder
    if os.path.basename(parent) == VERSIONS and _VERSION_NAME.fullmatch(name):
        return os.path.dirname(parent)
    return directory


def is_version(directory: str) -> bool:
    """Whether a working folder is that of an installed plugin's version."""
    return find_root(directory) != directory


def is_uninstalled(folder: str) -> bool:
    """Whether only data is left of a plugin that was installed here."""
    # of a thousand plugins that were put there by hand, this costs one call each
    return os.path.lexists(f"{folder}/{RECORD}") and not os.path.lexists(f"{folder}/{CURRENT}")


def find_data(version_folder: str) -> str:
    """The data folder of an installed plugin."""
    return os.path.join(find_root(version_folder), DATA)


def find_environment(version_folder: str) -> str:
    """Where a version's environment is, if it has one."""
    return os.path.join(version_folder, ENVIRONMENT)


def find_programs(directory: str) -> str | None:
    """The folder with the programs of a version's environment; None if the folder has none, or is no version's."""
    path = os.path.join(find_environment(directory), "bin")
    return path if is_version(directory) and os.path.isdir(path) else None


def awaits_environment(directory: str) -> bool:
    """Whether a package was unpacked here whose environment, if it needs one, has not been made yet.

    A version that is whole is read-only.
    """
    if is_version(directory):
        if find_programs(directory) is not None or find_version(find_root(directory)) == directory:
            return False
    elif os.path.basename(os.path.dirname(directory)) != STAGING:
        return False
    try:
        is_whole = not os.stat(directory).st_mode & stat.S_IWUSR
    except OSError:
        return False
    return not is_whole and any(os.path.lexists(os.path.join(directory, name)) for name in DEPENDENCIES)
