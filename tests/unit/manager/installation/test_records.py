"""What is installed, as anybody may have written it; and whether anything can be installed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import NotInstalled
from plugvisor.layout import LARGEST_RECORD_BYTES
from plugvisor.manager.installation.records import (
    Found,
    describe_versions,
    find_installed,
    find_record,
    read_record,
)
from plugvisor.manager.installation.site import find_obstacle
from plugvisor.users import User, Users

if TYPE_CHECKING:
    from pathlib import Path

VERSION = {
    "version": "1.0",
    "sha256": "a" * 64,
    "source": "echo.zip",
    "installed_at": 1e9,
    "installed_by": "ada",
}
RECORD = {"id": "echo", "current": "1.0-aaaaaaaaaaaa", "versions": {"1.0-aaaaaaaaaaaa": VERSION}}


def write(folder: Path, record: Any, plugin_id: str = "echo") -> Path:
    """Write a record; a text as it is."""
    path = folder / plugin_id / "installed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return path


def test_a_record_is_read_whatever_else_is_in_it(tmp_path: Path) -> None:
    write(tmp_path, {**RECORD, "before": {"anything": 1}})
    record = find_record(tmp_path, "echo")
    assert record.current == "1.0-aaaaaaaaaaaa"
    assert find_installed(tmp_path, ["nobody", "echo"], "a" * 64) == "echo"
    assert find_installed(tmp_path, ["echo"], "b" * 64) is None
    [version] = describe_versions("echo", record).versions
    assert (version.version, version.installed_by, version.current) == ("1.0", "ada", True)


def test_what_was_put_there_by_hand_has_no_record(tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    assert read_record(tmp_path, "echo") == (True, None)
    assert read_record(tmp_path, "nobody") == (False, None)
    with pytest.raises(NotInstalled, match="by hand"):
        find_record(tmp_path, "echo")
    assert describe_versions("echo", None).installed is False


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "[]",
        "null",
        '{"id": 5}',
        json.dumps({**RECORD, "id": "other"}),
        json.dumps({**RECORD, "current": "../../other"}),
        json.dumps({**RECORD, "current": ".hidden"}),
        json.dumps({**RECORD, "versions": {"../x": VERSION}}),
        json.dumps({**RECORD, "versions": {"x": {**VERSION, "sha256": "A"}}}),
        json.dumps({**RECORD, "versions": {"x": {**VERSION, "source": "x" * 201}}}),
        json.dumps({**RECORD, "versions": {"x": {**VERSION, "installed_at": "now"}}}),
        '{"id": "echo", "versions": ' + "[" * 5000,
        f'{{"id": "echo", "unknown": {"[" * 5000}{"]" * 5000}}}',
        json.dumps(RECORD) + " " * LARGEST_RECORD_BYTES,
    ],
)
def test_a_record_that_cannot_be_used_is_an_error(tmp_path: Path, record: str) -> None:
    write(tmp_path, record)
    with pytest.raises(NotInstalled, match=r"its installed\.json cannot be used") as caught:
        find_record(tmp_path, "echo")
    assert str(tmp_path) not in str(caught.value)
    assert find_installed(tmp_path, ["echo"], "a" * 64) is None


@pytest.mark.parametrize("installed_at", [-5.0, 1e300, 253402300800.0])
def test_any_time_can_be_shown(tmp_path: Path, installed_at: float) -> None:
    write(tmp_path, {**RECORD, "versions": {"x": {**VERSION, "installed_at": installed_at}}})
    assert describe_versions("echo", find_record(tmp_path, "echo")).versions[0].installed_at


@pytest.mark.parametrize("plugin_id", ["..", ".", ".staging", "a/b", "a\0", "a\n", "", "x" * 65])
def test_what_is_no_id_is_not_there(tmp_path: Path, plugin_id: str) -> None:
    """Not even if it leads to a record."""
    install_dir = tmp_path / "plugins"
    install_dir.mkdir()
    for folder in (tmp_path, install_dir):
        (folder / "installed.json").write_text(json.dumps(RECORD | {"id": plugin_id}))
    assert read_record(install_dir, plugin_id) == Found(is_there=False, record=None)


def test_no_link_is_followed(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "..", RECORD, tmp_path.name + "-elsewhere")
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "installed.json").symlink_to(elsewhere)
    with pytest.raises(NotInstalled):
        find_record(tmp_path, "echo")
    (tmp_path / "other").symlink_to(elsewhere.parent)
    assert read_record(tmp_path, "other") == (True, None)


def test_nothing_that_is_no_file_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    os.mkfifo(tmp_path / "echo" / "installed.json")
    with pytest.raises(NotInstalled):
        find_record(tmp_path, "echo")


# -- whether anything can be installed


def make_users(uid: int, gid: int) -> Users:
    """Users of which the plugins' has these numbers."""
    return Users(User("service", 12345, 12345, "/"), User("nobody", uid, gid, "/"))


def test_the_folder_must_be_there_and_writable(tmp_path: Path) -> None:
    assert find_obstacle(tmp_path, None) == ""
    assert "No such file" in find_obstacle(tmp_path / "nothing", None)
    (tmp_path / "file").touch()
    assert find_obstacle(tmp_path / "file", None) == "the install folder is no folder"


@pytest.mark.parametrize(
    ("mode", "uid", "is_on"), [(0o755, 0, True), (0o755, 1, False), (0o777, 1, True), (0o577, 0, False)]
)
def test_it_must_be_writable_for_the_plugins_user(tmp_path: Path, mode: int, uid: int, is_on: bool) -> None:
    tmp_path.chmod(mode)
    owner = tmp_path.stat().st_uid
    obstacle = find_obstacle(tmp_path, make_users(owner + uid, 54321))
    assert (not obstacle) is is_on, obstacle
