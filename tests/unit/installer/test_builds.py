"""Builds of environments: what they print and leave behind, what they share, and how they end."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer import build_output, build_process
from plugvisor.installer.environment import BuildRefused

from tests.helpers.disks import mount_tmpfs, needs_mounts
from tests.helpers.processes import is_alive
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for
from tests.helpers.wheels import write_source, write_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.environments import Builder


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
