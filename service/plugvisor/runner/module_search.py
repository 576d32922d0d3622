"""Finds and imports what an `entry` names, for the runner, which loads this file by its path."""

import importlib
import os
import stat
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

PLUGINS = "plugins"
HOST = "plugin"
"""The package of the plugin host whose plugins have entries such as `plugin.plugins.echo:EchoPlugin`."""


class CannotRunError(Exception):
    """The entry cannot be resolved; the message says why and what to do."""


def _import(name: str) -> ModuleType | None:
    """Import a module; return None if it does not exist. Errors of the module itself, also ImportError, propagate."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):  # the module or a parent, not a module that it imports
            return None
        raise


def _find_above(name: str, folder: Path) -> tuple[Path, str] | None:
    """Return the folder in which a module's name begins, and the name: /x for plugins.echo.main in /x/plugins/echo.

    In /x/plugins/echo, `plugin.plugins.echo` is the module `plugins.echo` of /x: the host's package is elsewhere.
    """
    parts = tuple(name.split("."))
    for n in range(len(parts), 0, -1):
        if folder.parts[-n:] == parts[:n]:
            return folder.parents[n - 1], name
    own = (PLUGINS, folder.name)
    if parts[0] == HOST and parts[1:3] == own and folder.parts[-2:] == own:
        return folder.parents[1], ".".join(parts[1:])
    return None


def find_folders_above(folder: Path) -> list[Path]:
    """Return the folder above one called `plugins` and, if that is a package, the one above it, which comes first.

    One that everybody may write to is left out, and what is above it: anyone could put a module there.
    """
    found: list[Path] = []
    for path in folder.parents[1:] if folder.parent.name == PLUGINS else ():
        if _is_open_to_all(path) or (found and not os.path.isfile(found[0] / "__init__.py")):
            break
        found.insert(0, path)
    return found


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IWOTH)
    except OSError:  # a folder that we may not even search
        return True


def resolve(entry: str, folder: Path) -> object:
    """Import the object that `entry` names, from `folder` or from the folder above it in which the name begins."""
    name, _, attribute = entry.partition(":")
    if not attribute or not all(name.split(".")):
        raise CannotRunError("it is not of the form module:attribute; correct `entry` in plugin.toml")
    above = _find_above(name, folder)
    for path in find_folders_above(folder):
        if not above or path == above[0] or not PathFinder.find_spec(name.partition(".")[0], [str(path)]):
            _append_path(path)
    module = _import(name)
    if not module and above:
        _append_path(above[0])
        name = above[1]
        module = _import(name)
    if not module:
        advice = (name.startswith(f"{HOST}.") and advise(name, folder)) or "add it or correct `entry` in plugin.toml"
        raise CannotRunError(f"there is no module {name!r} in {folder}; {advice}")
    if not hasattr(module, attribute):
        where = module.__file__ or "a folder without __init__.py"
        raise CannotRunError(f"there is no {attribute!r} in {name!r} ({where}); add it or correct `entry`")
    return getattr(module, attribute)


def _append_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: what lies there must not hide an installed package


def advise(missing: str, folder: Path) -> str:
    """Advice for a module that is missing; empty if it is the plugin's own."""
    package = missing.partition(".")[0]
    if (folder / package).exists() or (folder / f"{package}.py").exists():
        return ""
    if package == HOST:
        return (
            f"put the folder `{HOST}` of the plugin host above the plugins, or set PLUGVISOR_RUNNER to the host's own"
        )
    return "list it in requirements.txt and install the plugin, or install it for the Python that runs the plugin"
