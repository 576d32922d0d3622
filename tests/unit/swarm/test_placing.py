"""Folders that come from the swarm, put into an install folder that belongs to the plugins' user."""

from __future__ import annotations

import io
import os
import pwd
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop
from plugvisor.engines.swarm.carriers.placing import place_folder
from plugvisor.engines.swarm.inside.unpack import UnpackError
from plugvisor.users import User

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")
USER = User(NOBODY.pw_name, NOBODY.pw_uid, NOBODY.pw_gid, "/")


@pytest.fixture
def install_folder() -> Iterator[Path]:
    """A folder of the plugins' user; root made those above it, which everyone can enter."""
    with tempfile.TemporaryDirectory(prefix="plugvisor-test-") as folder:
        Path(folder).chmod(0o755)
        installed = Path(folder, "installed")
        installed.mkdir()
        os.chown(installed, USER.uid, USER.gid)
        yield installed


def place(directory: Path, user: User | None, prefix: str = "") -> None:
    """Place a folder in an event loop such as the service's."""
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as entries:
            for name in (prefix, f"{prefix}/plugin.toml".lstrip("/")):
                entry = tarfile.TarInfo(name or ".")
                entry.type = tarfile.REGTYPE if name.endswith("toml") else tarfile.DIRTYPE
                entry.size, entry.mode = (3, 0o644) if entry.isreg() else (0, 0o755)
                entries.addfile(entry, io.BytesIO(b"abc"))
        archive.seek(0)
        uvloop.run(place_folder("web", directory, archive, prefix=prefix, labels={}, user=user))


@needs_root
@pytest.mark.parametrize("prefix", ["", "1.0.0-0123456789ab"])
def test_a_version_belongs_to_the_plugins_user(install_folder: Path, prefix: str) -> None:
    directory = install_folder / "web" / "versions" / "1.0.0-0123456789ab"
    place(directory, USER, prefix)
    assert (directory / "plugin.toml").read_text() == "abc"
    assert {path.lstat().st_uid for path in install_folder.rglob("*")} == {USER.uid}
    assert (install_folder / "web" / "current").resolve() == directory


@needs_root
def test_what_the_plugins_user_may_not_write_is_an_error(install_folder: Path) -> None:
    install_folder.chmod(0o555)
    os.chown(install_folder, 0, 0)
    with pytest.raises(UnpackError, match="Permission denied"):
        place(install_folder / "web", USER)
    assert list(install_folder.iterdir()) == []


def test_without_users_it_is_this_process(tmp_path: Path) -> None:
    place(tmp_path / "web", None)
    assert (tmp_path / "web" / "plugin.toml").read_text() == "abc"
