"""The check of an environment's files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.installed_files import find_damaged_packages

from tests.helpers.wheels import unpack_wheel, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Of an environment with one package, `lib`."""
    folder = tmp_path / "[env]" / "lib" / "python3.11" / "site-packages"
    unpack_wheel(write_wheel(tmp_path, "lib", "1.0"), folder)
    return folder


def find_damaged(site_packages: Path) -> list[str]:
    return find_damaged_packages(str(site_packages.parents[2]), lambda: None)


def write_record(site_packages: Path, record: bytes) -> None:
    site_packages.joinpath("lib-1.0.dist-info/RECORD").write_bytes(record)


def test_what_was_installed_is_whole(site_packages: Path) -> None:
    assert find_damaged(site_packages) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b"1", b"2")),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "changed", "missing", "link", "pipe", "folder"],
)
def test_what_is_another_file_is_found(site_packages: Path, damage: Callable[[Path], object]) -> None:
    damage(site_packages / "lib.py")
    assert find_damaged(site_packages) == ["lib"]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff\xfe",
        b'"',
        b"lib.py",
        b"lib.py,sha256=x,1,2,3",
        b"lib.py,md5=x,1",
        b"lib.py,,",
        b"a\0b,sha256=x,1",
        b"/etc/hosts,sha256=x,1",
        b"../../../../../../../../../../etc/hosts,sha256=x,1",
        b"lib.pyc,sha256=x,1",
        b"x" * 200_000,
    ],
)
def test_what_is_not_listed_is_not_judged(site_packages: Path, record: bytes) -> None:
    write_record(site_packages, record)
    assert find_damaged(site_packages) == []


def test_a_name_that_is_none_is_not_reported(site_packages: Path) -> None:
    """It would become an argument."""
    info = site_packages / "lib-1.0.dist-info"
    info.rename(site_packages / "--all-1.0.dist-info")
    site_packages.joinpath("lib.py").unlink()
    assert find_damaged(site_packages) == []


def test_the_check_ends_when_its_time_is_over(site_packages: Path) -> None:
    def check_time() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        find_damaged_packages(str(site_packages.parents[2]), check_time)
