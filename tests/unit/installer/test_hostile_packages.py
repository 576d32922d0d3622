"""Hostile packages: each is refused, with the name of the entry and why, and touches nothing outside its folder."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
import tracemalloc
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.installer.archives import entries
from plugvisor.installer.archives.entries import find_size_limit
from plugvisor.installer.names import PackageRefused
from plugvisor.installer.unpack import check, unpack

from tests.helpers.hostile_packages import HOSTILE, bombs
from tests.helpers.hostile_packages.case import MANIFEST
from tests.helpers.packages import Files, Kind, Link, make_package

KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_MEMORY_BYTES = 16 << 20


class Surroundings:
    """A folder to unpack into, in others that must stay as they are."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.folder = folder / "staging" / "one"
        self.folder.mkdir(parents=True)
        (folder / "escaped").write_text("outside")
        (folder / "staging" / "neighbour").mkdir()
        (folder / "staging" / "neighbour" / "escaped").write_text("outside")
        self.package = folder / "package"

    def write_package(self, data: bytes) -> None:
        self.package.write_bytes(data)
        self.before = self.look()

    def look(self) -> dict[str, tuple[int, ...]]:
        """Everything outside of the folder, with what changes when somebody touches it."""
        found = {}
        for directory, folders, files in os.walk(self.root):
            if Path(directory) == self.folder:
                folders.clear()
                continue
            for name in (*folders, *files, "."):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                found[path] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink)
        return {path: status for path, status in found.items() if not path.startswith(str(self.folder))}

    def check_untouched(self) -> None:
        assert self.look() == self.before

    def empty(self) -> None:
        """Make the folder anew."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.before = self.look()

    def refuse(self) -> PackageRefused:
        """Unpack the package, which must be refused; checking it alone must say the same."""
        with self.package.open("rb") as file:
            with pytest.raises(PackageRefused) as refusal:
                unpack(file.fileno(), str(self.folder))
            with pytest.raises(PackageRefused) as of_check:
                check(file.fileno())
        self.check_untouched()
        assert (of_check.value.message, of_check.value.entry) == (refusal.value.message, refusal.value.entry)
        return refusal.value


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def test_there_are_many_of_them() -> None:
    assert len(HOSTILE) >= 100


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_package_is_refused(name: str, surroundings: Surroundings) -> None:
    case = HOSTILE[name]
    surroundings.write_package(case.make())
    refusal = surroundings.refuse()
    assert case.what in refusal.message
    assert refusal.entry == case.entry
    assert refusal.message.isprintable()
    assert len(refusal.entry) <= 200
    assert len(refusal.message) < 700
    if case.entry:
        assert f"'{case.entry}'" in refusal.message


@pytest.mark.parametrize("name", bombs.CASES)
def test_a_bomb_takes_little_memory_and_disk(name: str, surroundings: Surroundings) -> None:
    surroundings.write_package(bombs.CASES[name].make())
    tracemalloc.start()
    try:
        surroundings.refuse()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MOST_MEMORY_BYTES
    limit = find_size_limit(surroundings.package.stat().st_size)
    assert sum(path.lstat().st_size for path in surroundings.folder.rglob("*") if path.is_file()) <= limit


def test_contents_have_a_limit_of_their_own(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the package is; 1 GiB takes too long for a test."""
    monkeypatch.setattr(entries, "LARGEST_PACKAGE_BYTES", 1 << 20)
    for kind in KINDS:
        large = os.urandom(1 << 20)
        surroundings.write_package(make_package({"plugin.toml": MANIFEST, "large": large}, kind))
        assert "makes the contents too large: " in surroundings.refuse().message
        surroundings.empty()


# -- damage


@pytest.fixture
def whole(tmp_path: Path) -> dict[Kind, bytes]:
    """A package of each kind, of some size."""
    source = random.Random(1)
    files: Files = {
        "plugin.toml": MANIFEST,
        "folder/": b"",
        "folder/link": Link("../text"),
        "text": b"".join(b"%d\n" % number for number in range(300)),
        "random": source.randbytes(700),
        "last": b"x",
    }
    packages = {kind: make_package(files, kind, top="echo") for kind in KINDS}
    for package in packages.values():
        (tmp_path / "package").write_bytes(package)
        with (tmp_path / "package").open("rb") as file:
            assert check(file.fileno()).entries == len(files)
    return packages


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_that_is_cut_short_is_refused(
    kind: Kind, whole: dict[Kind, bytes], surroundings: Surroundings
) -> None:
    """At 200 offsets, and at each of the last 60."""
    package = whole[kind]
    offsets = {*range(0, len(package), max(1, len(package) // 200)), *range(len(package) - 60, len(package))}
    assert len(offsets) > 200
    for offset in sorted(offsets):
        surroundings.write_package(package[:offset])
        assert surroundings.refuse().message
        surroundings.empty()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_package_with_wrong_bytes_is_refused_or_harmless(
    kind: Kind, whole: dict[Kind, bytes], surroundings: Surroundings, data: st.DataObject
) -> None:
    """A time or an owner may be wrong; what is unpacked is as it was, or the package is refused."""
    package = bytearray(whole[kind])
    if kind == "tar.gz":
        package = bytearray(gzip.decompress(package))  # else nothing but its checksum is tried
    places = st.integers(0, len(package) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        package[place] = value
    surroundings.write_package(bytes(package) if kind == "zip" else gzip.compress(package))
    surroundings.empty()
    with surroundings.package.open("rb") as file:
        try:
            summary = unpack(file.fileno(), str(surroundings.folder))
        except PackageRefused:
            pass
        else:
            assert summary == check(file.fileno())
            for link in (path for path in surroundings.folder.rglob("*") if path.is_symlink()):
                assert link.resolve(strict=True).is_relative_to(surroundings.folder.resolve())
    surroundings.check_untouched()


# -- what others do meanwhile


def test_a_link_that_somebody_puts_in_the_way_is_not_followed(surroundings: Surroundings) -> None:
    """Every plugin runs as the user who unpacks."""
    outside = surroundings.root / "staging" / "neighbour"
    for kind in KINDS:
        surroundings.write_package(make_package({"plugin.toml": MANIFEST, "folder/escaped": b"inside"}, kind))
        (surroundings.folder / "folder").symlink_to(outside)
        with surroundings.package.open("rb") as file, pytest.raises(OSError, match="folder"):
            unpack(file.fileno(), str(surroundings.folder))
        surroundings.check_untouched()
        surroundings.empty()
    (surroundings.folder / "plugin.toml").symlink_to(outside / "escaped")
    with surroundings.package.open("rb") as file, pytest.raises(FileExistsError):
        unpack(file.fileno(), str(surroundings.folder))
    surroundings.check_untouched()


def test_no_descriptor_is_left_open(surroundings: Surroundings) -> None:
    files: Files = {"plugin.toml": MANIFEST, "a/b/c/d": b"", "x/y/z": b""}
    before = sorted(os.listdir("/dev/fd"))
    for package in (make_package(files), make_package({**files, "a/../x": b""}), make_package(files, "tar.gz")[:-9]):
        surroundings.write_package(package)
        with surroundings.package.open("rb") as file, contextlib.suppress(PackageRefused):
            unpack(file.fileno(), str(surroundings.folder))
        surroundings.empty()
    assert sorted(os.listdir("/dev/fd")) == before
