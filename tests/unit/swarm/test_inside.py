"""What runs in a task before a plugin, as a plain process: folder, environment, exit codes and signals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.swarm.carriers.folder import write_archive
from plugvisor.engines.swarm.inside.launch import Launch, LaunchError, read_launch
from plugvisor.engines.swarm.inside.unpack import UnpackError, unpack_folder

from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAIN = """\
import sys
from plugvisor.engines.swarm.inside.__main__ import main
folder = sys.argv[1]
sys.exit(main(sys.argv[2:], __import__("os").environ, f"{folder}/launch", f"{folder}/folder-"))
"""
PYTHON = (sys.executable, "-I", "-S", "-c")


class Task:
    """Where a task's secret and configs are, and how it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = path / "plugin"
        self.processes: list[subprocess.Popen[str]] = []

    def write(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        exitcodes: Sequence[int] = (0,),
        checks: Mapping[str, list[str]] | None = None,
        path_first: str = "",
    ) -> None:
        launch = Launch(
            str(self.directory),
            list(arguments),
            dict(environment or {}),
            ["PATH", "GREETING"],
            path_first,
            list(exitcodes),
            dict(checks or {}),
        )
        (self.path / "launch").write_bytes(launch.render())

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", MAIN, self.path, *words],
            env={"PATH": os.environ["PATH"], **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, *words: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
        process = self.start(*words, environ=environ)
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, output


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Task]:
    made = Task(tmp_path)
    made.directory.mkdir()
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


# -- what the plugin receives


def test_a_plugin_has_its_arguments_environment_and_folder(task: Task) -> None:
    words = ["", "two words", "$HOME", "名", "a\nb", '"', "\udcff"]
    probe = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
    task.write([*PYTHON, probe, *words], environment={"A": "x=\n$y", "B": "", "PATH": "/nowhere"})
    code, output = task.run(environ={"GREETING": "hello", "PLUGVISOR_ADMIN_CODE": "secret"})
    received, environment, folder = json.loads(output)
    assert code == 0
    assert received == words
    environment.pop("LC_CTYPE", None)  # the probe's own
    assert environment == {"A": "x=\n$y", "B": "", "PATH": "/nowhere", "GREETING": "hello"}
    assert folder == str(task.directory)


def test_programs_of_the_environment_come_first(task: Task) -> None:
    programs = task.path / "programs"
    programs.mkdir()
    (programs / "sh").write_text('#!/bin/sh\necho mine "$PATH"\n')
    (programs / "sh").chmod(0o755)
    task.write(["sh", "-c", "echo another"], path_first=str(programs), environment={"PATH": "/usr/bin:/bin"})
    assert task.run() == (0, f"mine {programs}:/usr/bin:/bin\n")


@pytest.mark.parametrize("exitcodes", [[0], [0, 2]])
def test_standard_error_is_part_of_the_log(task: Task, exitcodes: list[int]) -> None:
    task.write(["sh", "-c", "echo one; echo two >&2; echo three"], exitcodes=exitcodes)
    assert task.run() == (0, "one\ntwo\nthree\n")


@pytest.mark.parametrize("exitcodes", [[0], [0, 2]])
def test_no_signal_is_ignored(task: Task, exitcodes: list[int]) -> None:
    """Python ignores SIGPIPE, which a program would inherit."""
    task.write(["grep", "SigIgn", "/proc/self/status"], exitcodes=exitcodes)
    ignored = int(task.run()[1].split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_a_launch_is_what_was_rendered() -> None:
    launch = Launch("/x", ["a", "\udcff"], {"A": "名"}, ["PATH"], exitcodes=[2], checks={"c": ["true"]})
    assert Launch(**json.loads(launch.render())) == launch
    assert launch.render() == launch._replace(environment={"A": "名"}).render()
    assert launch.render().isascii()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 5000,
        b'{"directory": "/x"}',
        b'{"directory": "x", "arguments": ["a"], "environment": {}, "inherited": []}',
        b'{"directory": "/x", "arguments": [], "environment": {}, "inherited": []}',
        b'{"directory": "/x", "arguments": ["a\\u0000"], "environment": {}, "inherited": []}',
        b'{"directory": "/x", "arguments": ["a"], "environment": {"=": "secret"}, "inherited": []}',
        b'{"directory": "/x", "arguments": ["a"], "environment": {}, "inherited": [], "exitcodes": ["secret"]}',
        b'{"directory": "/x", "arguments": ["a"], "environment": {}, "inherited": [], "secret": 1}',
    ],
)
def test_a_damaged_secret_is_an_error_without_its_text(task: Task, text: bytes) -> None:
    (task.path / "launch").write_bytes(text)
    with pytest.raises(LaunchError) as raised:
        read_launch(str(task.path / "launch"))
    assert "secret is damaged" in str(raised.value)
    assert task.run() == (1, "plugvisor: its secret is damaged; a reload makes another one\n")


@pytest.mark.parametrize("exitcodes", [[0], [3]])
def test_what_cannot_be_executed_is_one_line_without_arguments(task: Task, exitcodes: list[int]) -> None:
    task.write(["no-such-program", "password"], exitcodes=exitcodes)
    assert task.run() == (1, "plugvisor: cannot execute its command: No such file or directory\n")


def test_no_folder(task: Task) -> None:
    task.write(["true"])
    task.directory.rmdir()
    assert task.run() == (1, "plugvisor: cannot enter its folder: No such file or directory\n")


def test_no_secret(task: Task) -> None:
    assert task.run() == (1, "plugvisor: its secret cannot be read: No such file or directory\n")


def test_an_image_without_the_user(task: Task) -> None:
    if os.geteuid():
        pytest.skip("only root becomes another user")
    task.write(["true"])
    code, output = task.run(environ={"PLUGVISOR_PLUGIN_USER": "nobody-has-this-name"})
    assert (code, output) == (1, "plugvisor: the image has no user 'nobody-has-this-name'\n")


def test_it_becomes_the_user_of_the_image() -> None:
    if os.geteuid():
        pytest.skip("only root becomes another user")
    with tempfile.TemporaryDirectory() as name:  # that other users can enter
        task = Task(Path(name))
        task.path.chmod(0o755)
        task.directory.mkdir()
        data = task.path / "data"
        task.write(["sh", "-c", 'id -un; id -Gn; echo "$HOME"'], environment={"PLUGVISOR_DATA_DIR": str(data)})
        launch = json.loads((task.path / "launch").read_bytes())
        (task.path / "launch").write_text(json.dumps({**launch, "inherited": ["PATH", "HOME"]}))
        code, output = task.run(environ={"PLUGVISOR_PLUGIN_USER": "nobody", "HOME": "/root"})
        assert (code, output) == (0, "nobody\nnogroup\n/nonexistent\n")
        assert data.owner() == "nobody"


# -- exit codes and signals


@pytest.mark.parametrize(
    ("exitcodes", "code", "expected"),
    [
        ([0], 0, 0),
        ([0], 3, 3),
        ([0, 3], 0, 0),
        ([0, 3], 3, 0),
        ([0, 3], 4, 4),
        ([3], 3, 0),
        ([3], 0, 1),
        ([], 0, 1),
    ],
)
def test_exit_codes(task: Task, exitcodes: list[int], code: int, expected: int) -> None:
    task.write(["sh", "-c", f"exit {code}"], exitcodes=exitcodes)
    assert task.run()[0] == expected


def test_a_signal_is_128_and_its_number(task: Task) -> None:
    task.write(["sh", "-c", "kill -9 $$"], exitcodes=[0, 2])
    assert task.run()[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
@pytest.mark.parametrize("exitcodes", [[0, 5], [0]])
def test_signals_are_passed_on(task: Task, number: signal.Signals, exitcodes: list[int]) -> None:
    probe = f"""\
import signal, sys
signal.signal({int(number)}, lambda *_: sys.exit(5))
print("ready", flush=True)
while True:
    signal.pause()
"""
    task.write([*PYTHON, probe], exitcodes=exitcodes)
    process = task.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(DEADLINE_SECONDS) == (0 if 5 in exitcodes else 5)


def test_a_signal_reaches_the_whole_group(task: Task) -> None:
    """As on one machine, where the children of a plugin are stopped with it."""
    task.write(["sh", "-c", "trap 'wait; exit 7' TERM; sh -c 'echo ready; exec sleep 1000' & wait"], exitcodes=[7])
    process = task.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(DEADLINE_SECONDS) == 0  # `wait` in the trap ends only with the child


# -- checks


def test_a_plugin_that_is_ended_for_its_check_has_not_succeeded(task: Task) -> None:
    """The swarm would not start it again; it has if the last attempt has passed."""
    sick = task.path / "sick"
    task.write(["true"], checks={"alive": ["test", "!", "-e", str(sick)]})
    for is_sick in (False, True, False):
        if is_sick:
            sick.touch()
        else:
            sick.unlink(missing_ok=True)
        assert task.run("check", "alive") == (int(is_sick), "")
        assert task.run() == (int(is_sick), "")


def test_a_check_runs_as_the_plugin_does(task: Task) -> None:
    task.write(["false"], environment={"A": "x"}, checks={"alive": ["sh", "-c", 'echo "$A"; pwd; exit 4']})
    assert task.run("check", "alive") == (4, f"x\n{task.directory}\n")
    assert task.run("check", "other") == (1, "plugvisor: it has no check of that name\n")


# -- the folder


def write_parts(task: Task, archive: bytes, size: int) -> None:
    for number, start in enumerate(range(0, len(archive), size)):
        (task.path / f"folder-{number}").write_bytes(archive[start : start + size])


def test_a_folder_that_has_come_by_configs(task: Task, tmp_path: Path) -> None:
    """It replaces the plugin's folder of the image, and its parts are joined by their numbers."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "plugin.toml").write_text("")
    (source / "main.sh").write_text("#!/bin/sh\ncat text; ls\n")
    (source / "main.sh").chmod(0o700)
    (source / "text").write_text("new\n")
    (task.directory / "plugin.toml").write_text("")
    (task.directory / "stale").write_text("")
    archive = io.BytesIO()
    write_archive(source, archive)
    write_parts(task, archive.getvalue(), len(archive.getvalue()) // 11)
    task.write(["./main.sh"])
    assert task.run() == (0, "new\nmain.sh\nplugin.toml\ntext\n")
    assert task.run() == (0, "new\nmain.sh\nplugin.toml\ntext\n")


def test_a_folder_that_is_no_plugins_is_not_replaced(task: Task, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "plugin.toml").write_text("")
    (task.directory / "precious").write_text("")
    archive = io.BytesIO()
    write_archive(source, archive)
    write_parts(task, archive.getvalue(), 1 << 20)
    task.write(["true"])
    assert task.run() == (1, "plugvisor: its folder cannot be unpacked: Directory not empty\n")
    assert [path.name for path in task.directory.iterdir()] == ["precious"]
    assert not list(tmp_path.glob(".plugvisor-*"))


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_archive(task: Task, tmp_path: Path, damage: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "plugin.toml").write_text("x" * 100_000)
    archive = io.BytesIO()
    write_archive(source, archive)
    data = archive.getvalue()
    data = {"cut": data[:50_000], "changed": data[:5] + b"\xff" * 300 + data[305:], "empty": b"\0"}[damage]
    write_parts(task, data, 1 << 20)
    task.write(["true"])
    code, output = task.run()
    assert (code, output.count("\n")) == (1, 1)
    assert "cannot be unpacked" in output
    assert not list(tmp_path.glob(".plugvisor-*"))


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "a//b", "./a", "link/out"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_nothing_outside_the_folder_is_written(tmp_path: Path, name: str, kind: bytes) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as entries:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        entries.addfile(link)
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "x"
        entries.addfile(entry)
    archive.seek(0)
    with pytest.raises(UnpackError):
        unpack_folder(archive, str(tmp_path / "in" / "plugin"), replace=True)
    assert not list(outside.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "outside"]
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_no_other_kind_of_entry_is_unpacked(tmp_path: Path, kind: bytes) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as entries:
        entry = tarfile.TarInfo("x")
        entry.type, entry.linkname = kind, "/etc/passwd"
        entries.addfile(entry)
    archive.seek(0)
    with pytest.raises(UnpackError):
        unpack_folder(archive, str(tmp_path / "plugin"), replace=False)


def test_what_is_there_is_not_replaced_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "plugin.toml").write_text("old")
    archive = io.BytesIO()
    write_archive(tmp_path / "plugin", archive)
    archive.seek(0)
    with pytest.raises(UnpackError):
        unpack_folder(archive, str(tmp_path / "plugin"), replace=False)
    assert (tmp_path / "plugin" / "plugin.toml").read_text() == "old"


def test_hostile_text_reaches_the_plugin(task: Task) -> None:
    """Every byte but NUL."""
    text = "".join(map(chr, range(1, 256))) + "\udc80\udcff"
    task.write([*PYTHON, "import os, sys; sys.stdout.write(os.environb[b'A'].hex())"], environment={"A": text})
    assert task.run() == (0, text.encode("utf-8", "surrogateescape").hex())
