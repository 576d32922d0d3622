"""Installed plugins in the catalog: their folder is who they are, their version is what they run."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor import layout
from plugvisor.plugins.catalog import load_catalog, load_plugin

from tests.helpers.installed import install, make_current, make_environment, place_version

if TYPE_CHECKING:
    from plugvisor.models.manifest import Manifest
    from plugvisor.plugins.catalog import Catalog
    from plugvisor.plugins.manifest import ManifestCache


def render(manifest: Manifest, directory: Path) -> object:
    return manifest, directory


def manifest_of(plugin_id: str, version: str = "1") -> str:
    return f'[plugin]\nid = "{plugin_id}"\nversion = "{version}"\ncommand = ["true"]\n'


class Folders:
    """A plugins folder and an install folder."""

    def __init__(self, root: Path) -> None:
        self.plugins_dir = root / "plugins"
        self.install_dir = root / "installed"
        self.plugins_dir.mkdir()
        self.cache: ManifestCache = {}

    def write(self, name: str, plugin_id: str) -> Path:
        """A plugin that is put there by hand."""
        folder = self.plugins_dir / name
        folder.mkdir()
        (folder / "plugin.toml").write_text(manifest_of(plugin_id))
        return folder

    def install(self, plugin_id: str, version: str = "1") -> Path:
        return install(self.install_dir, plugin_id, version, manifest_of(plugin_id, version))

    def load(self, **published: Path | None) -> Catalog:
        return load_catalog(self.plugins_dir, published, render, self.cache, self.install_dir)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_plugins_of_both_folders_are_listed(folders: Folders) -> None:
    by_hand, version = folders.write("hand", "hand"), folders.install("web")
    catalog = folders.load()
    assert list(catalog) == ["hand", "web"]
    assert (catalog["hand"].folder, catalog["hand"].version_folder, catalog["hand"].directory) == (
        by_hand,
        None,
        by_hand,
    )
    web = catalog["web"]
    assert (web.folder, web.version_folder, web.directory) == (version.parent.parent, version, version)
    assert web.program == (web.manifest, version)
    assert web.name_of_folder == "web"
    assert catalog == {name: load_plugin(catalog[name].folder or Path(), render) for name in catalog}


def test_plugins_can_be_installed_in_the_plugins_folder(folders: Folders) -> None:
    folders.write("hand", "hand")
    install(folders.plugins_dir, "web", "1", manifest_of("web"))
    assert list(load_catalog(folders.plugins_dir, {}, render)) == ["hand", "web"]
    assert list(load_catalog(folders.plugins_dir, {}, render, None, folders.plugins_dir)) == ["hand", "web"]


def test_a_swap_is_seen(folders: Folders) -> None:
    folders.install("web", "1")
    before = folders.load()["web"]
    second = folders.install("web", "2")
    after = folders.load()["web"]
    assert before != after
    assert after.manifest is not None
    assert (after.manifest.version, after.directory) == ("2", second)
    assert list(folders.cache) == [second]


def test_two_versions_with_the_same_manifest_are_different(folders: Folders) -> None:
    first = folders.install("web")
    before = folders.load()["web"]
    second = first.with_name("1-ba9876543210")
    shutil.copytree(first, second)
    make_current(second)
    assert folders.load()["web"] != before


def test_what_is_not_current_is_no_plugin(folders: Folders) -> None:
    place_version(folders.install_dir, "web", "1", manifest_of("web"))
    (folders.install_dir / ".staging" / "x").mkdir(parents=True)
    assert folders.load()["web"].problem.startswith("plugin.toml: the folder has no such file")
    assert list(folders.load()) == ["web"]


def test_an_uninstalled_plugin_is_none(folders: Folders) -> None:
    folders.install("web")
    plugin = folders.load()["web"]
    assert plugin.folder is not None
    (plugin.folder / "current").unlink()
    assert folders.load() == {}
    assert folders.load(web=plugin.folder)["web"].folder is None, "a refresh removes it"
    assert load_plugin(plugin.folder, render).problem == (
        "plugin.toml: the plugin was uninstalled; refresh to have it removed"
    )


@pytest.mark.parametrize(
    "target",
    [
        "../other",
        "/etc",
        "versions",
        "versions/..",
        "versions/.",
        "versions/a/b",
        "versions/",
        "",
        "x/y",
        "versions/1.0",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(folders: Folders, target: str) -> None:
    version = folders.install("web")
    (version.parent.parent / "current").unlink()
    if target:
        (version.parent.parent / "current").symlink_to(target)
    else:
        (version.parent.parent / "current").mkdir()
    plugin = folders.load()["web"]
    assert (plugin.version_folder, plugin.manifest) == (None, None)
    assert plugin.problem.startswith("plugin.toml: the folder has no such file")


def test_a_link_alone_does_not_make_a_folder_installed(folders: Folders) -> None:
    version = folders.install("web")
    (version.parent.parent / "installed.json").unlink()
    assert folders.load()["web"].version_folder is None


def test_one_id_in_both_folders_belongs_to_the_one_that_is_published(folders: Folders) -> None:
    by_hand = folders.write("web", "web")
    installed = folders.install("web").parent.parent
    for folder, other in ((by_hand, installed), (installed, by_hand)):
        catalog = folders.load(web=folder)
        assert catalog["web"].folder == folder
        assert catalog["web\\"].folder == other
        assert catalog["web\\"].problem == "plugin.toml: the id 'web' is taken by another folder 'web'"


def test_no_plugin_is_lost_when_folders_have_the_same_name(folders: Folders) -> None:
    folders.write("a", "web")
    folders.write("b", "a")
    install(folders.install_dir, "a", "1", manifest_of("web"))
    folders.install("web")
    catalog = folders.load(web=folders.install_dir / "web", a=folders.plugins_dir / "b")
    assert sorted(catalog) == ["a", "a\\", "a\\\\", "web"]


def test_an_install_folder_that_is_gone_is_no_removal(folders: Folders) -> None:
    folders.write("hand", "hand")
    assert list(folders.load()) == ["hand"], "it need not be there yet"
    folder = folders.install("web").parent.parent
    folders.install_dir.rename(folders.install_dir.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError) as caught:
        folders.load(web=folder)
    assert str(caught.value.filename) == str(folders.install_dir)


# -- what is where


def test_a_version_leads_to_its_plugin(tmp_path: Path) -> None:
    version = str(install(tmp_path, "web", "1", manifest_of("web")))
    root = str(tmp_path / "web")
    assert layout.find_version(root) == version
    assert layout.find_root(version) == root
    assert layout.is_version(version)
    assert layout.find_data(version) == f"{root}/data"


@pytest.mark.parametrize("path", ["/srv/plugins/web", "/srv/versions/web", "/versions/web-1.0", "/srv/a-0123456789ab"])
def test_any_other_folder_is_its_own(path: str) -> None:
    assert layout.find_root(path) == path
    assert not layout.is_version(path)


def test_an_environment_is_awaited_until_the_version_is_whole(tmp_path: Path) -> None:
    version = place_version(tmp_path, "web", "1", manifest_of("web"))
    assert not layout.awaits_environment(str(version)), "it has no dependencies"
    (version / "requirements.txt").touch()
    assert layout.awaits_environment(str(version))
    version.chmod(0o555)
    assert not layout.awaits_environment(str(version))
    version.chmod(0o755)
    make_environment(version)
    assert not layout.awaits_environment(str(version))
    staged = tmp_path / ".staging" / "x"
    staged.mkdir(parents=True)
    (staged / "pyproject.toml").touch()
    assert layout.awaits_environment(str(staged))
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand" / "requirements.txt").touch()
    assert not layout.awaits_environment(str(tmp_path / "hand"))


def test_an_environment_is_that_of_a_version_alone(tmp_path: Path) -> None:
    version = install(tmp_path, "web", "1", manifest_of("web"))
    assert layout.find_programs(str(version)) is None
    programs = make_environment(version)
    assert layout.find_programs(str(version)) == str(programs)
    by_hand = tmp_path / "hand"
    shutil.copytree(version, by_hand)
    assert layout.find_programs(str(by_hand)) is None, "it goes on as it was"


def test_an_invalid_plugin_is_still_installed(folders: Folders) -> None:
    version = folders.install("web")
    os.chmod(version / "plugin.toml", 0o644)
    (version / "plugin.toml").write_text("[plugin\n")
    plugin = folders.load(web=folders.install_dir / "web")["web"]
    assert (plugin.manifest, plugin.version_folder) == (None, version)
    assert replace(plugin, problem="") != plugin
