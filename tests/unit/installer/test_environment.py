"""The environments of versions, made by the real `uv` from wheels that are made here: no network is needed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer import build_output, build_process, uv
from plugvisor.installer.environment import BuildRefused, Built, build

from tests.helpers.disks import mount_tmpfs, needs_mounts
from tests.helpers.ports import find_free_port
from tests.helpers.processes import is_alive
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for
from tests.helpers.wheels import write_source, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PYTHON = ".".join(map(str, sys.version_info[:2]))


@dataclass
class Builder:
    """Builds versions that share a cache."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    def write_version(self, name: str, *requirements: str) -> Path:
        """A version that requires these, of the wheels that were made."""
        version = self.folder / name / "versions" / "1"
        version.mkdir(parents=True)
        self.wheels.mkdir(exist_ok=True)
        lines = ["--no-index", f"--find-links {self.wheels}", *requirements]
        version.joinpath("requirements.txt").write_text("\n".join(lines))
        return version

    def build(
        self, version: Path, python: str = "", seconds: float = 60, is_cancelled: Callable[[], bool] = lambda: False
    ) -> Built:
        return build(
            str(version), python, seconds, str(self.folder / "cache"), say=self.lines.append, is_cancelled=is_cancelled
        )

    def refuse(
        self, version: Path, python: str = "", seconds: float = 60, is_cancelled: Callable[[], bool] = lambda: False
    ) -> BuildRefused:
        """Build what cannot be built; nothing is left of the environment."""
        with pytest.raises(BuildRefused) as caught:
            self.build(version, python, seconds, is_cancelled)
        assert not version.joinpath(".venv").exists()
        assert str(self.folder) not in f"{caught.value}{caught.value.log}{self.lines}"
        return caught.value


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    for name in os.environ:
        if name.startswith("UV_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("HOME", str(tmp_path))
    # the interpreter of the tests and no other, so that no search finds what is on this machine
    binaries = tmp_path / "bin"
    binaries.mkdir()
    binaries.joinpath("python3").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PATH", str(binaries))
    return Builder(tmp_path)


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


# -- builds from source


def test_what_a_failing_build_has_printed_is_in_the_log(builder: Builder) -> None:
    version = builder.write_version("plugin", "./built")
    write_source(version / "built", "print('cannot find libfoo', 'x' * 5000)")
    refused = builder.refuse(version)
    assert "cannot be built from its source" in str(refused)
    line = next(line for line in refused.log if "cannot find" in line)
    assert line.startswith("         cannot find libfoo xxx")
    assert len(line) == build_output.LINE_CHARACTERS
    assert any("no wheel" in line for line in refused.log)


def test_an_editable_requirement_is_built_like_any_other(builder: Builder) -> None:
    version = builder.write_version("plugin", "-e ./built")
    write_source(version / "built", "print('this is a wheel')")
    assert any("this is a wheel" in line for line in builder.refuse(version).log)


def test_a_build_writes_what_is_temporary_beside_the_version(builder: Builder) -> None:
    version = builder.write_version("plugin", "./built")
    write_source(version / "built", "import tempfile; print('in', tempfile.mkstemp())")
    assert any(".venv/tmp/" in line for line in builder.refuse(version).log)
    version = builder.write_version("other")
    builder.build(version)
    assert not version.joinpath(".venv/tmp").exists()


def test_of_a_flood_the_first_and_last_lines_are_kept(builder: Builder) -> None:
    version = builder.write_version("plugin", "./built")
    write_source(version / "built", "for number in range(100_000): print('line', number)")
    refused = builder.refuse(version)
    assert len(refused.log) == 50
    assert refused.log[0].startswith("error: ")
    assert any("no wheel" in line for line in refused.log)
    assert len(builder.lines) < build_output.FIRST_LINES + build_output.LAST_LINES + 10
    assert any("lines left out" in line for line in builder.lines)


def test_a_flood_does_not_fill_the_memory(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_process, "MEMORY_BYTES", 128 * 1024**2)
    version = builder.write_version("plugin", "./built")
    write_source(version / "built", "while True: print('x' * 1000)")
    assert "it takes too much memory" in str(builder.refuse(version))


def test_nothing_of_a_cancelled_build_is_left(builder: Builder) -> None:
    pids = builder.folder / "pids"
    version = builder.write_version("plugin", "./built")
    write_source(
        version / "built",
        f"""\
        child = subprocess.Popen(["{sys.executable}", "-c", "import time; time.sleep(600)"])
        Path("{pids}.new").write_text(f"{{os.getpid()}} {{child.pid}}")
        os.rename("{pids}.new", "{pids}")
        time.sleep(600)
        """,
    )
    assert "it was cancelled" in str(builder.refuse(version, is_cancelled=pids.exists))
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not is_alive(pid), "the end of the build's processes")


def test_a_process_that_a_build_leaves_behind_is_ended(builder: Builder) -> None:
    pid = builder.folder / "pid"
    version = builder.write_version("plugin", "./built")
    code = f"""\
        command = ["{sys.executable}", "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Path("{pid}").write_text(str(child.pid))
        """
    write_source(version / "built", code)
    assert any("no wheel" in line for line in builder.refuse(version).log)
    wait_for(lambda: not is_alive(int(pid.read_text())), "the end of what was left behind")


def test_the_build_does_not_see_what_belongs_to_this_process(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    monkeypatch.setenv("UV_PYTHON", "/nonexistent/python")
    monkeypatch.setenv("UV_TARGET", str(builder.folder / "elsewhere"))
    version = builder.write_version("plugin", "./built")
    write_source(
        version / "built", "print(os.environ.get('PYTHONPATH'), sys.stdin.read(), os.getsid(0) == os.getpid())"
    )
    assert any("None  False" in line for line in builder.refuse(version).log)


def test_a_configuration_in_the_package_is_not_read(builder: Builder) -> None:
    write_wheel(builder.wheels, "lib", "1.0")
    version = builder.write_version("plugin", "lib")
    version.joinpath("uv.toml").write_text("this is no TOML")
    assert builder.build(version).environment


# -- disks and caches


@needs_mounts
def test_a_full_disk_is_a_full_disk(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    write_wheel(builder.wheels, "lib", "1.0", {"lib.bin": os.urandom(4 * 1024**2)})
    version = builder.write_version("plugin", "lib")
    cache = builder.folder / "cache"
    with mount_tmpfs(cache, 2048), pytest.raises(OSError, match="No space left") as caught:
        builder.build(version)
    assert caught.value.errno == errno.ENOSPC
    assert not version.joinpath(".venv").exists()
    builder.build(version)


def test_a_cache_that_is_no_folder_is_named(builder: Builder) -> None:
    builder.folder.joinpath("cache").write_text("")
    assert "there is no folder for its cache" in str(builder.refuse(builder.write_version("plugin")))


def test_a_killed_build_leaves_a_cache_that_works(builder: Builder) -> None:
    write_wheel(builder.wheels, "lib", "1.0", {f"lib/{number}.py": b"x = 1\n" * 200 for number in range(2000)})
    for number in range(5):
        is_cancelled = itertools.chain([False] * number, itertools.repeat(True)).__next__
        with contextlib.suppress(BuildRefused):
            builder.build(builder.write_version(f"killed-{number}", "lib"), is_cancelled=is_cancelled)
    version = builder.write_version("whole", "lib")
    builder.build(version)
    assert len(list(version.glob(".venv/lib/*/site-packages/lib/*.py"))) == 2000


def test_what_a_killed_build_leaves_in_the_cache_is_removed(builder: Builder) -> None:
    """By itself, or by the next build if another one runs meanwhile."""

    def list_left_overs() -> list[Path]:
        return [path for path in (builder.folder / "cache").rglob(".tmp*") if ".venv" not in path.parts]

    def hang(source: Path, ended: threading.Event) -> None:
        version = builder.write_version(f"of-{source.name}", f"built @ {source.as_uri()}")
        with pytest.raises(BuildRefused, match="it was cancelled"):
            builder.build(version, is_cancelled=ended.is_set)

    ends = {builder.folder / name: threading.Event() for name in ("first", "second")}
    with ThreadPoolExecutor() as pool:
        try:
            builds = []
            for source, ended in ends.items():
                write_source(source, "Path('started').touch(); time.sleep(600)")
                builds.append(pool.submit(hang, source, ended))
                wait_for((source / "started").exists, "the build")
            ends[builder.folder / "first"].set()
            builds[0].result()
            assert list_left_overs()  # some of it is still in use
        finally:
            for ended in ends.values():
                ended.set()
        builds[1].result()
    assert not list_left_overs()


def test_two_builds_at_once_share_the_cache(builder: Builder) -> None:
    write_wheel(builder.wheels, "lib", "1.0", {f"lib/{number}.py": b"x = 1\n" * 200 for number in range(500)})
    code = (
        "import sys; from plugvisor.installer.environment import build\n"
        "build(*sys.argv[1:3], 60, sys.argv[3], say=print)"
    )
    versions = [builder.write_version(f"plugin-{number}", "lib") for number in range(3)]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, version, "", builder.folder / "cache"], stdout=subprocess.PIPE)
        for version in versions
    ]
    for process in processes:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0, output
    for version in versions:
        assert len(list(version.glob(".venv/lib/*/site-packages/lib/*.py"))) == 500


def test_a_signal_that_ends_this_process_ends_the_build(builder: Builder) -> None:
    """The handler of SIGTERM raises; nothing else is needed."""
    pid = builder.folder / "pid"
    version = builder.write_version("plugin", "./built")
    write_source(version / "built", f"Path('{pid}').write_text(str(os.getpid())); time.sleep(600)")
    code = (
        "import signal, sys; from plugvisor.installer.environment import build\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "build(*sys.argv[1:3], 60, sys.argv[3], say=lambda _: None)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, version, "", builder.folder / "cache"])
    wait_for(lambda: pid.exists() and pid.read_text(), "the build")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 3
    wait_for(lambda: not is_alive(int(pid.read_text())), "the end of the build")
