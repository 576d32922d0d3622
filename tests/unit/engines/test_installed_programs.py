"""The program of an installed plugin: its version's folder, its data folder, and its environment's Python first."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.launching import find_missing_commands
from plugvisor.engines.supervisord.extension.processes.launch_file import LaunchFileError, parse_launch
from plugvisor.engines.supervisord.program import render_program
from plugvisor.engines.supervisord.publisher import Publisher
from plugvisor.models.lifecycle import Check, PythonRequirement
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.catalog import Plugin
from plugvisor.settings import Settings

from tests.helpers.installed import install, make_environment, place_version
from tests.helpers.manifests import make_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch

MANIFEST = '[plugin]\nid = "echo"\ncommand = ["python"]\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "run").mkdir()
    return Settings.from_env(
        {
            "PLUGVISOR_RUN_DIR": str(tmp_path / "run"),
            "PLUGVISOR_SUPERVISOR_URL": "http://localhost:1",  # a socket's path could be too long here
        }
    )


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return install(tmp_path / "installed", "echo", "1", MANIFEST)


def render(version: Path, settings: Settings, **fields: object) -> Launch:
    return parse_launch(render_program(make_manifest(**fields), version, settings).launch)


def test_it_works_in_its_version_and_has_its_data_folder(version: Path, settings: Settings) -> None:
    launch = render(version, settings, environment={"PLUGVISOR_DATA_DIR": "mine", "A": "b"})
    assert launch.directory == str(version)
    assert launch.environment == {"PLUGVISOR_DATA_DIR": str(version.parent.parent / "data"), "A": "b"}
    assert launch.path_first == ""


def test_a_folder_that_was_put_there_by_hand_goes_on_as_it_was(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "echo"
    folder.mkdir()
    make_environment(folder)
    launch = render(folder, settings, environment={"PLUGVISOR_DATA_DIR": "mine"})
    assert (launch.environment, launch.path_first) == ({"PLUGVISOR_DATA_DIR": "mine"}, "")


def test_programs_of_its_environment_come_first(version: Path, settings: Settings) -> None:
    programs = make_environment(version)
    (programs / "tool").symlink_to("python")
    launch = render(version, settings, command=("tool", "x"))
    assert launch.path_first == str(programs)
    assert launch.environment["VIRTUAL_ENV"] == str(programs.parent)
    environ = launch.build_environment({"PATH": "/usr/bin:/bin"})
    assert environ["PATH"] == f"{programs}:/usr/bin:/bin"
    printed = subprocess.run(launch.arguments, env=environ, capture_output=True, text=True, check=True).stdout
    assert printed.split()[0].endswith("/bin/tool")


def test_the_path_of_the_manifest_comes_after_it(version: Path, settings: Settings) -> None:
    programs = make_environment(version)
    launch = render(version, settings, command=("python",), environment={"PATH": "bin:/opt"})
    assert launch.build_environment({"PATH": "/usr/bin"})["PATH"] == f"{programs}:bin:/opt"
    launch = render(version, settings, command=("python",), environment={"PATH": ""})
    assert launch.build_environment({"PATH": "/usr/bin"})["PATH"] == str(programs)
    launch = render(version, settings, command=("python",))
    assert launch.build_environment({})["PATH"] == f"{programs}:{os.defpath}"


def test_an_entry_is_run_by_the_environments_python(version: Path, settings: Settings) -> None:
    assert render(version, settings, command=(), entry="a:b").arguments[0] == sys.executable
    programs = make_environment(version)
    launch = render(version, settings, command=(), entry="a:b")
    assert launch.arguments[0] == f"{programs}/python"
    custom = render(version, replace(settings, runner=("python", "-m", "runner", "{entry}")), command=(), entry="a:b")
    assert (custom.arguments[0], custom.path_first) == ("python", str(programs))


def test_commands_of_checks_are_found_there_too(version: Path, settings: Settings) -> None:
    manifest = make_manifest(checks={"ready": Check(exec=("only-there",))})
    plugin = Plugin("echo", version.parent.parent, manifest, version_folder=version)
    assert len(find_missing_commands(plugin)) == 1
    programs = make_environment(version)
    (programs / "only-there").symlink_to("python")
    assert find_missing_commands(plugin) == []


# -- what is not there


def test_a_program_is_not_missed_before_its_environment_is_made(tmp_path: Path, settings: Settings) -> None:
    version = place_version(tmp_path, "echo", "1", MANIFEST)
    with pytest.raises(ManifestError, match="is not found on PATH"):
        render(version, settings, command=("only-there",))
    (version / "requirements.txt").touch()
    render(version, settings, command=("only-there",), python=PythonRequirement(">=4"))
    version.chmod(0o555)
    with pytest.raises(ManifestError, match="is not found on PATH"):
        render(version, settings, command=("only-there",))


def test_the_python_of_its_environment_is_compared(version: Path, settings: Settings) -> None:
    make_environment(version, "3.12.1")
    render(version, settings, command=("sh",), python=PythonRequirement("==3.12.*"))
    with pytest.raises(ManifestError) as caught:
        render(version, settings, command=("sh",), python=PythonRequirement(">=3.13"))
    assert str(caught.value) == "plugin.toml: it needs Python >=3.13; python here is 3.12.1"


@pytest.mark.parametrize("fields", [{"command": ("python3.9",)}, {"command": (), "entry": "a:b"}])
def test_the_python_of_any_other_plugin_is_compared(tmp_path: Path, settings: Settings, fields: dict[str, str]) -> None:
    (tmp_path / "python3.9").write_text("#!/bin/sh\n")
    (tmp_path / "python3.9").chmod(0o755)
    environment = {"PATH": str(tmp_path)}
    render(tmp_path, settings, **fields, environment=environment, python=PythonRequirement(">=3.9"))
    with pytest.raises(ManifestError, match="it needs Python >=4; python here is 3"):
        render(tmp_path, settings, **fields, environment=environment, python=PythonRequirement(">=4"))


# -- what is published


def test_what_is_published_leads_back_to_the_plugin(version: Path, settings: Settings) -> None:
    publisher = Publisher(settings.run_dir)
    publisher.prepare()
    program = render_program(make_manifest(), version, settings)
    assert not publisher.is_published(program)
    publisher.write(program)
    assert publisher.is_published(program)
    assert publisher.read_folders() == {"echo": version.parent.parent}
    assert publisher.read_directories() == {"echo": version}
    assert not publisher.is_published(render_program(make_manifest(critical=True), version, settings))


def test_a_damaged_launch_file_is_recognised(version: Path, settings: Settings) -> None:
    make_environment(version)
    data = render_program(make_manifest(), version, settings).launch
    with pytest.raises(LaunchFileError):
        parse_launch(data.replace(b'"path_first": "', b'"path_first": "\\u0000'))
    with pytest.raises(LaunchFileError):
        parse_launch(data.replace(b'"path_first": "', b'"path_first": 1, "x": "'))
