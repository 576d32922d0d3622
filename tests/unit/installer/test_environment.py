"""The environments of versions, made by the real `uv` from wheels that are made here: no network is needed."""

from __future__ import annotations

import contextlib
import socket
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer import uv
from plugvisor.installer.environment import BuildRefused, Built

from tests.helpers.ports import find_free_port
from tests.helpers.waiting import wait_for
from tests.helpers.wheels import write_source, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.environments import Builder

PYTHON = ".".join(map(str, sys.version_info[:2]))


@contextlib.contextmanager
def set_at_the_end() -> Iterator[threading.Event]:
    """An event that is set at the end, whatever happens."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def run_in(version: Path, code: str) -> str:
    command = [version / ".venv/bin/python", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# -- what is made


def test_two_plugins_have_different_versions_of_one_package(builder: Builder) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(builder.wheels, "lib", version)
    old, new = builder.write_version("old", "lib<2"), builder.write_version("new", "lib>=2")
    assert builder.build(old) == builder.build(new) == Built(True, ".".join(map(str, sys.version_info[:3])))
    code = "import lib; print(lib.VERSION)"
    assert (run_in(old, code), run_in(new, code)) == ("1.0", "2.0")
    assert {" + lib==1.0", " + lib==2.0"} <= set(builder.lines)


def test_what_a_project_depends_on_is_installed_but_not_the_project(builder: Builder) -> None:
    write_wheel(builder.wheels, "lib", "1.0")
    version = builder.write_version("plugin")
    version.joinpath("requirements.txt").unlink()
    version.joinpath("pyproject.toml").write_text(
        f'[project]\nname = "plugin"\nversion = "1"\nrequires-python = ">={PYTHON}"\ndependencies = ["lib"]\n'
        f'[tool.uv.sources]\nlib = {{ path = "{builder.wheels}/lib-1.0-py3-none-any.whl" }}\n'
    )
    assert builder.build(version).environment
    assert run_in(version, "import lib; print(lib.VERSION)") == "1.0"
    assert not list(version.glob(".venv/lib/*/site-packages/plugin*"))


@pytest.mark.parametrize("project", [None, '[project]\nname = "x"\ndependencies = []', "", "project = 1"])
def test_without_requirements_there_is_no_environment(builder: Builder, project: str | None) -> None:
    version = builder.write_version("plugin")
    version.joinpath("requirements.txt").unlink()
    if project is not None:
        version.joinpath("pyproject.toml").write_text(project)
    assert builder.build(version) == Built(False, "")
    assert not version.joinpath(".venv").exists()
    assert builder.lines == []


def test_of_two_lists_the_requirements_are_used(builder: Builder) -> None:
    write_wheel(builder.wheels, "lib", "1.0")
    version = builder.write_version("plugin", "lib")
    version.joinpath("pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\ndependencies = ["missing"]')
    builder.build(version)
    assert "requirements.txt is used; pyproject.toml is not" in builder.lines


@pytest.mark.parametrize("name", ["plugin", 'a folder\'s "name"', "long" * 40])
def test_scripts_and_lists_of_the_package_itself_work(builder: Builder, name: str) -> None:
    version = builder.write_version(name)
    write_wheel(version / "wheels", "lib", "1.0", entry_points="tool = lib:main")
    version.joinpath("more.txt").write_text("lib==1.0\n")
    version.joinpath("requirements.txt").write_text("--no-index\n--find-links ./wheels\n-r more.txt\n")
    builder.build(version)
    done = subprocess.run([version / ".venv/bin/tool"], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"


def test_files_of_the_cache_are_shared_and_cannot_be_written(builder: Builder) -> None:
    write_wheel(builder.wheels, "lib", "1.0")
    versions = [builder.write_version(name, "lib") for name in ("first", "second")]
    for version in versions:
        builder.build(version)
    found = [next(version.glob(".venv/lib/*/site-packages/lib.py")).stat() for version in versions]
    assert {stat.S_IMODE(status.st_mode) for status in found} == {0o444}
    assert found[0].st_ino == found[1].st_ino or found[0].st_nlink == 1  # a clone, if the disk can


def test_what_is_damaged_in_the_cache_is_fetched_anew(builder: Builder) -> None:
    """As after a power cut, or after a plugin has changed a file that it shares."""
    write_wheel(builder.wheels, "lib", "1.0")
    write_wheel(builder.wheels, "other", "1.0")
    builder.build(builder.write_version("first", "lib", "other"))
    for cached in builder.folder.glob("cache/archive-v0/*/lib.py"):
        cached.chmod(0o644)
        cached.write_text("VERSION = 'changed'")
    for name in ("second", "third"):
        version = builder.write_version(name, "lib", "other")
        builder.build(version)
        assert run_in(version, "import lib; print(lib.VERSION)") == "1.0"
    assert builder.lines.count("damaged in the cache, and fetched anew: lib") == 1


def test_a_package_whose_own_list_is_wrong_is_installed_with_a_warning(builder: Builder) -> None:
    wheel = write_wheel(builder.wheels, "lib", "1.0")
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["lib.py"] = b"VERSION = 'x.x'"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    version = builder.write_version("plugin", "lib")
    builder.build(version)
    assert "warning: files are not what these packages list: lib" in builder.lines
    assert run_in(version, "import lib; print(lib.VERSION)") == "x.x"


def test_a_build_that_hangs_holds_no_other_up(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that must replace a damaged file of the cache, which the other one uses."""
    monkeypatch.setattr(uv, "_LOCK_SECONDS", 1)
    write_wheel(builder.wheels, "lib", "1.0")
    builder.build(builder.write_version("first", "lib"))
    for cached in builder.folder.glob("cache/archive-v0/*/lib.py"):
        cached.unlink()
    started = builder.folder / "started"
    hanging = builder.write_version("hanging", "./built")
    write_source(hanging / "built", f"Path('{started}').touch(); time.sleep(600)")
    with ThreadPoolExecutor() as pool, set_at_the_end() as ended:
        refused = pool.submit(builder.refuse, hanging, is_cancelled=ended.is_set)
        wait_for(started.exists, "the build that hangs")
        version = builder.write_version("second", "lib")
        builder.build(version)
        assert not refused.done()
    assert run_in(version, "import lib; print(lib.VERSION)") == "1.0"


# -- what cannot be made


def test_an_environment_in_the_package_is_refused(builder: Builder) -> None:
    version = builder.write_version("plugin")
    version.joinpath(".venv").symlink_to("/nonexistent")
    with pytest.raises(BuildRefused, match=r"a '\.venv' of its own"):
        builder.build(version)


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("missing", "missing was not found"),
        ("lib>=2", "only lib==1.0 is available"),
        ("lib==1.0 --hash=sha256:" + "0" * 64, "Hash mismatch for `lib==1.0`"),
        ("not a ! requirement", "Couldn't parse requirement in `requirements.txt`"),
        ("-r missing.txt", "failed to read from file `missing.txt`"),
        ("lib @ git+https://127.0.0.1:1/lib", "Git executable not found"),
        ("./missing", "missing"),
    ],
)
def test_the_reason_is_in_the_message(builder: Builder, requirement: str, reason: str) -> None:
    write_wheel(builder.wheels, "lib", "1.0")
    refused = builder.refuse(builder.write_version("plugin", requirement))
    assert str(refused).startswith("cannot make the environment: ")
    assert reason in str(refused)
    assert refused.log == builder.lines[-len(refused.log) :]


def test_why_requirements_do_not_go_together_is_said_to_the_end(builder: Builder) -> None:
    write_wheel(builder.wheels, "old", "1", requires="lib<2")
    write_wheel(builder.wheels, "new", "1", requires="lib>=2")
    for version in ("1.0", "2.0"):
        write_wheel(builder.wheels, "lib", version)
    refused = builder.refuse(builder.write_version("plugin", "old", "new"))
    assert "incompatible. And because you require" in str(refused)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[project", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * 1024 * 1025, "larger than 1 MiB"),
        (b'[project]\nname = "x"\nversion = "1"\ndependencies = "lib"', "pyproject.toml"),
    ],
)
def test_a_malformed_project_is_refused(builder: Builder, content: bytes, reason: str) -> None:
    version = builder.write_version("plugin")
    version.joinpath("requirements.txt").unlink()
    version.joinpath("pyproject.toml").write_bytes(content)
    assert reason in str(builder.refuse(version))


def test_an_index_that_cannot_be_reached_is_named_without_its_password(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = find_free_port()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://user:s3cret@127.0.0.1:{port}/simple")
    version = builder.write_version("plugin")
    version.joinpath("requirements.txt").write_text("lib")
    refused = builder.refuse(version)
    assert f"127.0.0.1:{port}/simple/lib/: Connection refused" in str(refused)
    assert "s3cret" not in f"{refused}{refused.log}{builder.lines}"


def test_an_index_that_never_answers_costs_the_time_of_the_build_alone(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = builder.write_version("plugin")
    version.joinpath("requirements.txt").write_text("lib")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        assert "it takes too long" in str(builder.refuse(version, seconds=1))


@pytest.mark.parametrize("python", [">=3.99", "==3.99.*,>3"])
def test_without_such_an_interpreter_those_that_are_here_are_named(builder: Builder, python: str) -> None:
    refused = builder.refuse(builder.write_version("plugin"), python)
    assert f"there is no Python {python} here; found: {PYTHON}" in str(refused)


def test_no_interpreters_are_named_if_it_takes_too_long_to_list_them(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = builder.folder / "uv"
    hang = f"exec {sys.executable} -c 'import time; time.sleep(600)'"
    slow.write_text(f'#!/bin/sh\n[ "$1 $2" = "python list" ] && {hang}\nexec {uv.find_uv()} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv", lambda: str(slow))
    monkeypatch.setattr(uv, "_FOUND_SECONDS", 0)
    refused = builder.refuse(builder.write_version("plugin"), ">=3.99")
    assert str(refused) == "cannot make the environment: there is no Python >=3.99 here"


def test_the_python_that_a_project_requires_is_looked_for(builder: Builder) -> None:
    version = builder.write_version("plugin")
    version.joinpath("requirements.txt").unlink()
    version.joinpath("pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.99"\ndependencies = ["lib"]'
    )
    assert "there is no Python >=3.99 here" in str(builder.refuse(version))


@pytest.mark.parametrize("python", ["/bin/sh", "3.11", "pypy", ">=3 --verbose", ">=3,"])
def test_only_a_specifier_of_versions_chooses_the_interpreter(builder: Builder, python: str) -> None:
    assert "is no specifier" in str(builder.refuse(builder.write_version("plugin"), python))
