"""Packages as they arrive: files without a name, bounded in number and size."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import BodyTooLarge, ChecksumMismatch, StorageFull, TooManyOperations
from plugvisor.manager.installation import uploads as module
from plugvisor.manager.installation.uploads import MOST_PACKAGES, MOST_UPLOADS, Uploads

from tests.helpers.scenarios import run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

DATA = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(DATA).hexdigest()


def run(folder: Path, scenario: Callable[[Uploads], Awaitable[None]], most_bytes: int = 10_000_000) -> None:
    """Run a scenario, after which no descriptor is open that was not before."""
    before = set(os.listdir("/proc/self/fd"))

    async def opened() -> None:
        uploads = Uploads(folder / "uploads", most_bytes)
        await uploads.open()
        await scenario(uploads)
        assert os.listdir(folder / "uploads") == []
        assert not _find_open(folder)

    run_scenario(opened())
    assert set(os.listdir("/proc/self/fd")) <= before


def _find_open(folder: Path) -> list[str]:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.lexists(link) and str(folder) in os.readlink(link)]


def test_a_package_is_what_has_arrived_and_can_only_be_read(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        async with await uploads.begin() as upload:
            for start in range(0, len(DATA), 10_000):
                await upload.write(DATA[start : start + 10_000])
            package = await upload.finish("echo.zip", DIGEST.upper())
        assert (package.sha256, package.source) == (DIGEST, "echo.zip")
        assert os.pread(package.descriptor, len(DATA) + 1, 0) == DATA
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(package.descriptor, b"x")
        package.close()
        package.close()

    run(tmp_path, scenario)


def test_another_package_than_was_meant_is_removed(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        async with await uploads.begin() as upload:
            await upload.write(DATA)
            with pytest.raises(ChecksumMismatch, match=DIGEST):
                await upload.finish("", "0" * 64)

    run(tmp_path, scenario)


def test_a_package_that_is_too_large(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        async with await uploads.begin() as upload:
            await upload.write(DATA)
            with pytest.raises(BodyTooLarge, match="may have 2 MB"):
                await upload.write(DATA)

    run(tmp_path, scenario, most_bytes=2_000_000)


def test_only_so_many_arrive_at_once(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        under_way = [await uploads.begin() for _ in range(MOST_UPLOADS)]
        with pytest.raises(TooManyOperations):
            await uploads.begin()
        async with under_way.pop():
            pass
        async with await uploads.begin():
            pass
        package = await under_way.pop().finish("", None)
        async with await uploads.begin():
            pass
        package.close()
        for upload in under_way:
            async with upload:
                pass

    run(tmp_path, scenario)


def test_what_an_earlier_run_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "uploads" / "folder").mkdir(parents=True)
    (tmp_path / "uploads" / "file").write_text("left")

    async def scenario(_uploads: Uploads) -> None:
        assert (tmp_path / "uploads").stat().st_mode & 0o777 == 0o700

    run(tmp_path, scenario)


def test_a_folder_that_somebody_has_removed_is_made_again(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        (tmp_path / "uploads").rmdir()
        async with await uploads.begin() as upload:
            await upload.write(DATA)
        assert (tmp_path / "uploads").stat().st_mode & 0o777 == 0o700

    run(tmp_path, scenario)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_descriptor: int, _data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    async def scenario(uploads: Uploads) -> None:
        async with await uploads.begin() as upload:
            with monkeypatch.context() as patch:
                patch.setattr(module.os, "write", fail)
                with pytest.raises(StorageFull, match="nothing was changed") as caught:
                    await upload.write(DATA)
            assert str(tmp_path) not in str(caught.value)

    run(tmp_path, scenario)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        (tmp_path / "uploads").rmdir()
        (tmp_path / "uploads").write_text("in its place")
        for _ in range(MOST_UPLOADS + 1):
            with pytest.raises(StorageFull, match="cannot be stored"):
                await uploads.begin()
        (tmp_path / "uploads").unlink()
        async with await uploads.begin():  # those that have failed count no more
            pass

    run(tmp_path, scenario)


def test_packages_that_wait_are_bounded(tmp_path: Path) -> None:
    async def scenario(uploads: Uploads) -> None:
        packages = []
        for _ in range(MOST_PACKAGES):
            async with await uploads.begin() as upload:
                await upload.write(DATA)
                packages.append(await upload.finish("echo.zip", None))
        with pytest.raises(TooManyOperations, match="8 packages wait to be unpacked"):
            await uploads.begin()
        packages.pop().close()
        async with await uploads.begin() as upload:
            await upload.write(DATA)  # and is given up
        async with await uploads.begin() as upload:
            packages.append(await upload.finish("echo.zip", None))
        with pytest.raises(TooManyOperations):
            await uploads.begin()
        for package in packages:
            package.close()
        async with await uploads.begin():
            pass

    run(tmp_path, scenario)
