"""The digest and the archive of a plugin's folder."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.swarm.carriers import folder as folder_module
from plugvisor.engines.swarm.carriers import walk as walk_module
from plugvisor.engines.swarm.carriers.folder import find_digest, write_archive
from plugvisor.engines.swarm.inside.unpack import unpack_folder
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "plugin.toml").write_text('[plugin]\nid = "echo"\n')
    (folder / "main.py").write_text("print()\n")
    return folder


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of an installed version, with an environment."""
    folder = tmp_path / "echo" / "versions" / "1.0-0123456789ab"
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to("/usr/local/bin/python3")
    (programs / "tool").write_text("#!/bin/sh\n")
    (programs / "tool").chmod(0o555)
    (folder / "plugin.toml").write_text("")
    (folder / ".git").write_text("whatever the package contains")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.pyc").write_text("")
    return folder


def archive(folder: Path) -> bytes:
    output = io.BytesIO()
    assert write_archive(folder, output) == find_digest(folder)
    return output.getvalue()


def list_names(folder: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive(folder))) as entries:
        return entries.getnames()


def test_an_archive_unpacks_to_what_was_packed(plugin: Path, tmp_path: Path) -> None:
    (plugin / "bin").mkdir()
    (plugin / "bin" / "tool").write_text("#!/bin/sh\n")
    (plugin / "bin" / "tool").chmod(0o775)
    (plugin / "插件.txt").write_text("名")
    (plugin / ("long" * 50)).mkdir()
    (plugin / ("long" * 50) / ("name" * 50)).write_bytes(os.urandom(300_000))
    (plugin / "empty").mkdir()
    (plugin / "link").symlink_to("bin/tool")
    (plugin / "bin" / "link").symlink_to("../main.py")
    (plugin / "main.py").chmod(0o600)
    unpack_folder(io.BytesIO(archive(plugin)), str(tmp_path / "again"), replace=False)
    subprocess.run(["diff", "-r", "--no-dereference", plugin, tmp_path / "again"], check=True)
    assert (tmp_path / "again" / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "again" / "main.py").stat().st_mode & 0o777 == 0o644  # whoever the plugin runs as can read it
    assert find_digest(tmp_path / "again") == find_digest(plugin)


def test_an_archive_is_the_same_each_time(plugin: Path, tmp_path: Path) -> None:
    """Whatever the times, the owner, the order on disk and the place of the files, and what is left out of them."""
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("plugin.toml", "main.py"):
        (other / name).write_text((plugin / name).read_text())
        os.utime(other / name, (1, 1))
        (other / name).chmod(0o664)
    (other / "__pycache__").mkdir()
    (other / "__pycache__" / "main.pyc").write_text("")
    (other / ".git").mkdir()
    assert archive(other) == archive(plugin)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "main.py").write_text("print(1)\n"),
        lambda folder: (folder / "main.py").chmod(0o755),
        lambda folder: (folder / "main.py").rename(folder / "other.py"),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "link").symlink_to("main.py"),
        lambda folder: (folder / "main.py").unlink(),
        lambda folder: (folder / ".plugvisorignore").write_text("main.py\n"),
    ],
)
def test_whatever_changes_gives_another_digest(plugin: Path, change: Callable[[Path], object]) -> None:
    before = find_digest(plugin)
    assert find_digest(plugin) == before
    change(plugin)
    assert find_digest(plugin) != before
    archive(plugin)


def test_a_change_that_keeps_size_and_time_is_seen(plugin: Path) -> None:
    for number in range(50):
        status = (plugin / "main.py").stat()
        (plugin / "main.py").write_text(f"{number:8}")
        os.utime(plugin / "main.py", ns=(status.st_atime_ns, status.st_mtime_ns))
        known = find_digest(plugin)
        folder_module._files.clear()
        assert find_digest(plugin) == known


def test_files_that_have_not_changed_are_not_read_again(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_SETTLED_NANOSECONDS", 0)
    digest = find_digest(plugin)
    opened = []
    real = walk_module.Entry.open
    monkeypatch.setattr(walk_module.Entry, "open", lambda entry: opened.append(entry.path) or real(entry))
    assert find_digest(plugin) == digest
    assert opened == []
    (plugin / "main.py").write_text("print(2)\n")
    assert find_digest(plugin) != digest
    assert opened == ["main.py"]


def test_what_no_package_contains_does_not_travel(plugin: Path) -> None:
    for name in ("venv", ".venv", "__pycache__", ".git", "deep"):
        (plugin / name).mkdir()
        (plugin / name / "kept.txt").write_text("")
    (plugin / "secret.txt").write_text("")
    (plugin / ".plugvisorignore").write_text("secret.txt\n")
    assert list_names(plugin) == [".", ".plugvisorignore", "deep", "deep/kept.txt", "main.py", "plugin.toml"]


def test_a_version_travels_with_its_environment(version: Path, tmp_path: Path) -> None:
    names = [".", ".git", ".venv", ".venv/bin", ".venv/bin/python", ".venv/bin/tool", "plugin.toml"]
    assert list_names(version) == names
    unpack_folder(io.BytesIO(archive(version)), str(tmp_path / "again"), replace=False)
    assert os.readlink(tmp_path / "again" / ".venv" / "bin" / "python") == "/usr/local/bin/python3"


def test_a_version_that_is_whole_is_read_once(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its manifest is replaced."""
    version.chmod(0o555)
    digest = find_digest(version)
    walked = []
    real = folder_module.walk
    monkeypatch.setattr(folder_module, "walk", lambda directory: walked.append(directory) or real(directory))
    assert find_digest(version) == digest
    assert walked == []
    version.chmod(0o755)
    (version / "new").write_text("changed")
    (version / "new").replace(version / "plugin.toml")
    version.chmod(0o555)
    assert find_digest(version) != digest
    assert walked == [version]


def test_a_version_stays_read_only(version: Path, tmp_path: Path) -> None:
    for name in ("plugin.toml", ".venv/bin", ".venv", "."):
        (version / name).chmod(0o555 if (version / name).is_dir() else 0o444)
    unpack_folder(io.BytesIO(archive(version)), str(tmp_path / "again"), replace=False)
    modes = {name: (tmp_path / "again" / name).stat().st_mode & 0o777 for name in (".", "plugin.toml", ".venv/bin")}
    assert modes == {".": 0o555, "plugin.toml": 0o444, ".venv/bin": 0o555}


# -- what cannot travel


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        before = os.getcwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(before)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "is a link that leads out of it"),
        (lambda path: path.symlink_to("../other"), "is a link that leads out of it"),
        (lambda path: path.symlink_to("a/../../b"), "is a link that leads out of it"),
        (lambda path: path.symlink_to(".."), "is a link that leads out of it"),
        (os.mkfifo, "is neither a file nor a folder nor a link"),
        (make_socket, "is neither a file nor a folder nor a link"),
    ],
)
def test_what_cannot_travel_is_said(plugin: Path, make: Callable[[Path], object], words: str) -> None:
    make(plugin / "odd\n")
    for read in (find_digest, lambda folder: write_archive(folder, io.BytesIO())):
        with pytest.raises(ManifestError) as raised:
            read(plugin)
        assert raised.value.problem.endswith(words)
        assert "'odd\\\\n'" in raised.value.problem


def test_a_name_that_is_not_utf_8(plugin: Path) -> None:
    (plugin / "\udcff").write_text("")
    with pytest.raises(ManifestError, match="not UTF-8"):
        find_digest(plugin)


def test_too_many_files(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "MOST_ENTRIES", 2)
    find_digest(plugin)
    (plugin / "third").write_text("")
    with pytest.raises(ManifestError, match="more than 2 files"):
        find_digest(plugin)


def test_a_huge_file_is_not_read(plugin: Path) -> None:
    with (plugin / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for read in (find_digest, lambda folder: write_archive(folder, io.BytesIO())):
        with pytest.raises(ManifestError, match="too large"):
            read(plugin)


def test_a_folder_that_becomes_a_link_leads_nowhere(plugin: Path, tmp_path: Path) -> None:
    """A plugin may change its folder while it is read: nothing else of this machine is read for it."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "code").write_text("secret")
    (plugin / "inner").mkdir()
    (plugin / "inner" / "code").write_text("own")
    entries = walk_module.walk(plugin)
    assert [next(entries).path, next(entries).path] == ["", "inner"]
    (plugin / "inner").rename(plugin / "moved")
    (plugin / "inner").symlink_to(tmp_path / "private")
    entry = next(entries)
    with open(entry.open(), "rb") as file:
        assert (entry.path, file.read()) == ("inner/code", b"own")
    entries.close()


@pytest.mark.parametrize("become", ["shorter", "link", "fifo", "gone"])
def test_a_file_that_changes_while_it_is_read(plugin: Path, monkeypatch: pytest.MonkeyPatch, become: str) -> None:
    main = plugin / "main.py"
    real = walk_module.Entry.open

    def change(entry: walk_module.Entry) -> int:
        if entry.path == "main.py":
            main.unlink()
            if become == "shorter":
                main.write_text("")
            elif become == "link":
                main.symlink_to("/etc/passwd")
            elif become == "fifo":
                os.mkfifo(main)
        return real(entry)

    monkeypatch.setattr(walk_module.Entry, "open", change)
    for read in (find_digest, lambda folder: write_archive(folder, io.BytesIO())):
        main.unlink(missing_ok=True)
        main.write_text("print()\n")
        with pytest.raises(ManifestError, match="its folder cannot be"):
            read(plugin)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="its folder cannot be read: No such file"):
        find_digest(tmp_path / "none")
