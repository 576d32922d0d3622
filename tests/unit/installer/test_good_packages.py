"""Packages that are accepted: as real programs make them, and at the limits."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.unpack import Summary, check, unpack

from tests.helpers.packages import File, Kind, Link, make_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = '[plugin]\nid = "echo"\n'
LINES = "".join(f"{number}\n" for number in range(20_000))


def unpack_bytes(package: bytes, folder: Path) -> Summary:
    """Unpack a package into a new folder, and see that checking it alone finds the same."""
    path = folder.with_name(f"{folder.name}.package")
    path.write_bytes(package)
    folder.mkdir()
    with path.open("rb") as file:
        summary = unpack(file.fileno(), str(folder))
        assert check(file.fileno()) == summary
    return summary


def describe(folder: Path) -> dict[str, object]:
    """Each path with its content, and what a program must know of its mode."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", oct(mode))
        else:
            found[name] = (oct(mode), path.read_bytes())
    return found


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with all that a package may hold."""
    folder = tmp_path / "source" / "echo"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "plugin.toml").write_text(MANIFEST)
    (folder / "main.py").write_text(LINES)
    (folder / "nothing").touch()
    (folder / "deep" / "er" / "tool").write_text("#!/bin/sh\n")
    (folder / "deep" / "er" / "tool").chmod(0o755)
    (folder / "deep" / ("l" * 80)).mkdir()
    (folder / "deep" / ("l" * 80) / ("o" * 80)).write_text("a name too long for one field of a tar")
    (folder / "插件 é.txt").write_text("名")
    (folder / "link").symlink_to("deep/er/tool")
    (folder / "deep" / "up").symlink_to("../main.py")
    (folder / "deep" / "folder").symlink_to("er")
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.name == "tool" else 0o644)
    return folder


def run(*command: str | Path, cwd: Path) -> bytes:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, timeout=60).stdout


def write_zip_to_a_stream(folder: Path) -> bytes:
    """By Python, which cannot go back to put the sizes in front."""
    stream = io.BufferedWriter(Unseekable())
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink():
                archive.write(path, path.name)
    stream.flush()
    return stream.raw.data  # type: ignore[attr-defined,no-any-return]


class Unseekable(io.RawIOBase):
    data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]


def write_tar(folder: Path, archive_format: int) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz", format=archive_format) as archive:
        archive.add(folder, arcname="echo")
    return output.getvalue()


PROGRAMS: dict[str, Callable[[Path], bytes]] = {
    "zip": lambda f: run("zip", "-qry", "out.zip", f.name, cwd=f.parent) + (f.parent / "out.zip").read_bytes(),
    "zip, no folders": lambda f: run("zip", "-qryD", "../out.zip", ".", cwd=f) + (f.parent / "out.zip").read_bytes(),
    "tar, one folder": lambda f: run("tar", "-cz", f.name, cwd=f.parent),
    "tar, a dot": lambda f: run("tar", "-cz", ".", cwd=f),
    "tar, names": lambda f: run("tar", "-cz", *sorted(os.listdir(f)), cwd=f),
    "tar, ustar": lambda f: run("tar", "-cz", "--format=ustar", f.name, cwd=f.parent),
    "tar, GNU": lambda f: run("tar", "-cz", "--format=gnu", f.name, cwd=f.parent),
    "tar, pax": lambda f: run("tar", "-cz", "--format=pax", f.name, cwd=f.parent),
    "Python, pax": lambda f: write_tar(f, tarfile.PAX_FORMAT),
    "Python, GNU": lambda f: write_tar(f, tarfile.GNU_FORMAT),
    "git, zip": lambda f: git_archive(f, "zip"),
    "git, tar": lambda f: git_archive(f, "tar.gz"),
}


def git_archive(folder: Path, kind: str) -> bytes:
    run("git", "init", "-q", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all", cwd=folder)
    archive = run("git", "archive", f"--format={kind}", "--prefix=echo-1.0/", "HEAD", cwd=folder)
    shutil.rmtree(folder / ".git")
    return archive


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_packs_is_unpacked_as_it_was(program: str, plugin: Path, tmp_path: Path) -> None:
    package = PROGRAMS[program](plugin)
    summary = unpack_bytes(package, tmp_path / "out")
    expected = describe(plugin)
    assert describe(tmp_path / "out") == expected
    assert summary.manifest == MANIFEST.encode()
    assert summary.size_bytes == sum(len(entry[1]) for entry in expected.values() if entry[0] in ("0o644", "0o755"))


@pytest.mark.parametrize("write", [write_zip_to_a_stream, lambda f: run("zip", "-qr", "-", ".", cwd=f)])
def test_a_zip_may_have_been_written_to_a_pipe(write: Callable[[Path], bytes], plugin: Path, tmp_path: Path) -> None:
    for path in list(plugin.rglob("*")):
        if path.is_symlink():
            path.unlink()  # Info-ZIP cannot write a link to a pipe
    unpack_bytes(write(plugin), tmp_path / "out")
    assert (tmp_path / "out" / "main.py").read_text() == LINES


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("top", ["", "echo"])
def test_a_package_may_have_one_folder_around_it(kind: Kind, top: str, tmp_path: Path) -> None:
    files = {"plugin.toml": MANIFEST, "echo/echo": "of the folder's own name", "x/plugin.toml": "another"}
    summary = unpack_bytes(make_package(files, kind, top=top), tmp_path / "out")
    assert summary.manifest == MANIFEST.encode()
    assert sorted(describe(tmp_path / "out")) == ["echo", "echo/echo", "plugin.toml", "x", "x/plugin.toml"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_is_just_allowed_is_unpacked(kind: Kind, tmp_path: Path) -> None:
    """10,000 entries, 64 levels, 255 bytes in a part and 1,024 in a name, 1 MiB of zeros, a manifest of 256 KiB."""
    manifest = MANIFEST.encode().ljust(256 * 1024, b"\n")
    files: dict[str, str | bytes | File | Link] = {
        "plugin.toml": manifest,
        "/".join("d" * 64): "deep",
        "名" * 85: "255 bytes",
        "/".join(["n" * 250, "n" * 250, "n" * 250, "n" * 250, "n" * 20]): "1024 bytes",
        "zeros": bytes((1 << 20) - 2 * len(manifest)),
        "two..dots": "",
        "folder/": "",
        "...": "",
        ".hidden/.venv/x": "only that of the root is ours",
        "C": "no drive",
        "\u200d👩\u200d💻": "joined by what cannot be seen",
    }
    chain = {f"l{number:02}": Link(f"l{number + 1:02}") for number in range(40)}
    files |= {**chain, "l40": "forty links lead here"}
    files |= {f"{number}": "" for number in range(10_000 - len(files))}
    summary = unpack_bytes(make_package(files, kind), tmp_path / "out")
    assert (summary.entries, summary.manifest) == (10_000, manifest)
    assert (tmp_path / "out" / "l00").read_text() == "forty links lead here"


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_modes_are_reduced(kind: Kind, tmp_path: Path) -> None:
    modes = {0o4755: 0o755, 0o2755: 0o755, 0o777: 0o755, 0o700: 0o755, 0o100: 0o755}
    modes |= {0o666: 0o644, 0o600: 0o644, 0o000: 0o644, 0o1644: 0o644, 0o611: 0o644}
    files = {f"{mode:o}": File("x", mode) for mode in modes}
    mask = os.umask(0o077)
    try:
        unpack_bytes(make_package({"plugin.toml": MANIFEST, **files, "folder/x": ""}, kind), tmp_path / "out")
    finally:
        os.umask(mask)
    assert {name: oct(stat.S_IMODE((tmp_path / "out" / name).stat().st_mode)) for name in files} == {
        f"{mode:o}": oct(reduced) for mode, reduced in modes.items()
    }
    assert stat.S_IMODE((tmp_path / "out" / "folder").stat().st_mode) == 0o755


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_macos_adds_is_left_out(kind: Kind, tmp_path: Path) -> None:
    files = {"__MACOSX/echo/._plugin.toml": "", "._echo": "", "echo/plugin.toml": MANIFEST}
    summary = unpack_bytes(make_package(files, kind), tmp_path / "out")
    assert (os.listdir(tmp_path / "out"), summary.entries) == (["plugin.toml"], 1)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_links_inside_are_kept(kind: Kind, tmp_path: Path) -> None:
    """Before what they lead to, to folders, up, around, and by another one."""
    files = {"a/up": Link(".."), "by": Link("a/up/b"), "b": Link("c"), "c": Link("./a/../file"), "here": Link(".")}
    unpack_bytes(make_package({**files, "file": "content", "plugin.toml": MANIFEST}, kind, top="top"), tmp_path / "out")
    assert (tmp_path / "out" / "by").read_text() == "content"
    assert os.readlink(tmp_path / "out" / "c") == "./a/../file"
