"""Which files of a folder are watched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.manager.watch import rules as module
from plugvisor.manager.watch.rules import MOST_FOLDERS, Rules
from plugvisor.models.lifecycle import Watch

if TYPE_CHECKING:
    from pathlib import Path


def make(root: Path, *paths: str, ignore: tuple[str, ...] = (), excluded: tuple[str, ...] = ()) -> Rules:
    return Rules.make(str(root), Watch(paths or (".",), ignore), excluded)


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


@pytest.mark.parametrize(
    ("name", "is_watched"),
    [
        ("main.py", True),
        ("src/a.py", True),
        ("src/deep/a.py", True),
        ("plugin.toml", True),
        ("database/a", True),
        ("src/data/a", True),
        ("data/a", False),
        (".git/HEAD", False),
        ("node_modules/a/b.js", False),
        ("src/__pycache__/a.pyc", False),
        (".venv/bin/python", False),
        ("a.log", False),
        ("a.log.1", False),
        ("a.json", False),
        ("keep.json", True),
        (".main.py.swp", False),
        ("main.py~", False),
        (".#main.py", False),
        ("#main.py#", False),
        ("4913", False),
        ("own/state.db", False),
        ("../other/main.py", False),
        ("../plugin.toml", False),
    ],
)
def test_files(tmp_path: Path, name: str, is_watched: bool) -> None:
    rules = make(tmp_path, ignore=("*.json", "!keep.json"), excluded=(f"{tmp_path}/own",))
    assert rules.covers(os.path.normpath(tmp_path / name)) == is_watched


def test_single_paths(tmp_path: Path) -> None:
    write(tmp_path, "main.py", "other.py", "src/a.py", "src/deep/b.py", "srcs/c.py", "plugin.toml")
    rules = make(tmp_path, "main.py", "./src/")
    assert rules.list_files() == {
        f"{tmp_path}/{name}" for name in ("main.py", "src/a.py", "src/deep/b.py", "plugin.toml")
    }
    assert set(rules.list_folders()) == {str(tmp_path), f"{tmp_path}/src", f"{tmp_path}/src/deep"}


def test_what_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "src/a.py")
    assert set(make(tmp_path, "src/new/deep").list_folders()) == {str(tmp_path), f"{tmp_path}/src"}
    assert make(tmp_path / "gone").list_folders() == []


def test_ignored_folders_are_not_entered(tmp_path: Path) -> None:
    write(tmp_path, "node_modules/a/b.js", "data/x", "src/a.py", "build/out/x")
    folders = make(tmp_path, ignore=("/build/",)).list_folders()
    assert set(folders) == {str(tmp_path), f"{tmp_path}/src"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "root/src/a.py", "elsewhere/b.py")
    root = tmp_path / "root"
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "inside").symlink_to(root / "src")
    assert set(make(root).list_folders()) == {str(root), f"{root}/src"}
    assert make(root, "out", "src").list_outside() == ["out"]
    assert set(make(root, "out").list_folders()) == {str(root)}
    assert make(root, "inside").list_outside() == []


def test_the_number_of_folders_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOLDERS", 10)
    write(tmp_path, *(f"{number}/a" for number in range(30)))
    assert len(make(tmp_path).list_folders()) == 11
    assert MOST_FOLDERS == 10_000


def test_lines_that_are_no_patterns_are_ignored(tmp_path: Path) -> None:
    rules = make(tmp_path, ignore=("!", "\\", "# a comment", "", "*.json"))
    assert rules.covers(f"{tmp_path}/main.py")
    assert not rules.covers(f"{tmp_path}/a.json")
