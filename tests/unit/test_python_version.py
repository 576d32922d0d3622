"""`[plugin_runtime.python]`: the interpreter's version is found without executing it, and compared."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING

import pytest
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.manifest import parse_manifest
from plugvisor.plugins.python_version import PythonVersion, find_conflict, find_python_version

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.models.manifest import Manifest


def make_manifest(version: str) -> Manifest:
    text = f'[plugin]\nid = "a"\ncommand = ["python"]\n[plugin_runtime.python]\nversion = "{version}"\n'
    return parse_manifest(text.encode())


def make_interpreter(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return str(path)


# -- the key


@pytest.mark.parametrize("text", [">=3.12", "==3.11.*", ">=3.11,<3.14", "~=3.12", ">= 3.13.0rc1 , !=3.13.1"])
def test_a_range_is_read(text: str) -> None:
    assert make_manifest(text).python.version == text


@pytest.mark.parametrize("text", ["3.12", "", ">=3.x", "~=3", ">=3.12.*", "python3", ">=3.12;", "$(id)", "^3.12"])
def test_what_is_no_range_is_invalid(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        make_manifest(text)
    assert caught.value == ManifestError("`version` must be a range of versions by PEP 440, such as >=3.12", 5, 1)


# -- finding out


def test_this_interpreter_is_known_exactly() -> None:
    assert find_python_version(sys.executable) == PythonVersion(platform.python_version(), is_exact=True)


def test_an_interpreter_is_known_by_the_name_of_the_file_that_it_is(tmp_path: Path) -> None:
    real = make_interpreter(tmp_path / "lib" / "python3.9")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(real)
    assert find_python_version(str(tmp_path / "bin" / "python")) == PythonVersion("3.9", is_exact=False)


@pytest.mark.parametrize("key", ["version", "version_info"])
def test_an_environment_is_known_by_its_configuration(tmp_path: Path, key: str) -> None:
    python = make_interpreter(tmp_path / "bin" / "python3.9")
    (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\nimplementation = CPython\n{key} = 3.12.4\nprompt = 3\n")
    assert find_python_version(python) == PythonVersion("3.12.4", is_exact=True)


def test_what_cannot_be_told_is_not_made_up(tmp_path: Path) -> None:
    python = make_interpreter(tmp_path / "bin" / "python")
    assert find_python_version(python) is None
    os.mkfifo(tmp_path / "pyvenv.cfg")
    assert find_python_version(python) is None, "nothing is waited for"
    (tmp_path / "pyvenv.cfg").unlink()
    (tmp_path / "pyvenv.cfg").write_bytes(b"version = \xff\0" + b"3" * 100_000)
    assert find_python_version(python) is None


# -- comparing


def test_a_conflict_names_both_versions(tmp_path: Path) -> None:
    assert find_conflict(make_manifest(" >=3.12"), make_interpreter(tmp_path / "python3.11")) == (
        "it needs Python >=3.12; python here is 3.11"
    )


@pytest.mark.parametrize(
    ("wanted", "conflicts"),
    [(">=3.11", False), ("==3.11.*", False), (">=3.11.4", False), ("<3.11.4", False), ("<3.11", True), (">3.12", True)],
)
def test_a_third_number_that_is_not_known_is_no_conflict(tmp_path: Path, wanted: str, conflicts: bool) -> None:
    assert bool(find_conflict(make_manifest(wanted), make_interpreter(tmp_path / "python3.11"))) is conflicts


def test_a_pre_release_is_a_version(tmp_path: Path) -> None:
    make_interpreter(tmp_path / "bin" / "python")
    (tmp_path / "pyvenv.cfg").write_text("version = 3.12.0\n")
    assert not find_conflict(make_manifest(">=3.12.0rc1"), str(tmp_path / "bin" / "python"))


def test_another_program_is_not_compared(tmp_path: Path) -> None:
    assert find_conflict(make_manifest(">=4"), sys.executable)
    (tmp_path / "tool").symlink_to(sys.executable)
    assert find_conflict(make_manifest(">=4"), str(tmp_path / "tool")) == ""
