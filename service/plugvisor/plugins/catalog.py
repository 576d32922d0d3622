"""The catalog: every plugin in the plugins folder and in the install folder, the invalid ones included."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor import layout
from plugvisor.models.manifest import RESERVED_IDS, Manifest, ManifestError
from plugvisor.plugins.manifest import ManifestCache, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Render = Callable[[Manifest, Path], Any]
    """Makes an engine's program of a manifest and the working folder; raises `ManifestError`."""


@dataclass(frozen=True)
class Plugin:
    """One folder, or one published program whose folder is gone. A valid one has a `program` and no `problem`."""

    id: str
    folder: Path | None
    """A plugin is recognised by it. One that was installed has its versions in it."""
    manifest: Manifest | None = None
    program: Any = None
    """The program that the engine runs."""
    problem: str = ""
    """Why it cannot be used, for a person."""
    manifest_error: ManifestError | None = None
    """The same as a value, if its folder is there."""
    version_folder: Path | None = None
    """The folder of its current version; None if it was put there by hand."""
    dependents: tuple[str, ...] = ()
    """The ids of the plugins that depend on it, sorted; set by `dependencies.resolve`, as the next."""
    notes: tuple[str, ...] = ()
    """Sentences about the versions of its dependencies."""
    disabled_by: str = ""
    """Who keeps it from being started, whatever its manifest says; empty if nobody does."""
    disabled_at: float = 0.0
    """Since when, in seconds since 1970."""

    @property
    def directory(self) -> Path | None:
        """Where its manifest is, and what its process works in."""
        return self.version_folder or self.folder

    @property
    def name_of_folder(self) -> str:
        """The folder's name as text that JSON, XML and a terminal can hold; empty without a folder.

        A colon is written as a number too, for to supervisord it is `group:process`, and so is a
        backslash, so that no two names read alike.
        """
        return "".join(
            character if character.isprintable() and character not in ":\\" else f"\\x{{{ord(character):x}}}"
            for character in (self.folder.name if self.folder else "")
        )

    @property
    def enabled(self) -> bool:
        """Whether it may be started, by its manifest and by the operators."""
        manifest = self.manifest
        return manifest is not None and self.program is not None and manifest.enabled and not self.disabled_by


_UNINSTALLED = ManifestError("the plugin was uninstalled; refresh to have it removed")
NO_FOLDER = "no folder has a manifest of this id any more"

Catalog = dict[str, Plugin]
"""Plugins by id, in the order of their ids."""


def load_catalog(
    plugins_dir: Path,
    published: Mapping[str, Path | None],
    render: Render,
    cache: ManifestCache | None = None,
    install_dir: Path | None = None,
) -> Catalog:
    """Read every plugin.

    A manifest that cannot be used is a plugin whose id is its folder's name, or the id under which the
    folder was published before its manifest was broken: what runs keeps its name. A published plugin
    that no folder claims any more is in the catalog too, without a folder, for its process may be alive.

    Args:
        published: the folder of each published plugin, as `Publisher.read_folders` gives it.
        render: makes a plugin's program.
        cache: manifests whose files have the same bytes as before are not parsed again.
        install_dir: where plugins are installed, if that is another folder; it need not be there before the first is.

    Raises:
        OSError: one of the two folders cannot be read; no plugin is thereby gone.
    """
    folders = _list_folders(plugins_dir)
    if install_dir is not None and install_dir != plugins_dir:
        try:
            folders += _list_folders(install_dir)
        except FileNotFoundError:
            if any(folder is not None and folder.parent == install_dir for folder in published.values()):
                raise
    plugins = [load_plugin(folder, render, cache) for folder in folders]
    if cache is not None:
        for directory in set(cache).difference(plugin.directory for plugin in plugins if plugin.directory):
            cache.pop(directory, None)
    catalog = {plugin.id: plugin for plugin in _resolve_ids(plugins, published)}
    for plugin_id in published.keys() - catalog.keys():
        catalog[plugin_id] = Plugin(plugin_id, None, problem=NO_FOLDER)
    return dict(sorted(catalog.items()))


def load_plugin(folder: Path, render: Render, cache: ManifestCache | None = None) -> Plugin:
    """Read one folder; an invalid manifest is in the plugin's `problem` and `manifest_error`, and nothing is raised."""
    manifest = None
    version = layout.find_version(str(folder))
    version_folder = Path(version) if version is not None else None
    directory = version_folder or folder
    try:
        manifest = read_manifest(directory, cache)
        return Plugin(manifest.id, folder, manifest, render(manifest, directory), version_folder=version_folder)
    except ManifestError as error:
        is_uninstalled = version_folder is None and layout.is_uninstalled(str(folder))
        # A readable manifest keeps its id, so that a plugin whose command is missing is still itself.
        broken = make_broken("", folder, _UNINSTALLED if is_uninstalled else error, manifest, version_folder)
        return replace(broken, id=manifest.id if manifest else broken.name_of_folder)


def make_broken(
    plugin_id: str,
    folder: Path | None,
    error: ManifestError,
    manifest: Manifest | None = None,
    version_folder: Path | None = None,
) -> Plugin:
    """A plugin that cannot be used; `manifest` if it can be read all the same."""
    return Plugin(
        plugin_id,
        folder,
        manifest,
        problem=str(error),
        manifest_error=error.without_traceback(),
        version_folder=version_folder,
    )


def _list_folders(plugins_dir: Path) -> list[Path]:
    """Folders by name; a link that leads nowhere or in circles is listed too, to be reported."""
    with os.scandir(plugins_dir) as entries:
        names = [entry.name for entry in entries if entry.is_symlink() or entry.is_dir()]
    # .git, __pycache__ and the like are nobody's plugin
    paths = [plugins_dir / name for name in sorted(names) if not name.startswith((".", "__"))]
    return [path for path in paths if not os.path.isfile(path) and not layout.is_uninstalled(str(path))]


def _resolve_ids(plugins: Sequence[Plugin], published: Mapping[str, Path | None]) -> list[Plugin]:
    """Give every folder an id of its own; a second claim to an id is a problem of the second.

    The folder from which the id is published has the first claim, then the folder that bears the id's
    name, then the order of the names decides. A broken manifest claims the id under which its folder is
    published, or else the folder's name, so that breaking a manifest never hands its id to another
    plugin; if that is taken, or is the service's own, its id is the folder's name and a backslash,
    with which no other id ends. Ids that differ in case alone are the same: their files would be, on
    some file systems.
    """
    published_ids = {folder: plugin_id for plugin_id, folder in published.items()}
    lost: dict[Path | None, str] = {}  # by folder, the id of which another has the first claim

    def rank(plugin: Plugin) -> tuple[bool, bool, str]:
        return published.get(plugin.id) != plugin.folder, plugin.name_of_folder != plugin.id, str(plugin.folder)

    def claim(plugin: Plugin) -> Plugin:
        if plugin.manifest and plugin.folder not in lost:
            return plugin
        return replace(plugin, id=published_ids.get(plugin.folder, plugin.name_of_folder), manifest=None, program=None)

    while True:
        claims = sorted(map(claim, plugins), key=rank)
        owners = {plugin.id.casefold(): plugin for plugin in reversed(claims)}
        losers = [plugin for plugin in claims if plugin.manifest and owners[plugin.id.casefold()] is not plugin]
        if not losers:
            break
        lost |= {plugin.folder: plugin.id for plugin in losers}

    used: set[str] = set()

    def settle(plugin: Plugin) -> Plugin:
        key = plugin.id.casefold()
        is_owner = owners[key] is plugin and key not in RESERVED_IDS
        plugin_id = plugin.id if is_owner else f"{plugin.name_of_folder}\\"
        while plugin_id in used:  # folders of one name, one in the plugins folder and one in the install folder
            plugin_id += "\\"
        used.add(plugin_id)
        if plugin.folder not in lost:
            return replace(plugin, id=plugin_id)
        wanted = lost[plugin.folder]
        owner = owners[wanted.casefold()].name_of_folder
        which = "another folder" if owner == plugin.name_of_folder else "the folder"
        error = ManifestError(f"the id {wanted!r} is taken by {which} {owner!r}")
        return make_broken(plugin_id, plugin.folder, error, version_folder=plugin.version_folder)

    return [settle(plugin) for plugin in claims]
