"""What the worker refuses and leaves alone: folders that were put there by hand, and what plugins put in the way."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.folder import staging
from plugvisor.installer.folder.install_folder import InstallFolder
from plugvisor.installer.folder.recovery import recover
from plugvisor.installer.folder.trees import remove_tree
from plugvisor.installer.protocol import Refused

from tests.helpers.install_folders import make_record, make_version, name_version, place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_is_stored")
ONE, TWO = name_version(1), name_version(2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "installed"


@pytest.fixture
def folder(root: Path) -> InstallFolder:
    """An install folder in which version 1 of `echo` is current."""
    made = InstallFolder(str(root))
    place(made, 1)
    made.swap("echo", ONE, make_record(1))
    return made


def list_tree(path: Path) -> list[tuple[str, int, str]]:
    """All that is in a folder: name, mode and content."""
    found = []
    for each in sorted(path.rglob("*")):
        mode = each.lstat().st_mode
        text = os.readlink(each) if stat.S_ISLNK(mode) else "" if each.is_dir() else each.read_text()
        found.append((str(each.relative_to(path)), mode, text))
    return found


def list_changes(folder: InstallFolder) -> dict[str, Callable[[], object]]:
    """Every request that changes a plugin's folder."""
    return {
        "place": lambda: place(folder, 2),
        "find": lambda: folder.find_version("echo", ONE),
        "seal": lambda: folder.seal("echo", ONE),
        "swap": lambda: folder.swap("echo", ONE, make_record(1)),
        "record": lambda: folder.write_record("echo", make_record(1)),
        "prune": lambda: folder.prune("echo", []),
        "remove": lambda: folder.remove("echo", make_record(None, 1), purge=False),
        "purge": lambda: folder.remove("echo", make_record(None, 1), purge=True),
    }


CHANGES = ("place", "find", "seal", "swap", "record", "prune", "remove", "purge")


# -- what an installation makes


def test_modes(folder: InstallFolder, root: Path) -> None:
    environment = root / "echo" / "versions" / TWO / ".venv"
    name, path = folder.stage()
    staged = root / os.path.relpath(path, root)
    make_version(staged, 2)
    (staged / "run").touch(0o755)
    (staged / ".venv").mkdir()
    (staged / ".venv" / "shared").touch(0o644)
    os.symlink("../../../../installed.json", staged / "link")
    folder.place(name, "echo", TWO)
    folder.seal("echo", TWO)
    modes = {path: stat.S_IMODE(mode) for path, mode, _ in list_tree(root / "echo") if not stat.S_ISLNK(mode)}
    version = f"versions/{TWO}"
    assert modes["installed.json"] == 0o644
    assert (modes["versions"], modes["data"]) == (0o755, 0o700)
    assert (modes[version], modes[f"{version}/deep"], modes[f"{version}/deep/er/file"]) == (0o555, 0o555, 0o444)
    assert modes[f"{version}/run"] == 0o555
    assert stat.S_IMODE((environment / "shared").stat().st_mode) == 0o644  # it may be a link to what others share


def test_the_current_version_is_never_pruned(folder: InstallFolder, root: Path) -> None:
    folder.prune("echo", [])
    assert os.listdir(root / "echo" / "versions") == [ONE]


def test_a_version_that_is_installed_is_not_placed_again(folder: InstallFolder, root: Path) -> None:
    before = list_tree(root / "echo")
    with pytest.raises(Refused, match="installed already"):
        place(folder, 1)
    folder.close()
    assert list_tree(root / "echo") == before


def test_a_damaged_version_is_placed_again(folder: InstallFolder, root: Path) -> None:
    version = root / "echo" / "versions" / ONE
    version.chmod(0o755)
    (version / "plugin.toml").unlink()
    place(folder, 1)
    folder.close()
    assert (version / "plugin.toml").exists()


def test_what_a_worker_that_was_killed_has_placed_is_in_nobodys_way(root: Path) -> None:
    place(InstallFolder(str(root)), 1)
    other = InstallFolder(str(root))
    place(other, 2)
    other.swap("echo", TWO, make_record(2))
    assert os.listdir(root / "echo" / "versions") == [TWO]


def test_what_other_workers_place_is_left(root: Path) -> None:
    one, other = InstallFolder(str(root)), InstallFolder(str(root))
    place(one, 1, "one")
    place(other, 1, "other")
    other.close()
    assert not (root / "other").exists()
    one.swap("one", ONE, make_record(1))
    one.close()
    assert (root / "one" / "current" / "plugin.toml").exists()


# -- what was put there by hand


def put_a_file(plugin: Path) -> None:
    (plugin / "main.py").touch()


def put_data_only(plugin: Path) -> None:
    (plugin / "data").mkdir()
    (plugin / "data" / "mine").touch()


def put_versions_only(plugin: Path) -> None:
    (plugin / "versions" / TWO).mkdir(parents=True)
    (plugin / "versions" / ONE).mkdir()


@pytest.mark.parametrize("put", [put_a_file, put_data_only, put_versions_only])
def test_folders_that_were_put_there_by_hand_are_left_alone(root: Path, put: Callable[[Path], None]) -> None:
    (root / "echo").mkdir(parents=True)
    put(root / "echo")
    folder = InstallFolder(str(root))
    before = list_tree(root / "echo")
    for name in ("place", "remove", "purge"):
        with pytest.raises(Refused, match="put there by hand") as raised:
            list_changes(folder)[name]()
        assert raised.value.code == "not_installed"
    folder.close()
    assert recover(InstallFolder(str(root)), print) == []
    assert list_tree(root / "echo") == before


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_changed_if_something_foreign_is_there(folder: InstallFolder, root: Path, name: str) -> None:
    (root / "echo" / "notes\n.txt").touch()
    before = list_tree(root / "echo")
    with pytest.raises(Refused, match=r"it holds 'notes\\n.txt'") as raised:
        list_changes(folder)[name]()
    assert raised.value.code == "not_installed"
    folder.close()
    assert list_tree(root / "echo") == before


def test_what_is_not_there(folder: InstallFolder, root: Path) -> None:
    place(folder, 1, "other")
    for name in ("find", "seal", "swap", "record", "prune"):
        change = list_changes(folder)[name]
        (root / "echo").rename(root / "moved")
        with pytest.raises(Refused, match="not installed"):
            change()
        (root / "moved").rename(root / "echo")
    with pytest.raises(Refused, match="this version is not there"):
        folder.swap("echo", TWO, make_record(2))
    assert json.loads((root / "echo" / "installed.json").read_text()) == make_record(1)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../echo", ".staging", "x" * 65, "echo\n"])
def test_names_are_single_parts_of_a_path(folder: InstallFolder, root: Path, name: str) -> None:
    before = list_tree(root)
    for change in (
        lambda: folder.find_version(name, ONE),
        lambda: folder.write_record(name, make_record(1)),
        lambda: folder.remove(name, make_record(None), purge=True),
        lambda: folder.place("x", "echo", "../x"),
        lambda: folder.place(name if name != "x" * 65 else "../x", "other", ONE),
        lambda: folder.place("x", name, ONE),
        lambda: folder.seal("echo", "../data"),
    ):
        with pytest.raises(ValueError, match="this is no"):
            change()
    assert list_tree(root) == before


# -- what a plugin puts in the way


def replace_by_link(path: Path, target: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(target)
    if path.with_name("moved").is_dir():
        remove_tree("moved", os.open(path.parent, os.O_RDONLY))
    else:
        path.with_name("moved").unlink()


@pytest.mark.parametrize("what", ["versions", "data", "installed.json", ".", f"versions/{ONE}"])
@pytest.mark.parametrize("name", CHANGES)
def test_no_link_is_followed(folder: InstallFolder, root: Path, tmp_path: Path, name: str, what: str) -> None:
    place(folder, 2)
    folder.close()
    folder = InstallFolder(str(root))
    victim = tmp_path / "victim"
    (victim / ONE).mkdir(parents=True)
    (victim / "installed.json").write_text(json.dumps(make_record(1)))
    (victim / ONE / "plugin.toml").write_text("precious")
    target = victim / "installed.json" if what == "installed.json" else victim
    replace_by_link(root / "echo" / what if what != "." else root / "echo", target)
    before = list_tree(victim)
    with contextlib.suppress(Refused):
        list_changes(folder)[name]()
    with contextlib.suppress(OSError):
        folder.close()
    recover(InstallFolder(str(root)), print)
    assert list_tree(victim) == before


def test_a_current_that_leads_out_is_replaced(folder: InstallFolder, root: Path, tmp_path: Path) -> None:
    current = root / "echo" / "current"
    current.unlink()
    current.symlink_to(tmp_path)
    recover(InstallFolder(str(root)), print)
    assert os.readlink(current) == f"versions/{ONE}"


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"versions": []}', '{"current": "../x"}', "[" * 60_000, "x" * 70_000]
)
def test_a_damaged_record_is_refused(folder: InstallFolder, root: Path, text: str) -> None:
    (root / "echo" / "installed.json").write_text(text)
    before = list_tree(root / "echo")
    for name in ("place", "swap", "remove", "purge"):
        with pytest.raises(Refused, match=r"its installed.json is damaged"):
            list_changes(folder)[name]()
    folder.close()
    assert recover(InstallFolder(str(root)), print) == []
    assert list_tree(root / "echo") == before


@pytest.mark.parametrize("name", [".staging", ".staging/session"])
def test_a_staging_folder_that_is_a_link(root: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    root.mkdir()
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(victim)
    if name == ".staging":
        with pytest.raises(Refused) as raised:
            recover(InstallFolder(str(root)), print)
        assert raised.value.code == "off"
    else:
        recover(InstallFolder(str(root)), print)
        assert not os.listdir(root / ".staging")
    assert os.listdir(victim) == ["precious"]


def test_a_lock_of_somebody_elses_is_not_waited_for_without_an_end(
    folder: InstallFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "OTHERS_SECONDS", 0.05)
    assert not InstallFolder(str(root)).staging.wait_alone()
    folder.release()
    descriptor = os.open(root / ".staging", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(Refused, match="another process holds"):
        InstallFolder(str(root)).stage()
    os.close(descriptor)
    InstallFolder(str(root)).stage()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(Refused) as raised:
        InstallFolder(str(tmp_path))
    assert raised.value.code == "off"


def test_an_install_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match=r"Not a directory|File exists") as raised:
        InstallFolder(str(tmp_path / "file"))
    assert raised.value.code == "off"


def test_a_folder_in_which_nobody_installs_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "plugin.toml").touch()
    folder = InstallFolder(str(tmp_path))
    assert recover(folder, print) == []
    folder.close()
    assert os.listdir(tmp_path) == ["echo"]


# -- removing


def test_a_tree_is_removed_however_deep_and_closed_it_is(tmp_path: Path) -> None:
    parent = os.open(tmp_path, os.O_RDONLY)
    here = os.open(".", os.O_RDONLY)
    try:
        for _ in range(1_200):  # deeper than a path can be long, or Python's stack
            os.mkdir("deep", dir_fd=parent)
            os.close(os.open("file", os.O_CREAT, 0o000, dir_fd=parent))
            inner = os.open("deep", os.O_RDONLY, dir_fd=parent)
            os.symlink("/", "link", dir_fd=inner)
            os.fchmod(parent, 0o755 if parent == here else 0o500)
            os.close(parent)
            parent = inner
    finally:
        os.close(parent)
    tmp_path.chmod(0o755)
    outer = os.open(tmp_path, os.O_RDONLY)
    remove_tree("deep", outer)
    remove_tree("file", outer)
    remove_tree("file", outer)  # which is gone
    os.close(outer)
    os.close(here)
    assert not os.listdir(tmp_path)
