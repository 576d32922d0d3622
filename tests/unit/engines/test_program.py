"""A manifest's program: supervisord reads what was meant, and the command is found as exec will find it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.engines.launching import ORDINARY_VARIABLES, RUNNER, build_argv, find_executable, supply_python
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch, parse_launch
from plugvisor.engines.supervisord.extension.processes.spawn import spawn
from plugvisor.engines.supervisord.program import (
    _LONGEST_ID,
    check_section,
    launch_path,
    render_program,
    render_section,
)
from plugvisor.models.lifecycle import LogOptions
from plugvisor.models.manifest import Manifest, ManifestError, SupervisorOptions
from plugvisor.settings import Settings
from supervisor.datatypes import RestartUnconditionally, RestartWhenExitUnexpected, signal_number
from supervisor.options import ServerOptions, UnhosedConfigParser

from tests.helpers.hostile_strings import FILE_NAMES, TEXT, VARIABLES
from tests.helpers.manifests import make_manifest

LOGS = st.builds(LogOptions, max_size=st.integers(64 * 1024, 2**40), backups=st.integers(0, 100))
OPTIONS = st.builds(
    SupervisorOptions,
    startsecs=st.integers(0, 3600),
    startretries=st.integers(0, 1_000_000),
    autorestart=st.sampled_from(["true", "false", "unexpected"]),
    exitcodes=st.lists(st.integers(0, 255), min_size=1, max_size=256).map(tuple),
    stopsignal=st.sampled_from(["TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2"]),
    stopwaitsecs=st.integers(0, 3600),
    priority=st.integers(0, 1_000_000),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("run")
    return Settings.from_env(
        {
            "PLUGVISOR_PLUGINS_DIR": str(root),
            "PLUGVISOR_RUN_DIR": str(root),
            "PLUGVISOR_LOG_DIR": str(root),
            "PLUGVISOR_SUPERVISOR_URL": "http://localhost:1",  # a socket's path could be too long here
        }
    )


# -- what supervisord reads


@given(
    options=OPTIONS,
    flags=st.fixed_dictionaries({"enabled": st.booleans(), "auto_start": st.booleans(), "logs": LOGS}),
    hostile=st.fixed_dictionaries(
        {
            **dict.fromkeys(("name", "version", "description"), TEXT),
            "command": st.lists(TEXT, max_size=3).map(lambda words: (sys.executable, *words)),
            "environment": VARIABLES,
        }
    ),
    folder=FILE_NAMES,
)
def test_supervisord_reads_the_program_that_was_meant(
    settings: Settings,
    options: SupervisorOptions,
    flags: dict[str, Any],
    hostile: dict[str, Any],
    folder: bytes,
) -> None:
    harmless = make_manifest(supervisor=options, **flags)
    manifest = make_manifest(supervisor=options, **flags, **hostile)

    program = render_program(manifest, settings.plugins_dir / os.fsdecode(folder), settings)

    assert program.section == render_section("echo", harmless, settings), "no string of a manifest stands in it"
    parser = UnhosedConfigParser()
    parser.read_string(program.section)
    [group] = ServerOptions().process_groups_from_parser(parser)
    [process] = group.process_configs
    assert parser.sections() == ["program:echo"]
    assert (group.name, group.priority) == ("echo", options.priority)
    read = vars(process) | {"options": None}
    never_set = ["directory", "umask", "uid", "serverurl", "stdout_syslog", "stdout_capture_maxbytes"]
    assert {option: read.pop(option) for option in never_set} == {
        "directory": None,
        "umask": None,
        "uid": None,
        "serverurl": None,
        "stdout_syslog": False,
        "stdout_capture_maxbytes": 0,
    }
    assert {option: value for option, value in read.items() if not option.startswith("stderr_")} == {
        "options": None,
        "name": "echo",
        "command": f"/bin/sh {settings.run_dir}/launch/echo.sh",
        "environment": {},
        "priority": options.priority,
        "autostart": flags["enabled"] and flags["auto_start"],
        "autorestart": {
            "true": RestartUnconditionally,
            "false": False,
            "unexpected": RestartWhenExitUnexpected,
        }[options.autorestart],
        "startsecs": options.startsecs,
        "startretries": options.startretries,
        "exitcodes": list(options.exitcodes),
        "stopsignal": signal_number(options.stopsignal),
        "stopwaitsecs": options.stopwaitsecs,
        "stopasgroup": True,
        "killasgroup": True,
        "redirect_stderr": True,
        "stdout_logfile": f"{settings.log_dir}/echo.log",
        "stdout_logfile_maxbytes": flags["logs"].max_size,
        "stdout_logfile_backups": flags["logs"].backups,
        "stdout_events_enabled": False,
    }


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("startsecs=1\n", "startsecs=one\n", "supervisord rejects its program; the log says why"),
        ("autorestart=unexpected", "autorestart=1.0", "supervisord rejects its program"),
        ("priority=999", "priority=%(ENV_NO_SUCH)s", "supervisord rejects its program"),
        (f"[program:{_LONGEST_ID}]", f"[program:{_LONGEST_ID}", "supervisord rejects its program"),
        ("priority=999", "priority=999\n[rpcinterface:x]\n", "supervisord reads its program in another way"),
        ("priority=999", "priority=999\n[program:x]\ncommand=id", "supervisord reads its program in another way"),
        (f"[program:{_LONGEST_ID}]", "[program:other]", "supervisord reads its program in another way"),
        (f"/launch/{_LONGEST_ID}.sh", "/launch/other.sh", "supervisord reads its program in another way"),
        ("command=/bin/sh", "command=/bin/sh -x", "supervisord reads its program in another way"),
        ("priority=999", "numprocs=2\nprocess_name=%(process_num)s", "supervisord reads its program in another way"),
    ],
)
def test_a_section_that_is_read_otherwise_is_never_published(
    settings: Settings, old: str, new: str, problem: str
) -> None:
    section = render_section(_LONGEST_ID, make_manifest(), settings)
    check_section(section, settings)
    assert old in section
    with pytest.raises(ManifestError, match=rf"^plugin\.toml: {problem}") as caught:
        check_section(section.replace(old, new), settings)
    assert str(settings.run_dir) not in str(caught.value)


# -- which program it is


def test_an_entry_is_run_by_the_runner(tmp_path: Path) -> None:
    manifest = Manifest(id="echo", name="echo", entry="echo.main:Echo")
    assert build_argv(manifest, tmp_path, None) == (sys.executable, str(RUNNER), "echo.main:Echo")
    assert RUNNER.is_file()
    runner = ("run", "--{id}={entry}", "{{x}}", "{dir}/x")
    assert build_argv(manifest, tmp_path, runner) == ("run", "--echo=echo.main:Echo", "{x}", f"{tmp_path}/x")
    with_both = make_manifest(entry="echo.main:Echo", command=("true", "{id}"))
    assert build_argv(with_both, tmp_path, runner) == ("true", "{id}")
    folder = tmp_path / os.fsdecode(b"\xff {id} %s")
    assert os.fsencode(build_argv(manifest, folder, runner)[-1]) == os.fsencode(folder) + b"/x"


@pytest.mark.parametrize(
    ("name", "path", "is_supplied"),
    [
        ("python", "/nowhere", True),
        ("python3", "/nowhere", True),
        ("python", ".", False),
        ("python3.11", "/nowhere", False),
        ("./python", "/nowhere", False),
    ],
)
def test_python_is_our_own_if_there_is_none(tmp_path: Path, name: str, path: str, is_supplied: bool) -> None:
    (tmp_path / "python").touch(0o755)
    manifest = make_manifest(command=(name, "main.py"), environment={"PATH": path})
    supplied = supply_python(manifest.command, manifest, tmp_path)
    assert supplied == (sys.executable if is_supplied else name, "main.py")


def run(launch: Launch, environ: Mapping[str, str]) -> int:
    """Start a program as the extension does; returns its exit code, or 127 if it cannot be executed."""
    with open(os.devnull, "w+") as null:
        try:
            pid = spawn(launch, launch.build_environment(environ), null.fileno(), null.fileno(), None)
        except OSError:
            return 127
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("name", "path", "problem"),
    [
        ("./tool", None, None),
        ("sub/../tool", "/nowhere", None),
        ("{folder}/tool", "/nowhere", None),
        ("sh", None, None),
        ("tool", ".", None),
        ("tool", "", None),
        ("tool", "/nowhere:", None),
        ("inner", "/nowhere:bin", None),
        ("data", "sub:.:bin", None),  # the first that is executable
        ("inner", "{folder}/bin", "not found on PATH; install it, or write its whole path"),  # a colon is in the folder
        ("tool", None, "not found on PATH"),
        ("sh", "/nowhere", "not found on PATH"),
        ("sh", "", "not found on PATH"),
        ("sub", ".", "not found on PATH"),
        ("dangling", ".", "not found on PATH"),
        ("x" * 300, ".", "not found on PATH"),
        ("./x" * 100, None, "does not exist"),
        ("./" + "x" * 300, None, "does not exist"),
        ("./missing", None, "does not exist"),
        ("./dangling", None, "does not exist"),
        ("./loop", None, "does not exist"),
        ("./tool/x", None, "does not exist"),
        ("./data", None, "is no executable file; try chmod +x"),
        ("./sub", None, "is no executable file"),
    ],
)
def test_the_command_is_found_as_exec_finds_it(
    tmp_path: Path, name: str, path: str | None, problem: str | None
) -> None:
    folder = tmp_path / "a:b"
    for made in (folder, folder / "bin", folder / "sub"):
        made.mkdir()
    for made in (folder / "tool", folder / "bin" / "inner", folder / "bin" / "data"):
        made.write_text("#!/bin/sh\nexit 42\n")
        made.chmod(0o755)
    (folder / "data").write_text("#!/bin/sh\nexit 42\n")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    name = name.format(folder=folder)
    environment = {} if path is None else {"PATH": path.format(folder=folder)}
    manifest = make_manifest(command=(name, "-c", "exit 42"), environment=environment)

    # the truth is what happens when it is run
    code = run(Launch(str(folder), list(manifest.command), environment, list(ORDINARY_VARIABLES)), os.environ)

    if problem is None:
        find_executable(manifest, folder, name)
        assert code == 42
    else:
        with pytest.raises(ManifestError, match=r"^plugin\.toml: the program that `command` names ") as caught:
            find_executable(manifest, folder, name)
        assert problem in str(caught.value)
        assert name not in str(caught.value), "of `API_KEY=secret python main.py` it is the first word"
        assert code == 127


def test_the_services_path_counts_if_the_manifest_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").touch(mode=0o755)
    manifest = make_manifest(command=("tool",))
    monkeypatch.setenv("PATH", str(tmp_path))
    find_executable(manifest, tmp_path, "tool")
    monkeypatch.delenv("PATH")
    find_executable(manifest, tmp_path, "sh")
    with pytest.raises(ManifestError):
        find_executable(manifest, tmp_path, "tool")


def test_a_runner_that_is_not_found_is_named(settings: Settings, tmp_path: Path) -> None:
    manifest = Manifest(id="echo", name="echo", entry="a:b")
    runner = Settings.from_env(settings.to_env() | {"PLUGVISOR_RUNNER": "no-such-runner {entry}"})
    with pytest.raises(ManifestError, match="its `entry` cannot be run by PLUGVISOR_RUNNER: the program"):
        render_program(manifest, tmp_path, runner)


def test_a_program_names_its_launch_file(settings: Settings) -> None:
    manifest = make_manifest(command=("sh", "-c", "true"), environment={"A": "1", "HOME": "/own"})
    program = render_program(manifest, settings.plugins_dir, settings)
    assert program.id == "echo"
    assert f"command=/bin/sh {launch_path(settings.run_dir, 'echo')}\n" in program.section
    launch = Launch(str(settings.plugins_dir), ["sh", "-c", "true"], manifest.environment, list(ORDINARY_VARIABLES))
    assert parse_launch(program.launch) == launch
