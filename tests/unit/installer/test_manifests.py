"""Replacing a manifest: in one step, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.folder.manifests import write_manifest
from plugvisor.installer.protocol import Refused

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts, remount

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = b"[plugin]\n", b"[plugin]\nid = 'x'\n"
SHA256 = hashlib.sha256(OLD).hexdigest()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with a manifest."""
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "plugin.toml").write_bytes(OLD)
    (folder / "plugin.toml").chmod(0o640)
    return folder


def test_it_is_replaced_and_keeps_its_mode(plugin: Path) -> None:
    (plugin / ".plugin.toml.new").write_text("left by a crash")
    write_manifest(str(plugin), NEW, SHA256)
    assert os.listdir(plugin) == ["plugin.toml"]
    assert (plugin / "plugin.toml").read_bytes() == NEW
    assert stat.S_IMODE((plugin / "plugin.toml").stat().st_mode) == 0o640


def test_it_is_another_than_expected(plugin: Path) -> None:
    with pytest.raises(Refused, match="changed meanwhile") as raised:
        write_manifest(str(plugin), NEW, hashlib.sha256(NEW).hexdigest())
    assert raised.value.code == "precondition_failed"
    assert (plugin / "plugin.toml").read_bytes() == OLD


def test_it_is_gone(plugin: Path) -> None:
    (plugin / "plugin.toml").unlink()
    for directory in (plugin, plugin / "none", "/dev/null"):
        with pytest.raises(Refused) as raised:
            write_manifest(str(directory), NEW, SHA256)
        assert raised.value.code == "precondition_failed"
    assert not os.listdir(plugin)


def test_it_is_a_link_or_a_pipe(plugin: Path, tmp_path: Path) -> None:
    (plugin / "plugin.toml").rename(tmp_path / "elsewhere")
    (plugin / "plugin.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="is a link") as raised:
        write_manifest(str(plugin), NEW, SHA256)
    assert raised.value.code == "read_only"
    (plugin / "plugin.toml").unlink()
    os.mkfifo(plugin / "plugin.toml")
    with pytest.raises(Refused):
        write_manifest(str(plugin), NEW, SHA256)
    assert (tmp_path / "elsewhere").read_bytes() == OLD


@pytest.mark.parametrize("where", ["the folder", "the plugin's folder of a version", "the versions"])
def test_its_folder_is_a_link(tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    version = outside / "versions" / "1-000000000000"
    version.mkdir(parents=True)
    for folder in (outside, version):
        (folder / "plugin.toml").write_bytes(OLD)
    directory = tmp_path / "echo"
    if where == "the versions":
        directory.mkdir()
        (directory / "versions").symlink_to(outside / "versions")
    else:
        directory.symlink_to(outside)
    if where != "the folder":
        directory = directory / "versions" / "1-000000000000"
    with pytest.raises(Refused, match="folder is a link") as raised:
        write_manifest(str(directory), NEW, SHA256)
    assert raised.value.code == "read_only"
    assert {path.read_bytes() for path in outside.rglob("plugin.toml")} == {OLD}


def test_a_version_is_read_only_again(tmp_path: Path) -> None:
    version = tmp_path / "echo" / "versions" / "1-0"
    version.mkdir(parents=True)
    (version / "plugin.toml").write_bytes(OLD)
    (version / "plugin.toml").chmod(0o444)
    version.chmod(0o555)
    write_manifest(str(version), NEW, SHA256)
    assert (version / "plugin.toml").read_bytes() == NEW
    assert [stat.S_IMODE(path.stat().st_mode) for path in (version, version / "plugin.toml")] == [0o555, 0o444]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_it_keeps_its_owner(plugin: Path) -> None:
    os.chown(plugin / "plugin.toml", 1, 2)
    write_manifest(str(plugin), NEW, SHA256)
    status = (plugin / "plugin.toml").stat()
    assert (status.st_uid, status.st_gid) == (1, 2)


@needs_mounts
def test_a_read_only_and_a_full_disk(tmp_path: Path) -> None:
    with mount_tmpfs(tmp_path / "disk", 64) as disk:
        (disk / "plugin.toml").write_bytes(OLD)
        remount(disk, "ro")
        with pytest.raises(Refused, match="Read-only file system") as raised:
            write_manifest(str(disk), NEW, SHA256)
        assert raised.value.code == "read_only"
        remount(disk, "rw")
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left"):
            write_manifest(str(disk), NEW, SHA256)
        assert (disk / "plugin.toml").read_bytes() == OLD
        filler.unlink()
        write_manifest(str(disk), NEW, SHA256)
        assert os.listdir(disk) == ["plugin.toml"]
