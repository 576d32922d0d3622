"""Packing a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.names import PackageRefused
from plugvisor.installer.unpack import unpack
from plugvisor.plugins.packing import pack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = '[plugin]\nid = "echo"\n'


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files, and the folders that they are in."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return write_files(tmp_path / "echo", {"plugin.toml": MANIFEST, "main.py": "print()\n"})


def pack_names(plugin: Path) -> list[str]:
    """What is in the package of a folder."""
    file = plugin.parent / "out.zip"
    pack(plugin, file)
    with zipfile.ZipFile(file) as archive:
        return archive.namelist()


def test_a_package_unpacks_to_what_was_packed(plugin: Path, tmp_path: Path) -> None:
    write_files(plugin, {"bin/tool": "#!/bin/sh\n", "插件.txt": "名", "empty": ""})
    (plugin / "bin" / "tool").chmod(0o777)
    (plugin / "link").symlink_to("bin/tool")
    packed = pack(plugin, tmp_path / "out.zip")
    (tmp_path / "again").mkdir()
    with (tmp_path / "out.zip").open("rb") as file:
        summary = unpack(file.fileno(), str(tmp_path / "again"))
    assert (summary.entries, summary.size_bytes) == (packed.entries, packed.size_bytes)
    assert packed.manifest == summary.manifest == MANIFEST.encode()
    content = (tmp_path / "out.zip").read_bytes()
    assert (packed.sha256, packed.package_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    subprocess.run(["diff", "-r", "--no-dereference", plugin, tmp_path / "again"], check=True)
    assert (tmp_path / "again" / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "again" / "main.py").stat().st_mode & 0o777 == 0o644


def test_a_package_is_the_same_each_time(plugin: Path, tmp_path: Path) -> None:
    """Whatever the times, the modes, the order on disk and the place of the files, and what is left out of them."""
    write_files(plugin, {"b/one.py": "1", "a/two.py": "2", "b.py": "3"})
    first = pack(plugin, tmp_path / "first.zip")
    other = tmp_path / "elsewhere" / "copy"
    other.mkdir(parents=True)
    for name in ("b.py", "b/one.py", "main.py", "plugin.toml", "a/two.py"):
        write_files(other, {name: (plugin / name).read_text()})
        os.utime(other / name, (1, 1))
        (other / name).chmod(0o600)
    write_files(other, {"__pycache__/main.pyc": "", ".git/config": "", "b/__pycache__/one.pyc": ""})
    (other / "empty").mkdir()
    second = pack(other, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    assert first == second


def test_what_no_package_needs_is_left_out(plugin: Path) -> None:
    names = [".git/HEAD", "deep/.git/HEAD", ".hg/store", ".svn/entries", ".venv/bin/python", "venv/bin/python"]
    names += ["__pycache__/main.cpython-311.pyc", "deep/old.pyc", ".DS_Store", ".mypy_cache/x", ".pytest_cache/x"]
    kept = ["deep/kept.py", "node_modules/kept/index.js", ".gitignore", "venv.py"]
    write_files(plugin, dict.fromkeys([*names, *kept], "x"))
    assert pack_names(plugin) == sorted([*kept, "main.py", "plugin.toml"])


def test_the_file_that_is_written_is_not_packed(plugin: Path) -> None:
    """The second time it is there already."""
    for _ in range(2):
        pack(plugin, plugin / "echo.zip")
        with zipfile.ZipFile(plugin / "echo.zip") as archive:
            assert archive.namelist() == ["main.py", "plugin.toml"]
    assert sorted(os.listdir(plugin)) == ["echo.zip", "main.py", "plugin.toml"]


# -- .plugvisorignore

TREE = [
    *("a.log", "keep.log", "deep/a.log", "deep/keep.log", "build/x", "deep/build/x", "build.py", "docs/a.md"),
    *("docs/deep/b.md", "docs/deep/c.txt", "one/two/three/x", "one/x", "#hash", "!bang", "space ", "[b]", "b", "é.log"),
    *("tests/test_a.py", "tests/data/big", "x1", "x2", "xa", "star*", "starry", "vendor/keep/y", "vendor/z"),
]
IGNORE_FILES = {
    "suffix": "*.log\n",
    "negation": "*.log\n!keep.log\n",
    "the last one counts": "!keep.log\n*.log\n",
    "folders only": "build/\n",
    "anchored": "/build\n/a.log\n",
    "anchored by a slash inside": "deep/a.log\ndocs/deep/\n",
    "two stars in front": "**/x\n",
    "two stars behind": "docs/**\n",
    "two stars between": "one/**/x\n",
    "one star is one level": "docs/*.md\none/*/x\n",
    "classes": "x[0-9]\n",
    "classes, negated": "x[!0-9]\n",
    "question mark": "x?\n",
    "comments, empty lines": "# *.py\n\n   \n*.md\n",
    "escapes": "\\#hash\n\\!bang\nstar\\*\n",
    "trailing space": "b   \nspace\\ \n",
    "brackets": "[[]b]\n",
    "nothing in an excluded folder comes back": "vendor/\n!vendor/keep/\n!vendor/keep/y\n",
    "but beside it": "vendor/*\n!vendor/keep/\n",
    "windows line ends": "*.log\r\nbuild/\r\n",
    "everything but": "/*\n!/plugin.toml\n!/docs\n",
    "outside ASCII": "é*\n",
}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
@pytest.mark.parametrize("name", IGNORE_FILES)
def test_patterns_mean_what_they_mean_to_git(name: str, plugin: Path) -> None:
    write_files(plugin, dict.fromkeys(TREE, "x"))
    (plugin / ".plugvisorignore").write_bytes(IGNORE_FILES[name].encode())
    subprocess.run(["git", "init", "-q"], cwd=plugin, check=True)
    command = ["git", "ls-files", "-z", "--others", "--exclude-from=.plugvisorignore"]
    listed = subprocess.run(command, cwd=plugin, check=True, capture_output=True, text=True).stdout
    expected = sorted(listed.split("\0")[:-1])
    assert "plugin.toml" in expected
    assert len(expected) < len(TREE) + 3, "the patterns must leave something out"
    assert pack_names(plugin) == expected


@pytest.mark.parametrize("content", [b"\xff\n", b"!\n"])
def test_an_ignore_file_that_cannot_be_read_is_named(content: bytes, plugin: Path) -> None:
    (plugin / ".plugvisorignore").write_bytes(content)
    with pytest.raises(PackageRefused, match=r"cannot read \.plugvisorignore") as refusal:
        pack_names(plugin)
    assert refusal.value.entry == ".plugvisorignore"


# -- what is refused


def add_socket(folder: Path) -> None:
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as listener:  # its path may be too long
        listener.bind("socket")


REFUSED = {
    "socket": add_socket,
    "fifo": lambda folder: os.mkfifo(folder / "fifo"),
    "out": lambda folder: (folder / "out").symlink_to("../elsewhere"),
    "absolute": lambda folder: (folder / "absolute").symlink_to(folder / "main.py"),
    "dangling": lambda folder: (folder / "dangling").symlink_to("nothing"),
    "to-ignored": lambda folder: [
        write_files(folder, {".venv/x": ""}),
        (folder / "to-ignored").symlink_to(".venv/x"),
    ],
    "back\\slash": lambda folder: (folder / "back\\slash").touch(),
    "new\\nline": lambda folder: (folder / "new\nline").touch(),
    "not-utf8-\\xff": lambda folder: open(os.fsencode(folder) + b"/not-utf8-\xff", "w").close(),
    "same": lambda folder: [(folder / "SAME").touch(), (folder / "same").touch()],
    "plugin.toml": lambda folder: [
        (folder / "plugin.toml").rename(folder / "real.toml"),
        (folder / "plugin.toml").symlink_to("real.toml"),
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_not_be_installed_is_not_packed(name: str, plugin: Path, tmp_path: Path) -> None:
    REFUSED[name](plugin)
    with pytest.raises(PackageRefused) as refusal:
        pack(plugin, tmp_path / "out.zip")
    assert refusal.value.entry == name
    assert name in refusal.value.message
    assert os.listdir(tmp_path) == ["echo"], "nothing is left, not even a part"


def test_a_folder_without_a_manifest_is_not_packed(plugin: Path, tmp_path: Path) -> None:
    (plugin / "plugin.toml").unlink()
    (tmp_path / "out.zip").write_text("an earlier package")
    with pytest.raises(PackageRefused, match=r"no plugin\.toml"):
        pack(plugin, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_text() == "an earlier package"


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pack(tmp_path / "nothing", tmp_path / "out.zip")
