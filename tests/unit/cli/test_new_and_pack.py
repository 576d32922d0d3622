"""`plugvisor new` and `pack`: what an author begins with, and what comes of it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.main import main
from plugvisor.cli.packages.templates import TEMPLATES
from plugvisor.engines.launching import RUNNER

from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {
    "python": [sys.executable, "main.py"],
    "shell": ["sh", "main.sh"],
    "class": [sys.executable, str(RUNNER), "main:Plugin"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "echo"]) == 0
    assert capsys.readouterr().err == "plugvisor install echo --start    packs and installs it\n"
    (here / "plugins").mkdir()
    assert main(["new", "echo", "--into", "plugins"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "plugvisor refresh && plugvisor start echo    runs it, if this is in the plugins folder",
        "plugvisor install plugins/echo --start       else packs and installs it",
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_plugin_works(here: Path, template: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "web-cache", "--template", template]) == 0
    assert main(["check", str(here)]) == 0
    assert "warning" not in capsys.readouterr().out
    assert 'name = "Web cache"' in (here / "web-cache/plugin.toml").read_text()
    data, log = here / "data", here / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            COMMANDS[template],
            cwd=here / "web-cache",
            env=os.environ | {"PLUGVISOR_DATA_DIR": str(data), "GREETING": "你好"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: data.is_dir() and any(data.iterdir()), "the plugin to write its data")
        wait_for(lambda: log.stat().st_size > 0, "the plugin to print")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().endswith("stopped\n"), log.read_text()


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_plugin_passes_its_own_test(here: Path, template: str) -> None:
    """Beside another one, in one run; and the test fails if the plugin does something else."""
    for name in ("web-cache", "other"):
        assert main(["new", name, "--template", template]) == 0
    names = ["web-cache", "other"]
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    command = ["sh", "web-cache/test.sh"] if template == "shell" else pytest_command
    # the author's pytest, without our plugins of it, which take longer than the test
    environ = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def run_test() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )

    done = run_test()
    assert done.returncode == 0, done
    assert "passed" in done.stdout
    [code] = (here / "web-cache").glob("main.*")
    code.write_text(code.read_text().replace("stopped", "ended"))
    done = run_test()
    assert done.returncode == 1, done


def test_the_schema_of_a_new_plugin_is_beside_its_manifest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "echo"]) == 0
    assert (here / "echo/plugin.toml").read_text().startswith("#:schema ./plugin.schema.json\n")
    capsys.readouterr()
    assert main(["schema"]) == 0
    assert (here / "echo/plugin.schema.json").read_text() == capsys.readouterr().out


def test_what_is_there_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "echo").mkdir()
    (here / "echo/main.py").write_text("mine")
    assert main(["new", "echo"]) == 2
    assert capsys.readouterr().err == "plugvisor: cannot make 'echo': it is there already\n"
    assert [path.name for path in (here / "echo").iterdir()] == ["main.py"]


@pytest.mark.parametrize("plugin_id", ["../x", "a b", "plugvisor", "a\udcff", 'x"', 'x"#'])
def test_an_id_that_no_plugin_can_have(here: Path, plugin_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", plugin_id]) == 2
    assert capsys.readouterr().err.startswith("plugvisor: cannot make ")
    assert list(here.iterdir()) == []


def test_pack(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "echo"])
    (here / "echo/data").mkdir()
    (here / "echo/data/starts.txt").write_text("1")
    capsys.readouterr()
    assert main(["pack", "echo"]) == 0
    digest = hashlib.sha256((here / "echo-0.1.0.zip").read_bytes()).hexdigest()
    assert capsys.readouterr().out.splitlines()[1] == f"SHA-256 {digest}"
    names = zipfile.ZipFile("echo-0.1.0.zip").namelist()
    assert sorted(names) == [".plugvisorignore", "README.md", "main.py", "plugin.toml"]
    assert main(["pack", "echo", "-o", "other.zip", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["file"], printed["plugin_id"], printed["version"]) == ("other.zip", "echo", "0.1.0")
    assert printed["sha256"] == digest, "the same, byte for byte"
    assert printed["size_bytes"] == (here / "other.zip").stat().st_size


@pytest.mark.parametrize("output", [".", "/", "folder", "socket", "fifo"])
def test_a_package_replaces_nothing_but_files(here: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of `/dev/null` that would be felt by every other program."""
    main(["new", "echo"])
    (here / "folder").mkdir()
    os.mkfifo(here / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    before = sorted(here.iterdir())
    capsys.readouterr()
    assert main(["pack", "echo", "--output", output]) == 2
    assert capsys.readouterr().err == f"plugvisor: cannot write {output!r}: it is no regular file\n"
    assert sorted(here.iterdir()) == before
    assert not (here / output).is_file()


def test_a_new_plugin_is_packed_without_its_earlier_packages(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["new", "echo"])
    monkeypatch.chdir(here / "echo")
    (here / "echo/lib").mkdir()
    (here / "echo/lib/echo-1.zip").write_text("the plugin's own")
    assert main(["pack", "."]) == 0
    manifest = here / "echo/plugin.toml"
    manifest.write_text(manifest.read_text().replace("0.1.0", "0.2.0"))
    assert main(["pack", "."]) == 0
    names = zipfile.ZipFile("echo-0.2.0.zip").namelist()
    assert sorted(names) == [".plugvisorignore", "README.md", "lib/echo-1.zip", "main.py", "plugin.toml"]
    assert "echo-0.1.0.zip: 5 files" in capsys.readouterr().out


def test_what_could_not_be_installed_is_not_packed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "echo"])
    os.mkfifo(here / "echo/pipe")
    assert main(["pack", "echo"]) == 2
    assert "'pipe'" in capsys.readouterr().err
    (here / "echo/pipe").unlink()
    (here / "echo/plugin.toml").write_text("[plugin]\nid = 1\n")
    assert main(["pack", "echo"]) == 2
    assert "line 2" in capsys.readouterr().err
    (here / "echo/plugin.toml").unlink()
    assert main(["pack", "echo"]) == 2
    assert capsys.readouterr().err == "plugvisor: cannot pack 'echo': it has no plugin.toml\n"
    assert main(["pack", "nowhere"]) == 2
    assert capsys.readouterr().err == "plugvisor: cannot pack 'nowhere': there is no such folder\n"
    assert not list(here.glob("*.zip"))
