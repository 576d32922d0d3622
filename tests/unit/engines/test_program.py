"""`Manifest` -> program: supervisord reads what was meant, and the process receives every byte of the manifest's."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from plugvisor.engines.supervisord.extension.process_tag import parse_mark, render_mark
from plugvisor.engines.supervisord.program import (
    LOG_FILE_BACKUPS,
    LOG_FILE_BYTES,
    ORDINARY_VARIABLES,
    RUNNER,
    build_argv,
    check_section,
    find_executable,
    launch_path,
    read_launch_folder,
    render_launch_script,
    render_program,
    render_section,
)
from plugvisor.plugins.manifest import (
    _RANGES,
    _STOP_SIGNALS,
    Manifest,
    ManifestError,
    SupervisorOptions,
    parse_manifest,
)
from plugvisor.settings import Settings
from supervisor.datatypes import RestartUnconditionally, RestartWhenExitUnexpected, signal_number
from supervisor.options import ServerOptions, UnhosedConfigParser

DEADLINE_SECONDS = 30
RUN_DIR = Path("/run/it's")

# -- hostile strings

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
SPECIAL = st.sampled_from(";#%'\"\\$`!~*?[]{}()<>|&=-:,.@/a")
WORDS = st.sampled_from(
    [
        *("\n", "\r\n", "\t", " ", "\x01", "\x7f", "\x81", "\x88", "\u2028", "\\n", "你好", "🐈\u200d⬛"),
        *("%(ENV_HOME)s", "%%", "${HOME}", "$(id)", "`id`", "'\\''", "--", "-i", "-u"),
        *("\n[program:x]\ncommand=id\n", " ; comment", "\n#"),
    ]
)
TEXT = st.one_of(st.text(CHARACTERS, max_size=20), st.lists(SPECIAL | WORDS, max_size=8).map("".join))
VARIABLES = st.dictionaries(
    TEXT.map(lambda name: name.replace("=", "")).filter(lambda name: name and name not in ORDINARY_VARIABLES),
    TEXT,
    max_size=5,
)
FILE_NAMES = (
    st.one_of(TEXT.map(str.encode), st.binary(max_size=20))
    .map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")[:200])
    .filter(lambda name: name not in (b"", b".", b".."))
)
EVERY_BYTE = bytes(byte for byte in range(1, 256) if byte != ord("/"))
EVERY_CHARACTER = "".join(map(chr, [*range(1, 0x250), 0x2028, 0xFEFF, 0xFFFF, 0x1F408]))

OPTIONS = st.builds(
    SupervisorOptions,
    autorestart=st.sampled_from(["true", "false", "unexpected"]),
    exitcodes=st.lists(st.integers(0, 255), min_size=1, max_size=256).map(tuple),
    stopsignal=st.sampled_from(_STOP_SIGNALS),
    **{name: st.integers(low, high) for name, (low, high) in _RANGES.items()},
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


HARMLESS = st.builds(
    Manifest,
    id=st.just("echo"),
    name=st.just("echo"),
    command=st.just((sys.executable,)),
    enabled=st.booleans(),
    auto_start=st.booleans(),
    supervisor=OPTIONS,
)


@given(
    harmless=HARMLESS,
    hostile=st.fixed_dictionaries({"name": TEXT, "version": TEXT, "description": TEXT, "environment": VARIABLES}),
    words=st.lists(TEXT, max_size=3),
    folder=FILE_NAMES,
)
@hypothesis_settings(deadline=None)
def test_supervisord_reads_the_program_that_was_meant(
    settings: Settings, harmless: Manifest, hostile: dict[str, Any], words: list[str], folder: bytes
) -> None:
    manifest = replace(harmless, **hostile, command=(*harmless.command, *words))
    options = manifest.supervisor

    program = render_program(manifest, settings.plugins_dir / os.fsdecode(folder), settings)

    assert program.section == render_section(harmless, settings), "no string of a manifest stands in it"
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
        "autostart": manifest.enabled and manifest.auto_start,
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
        "stdout_logfile_maxbytes": LOG_FILE_BYTES,
        "stdout_logfile_backups": LOG_FILE_BACKUPS,
        "stdout_events_enabled": False,
    }


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("startsecs=1\n", "startsecs=one\n", "supervisord refuses its program; the log says why"),
        ("autorestart=unexpected", "autorestart=1.0", "supervisord refuses its program"),
        ("priority=999", "priority=%(ENV_NO_SUCH)s", "supervisord refuses its program"),
        ("[program:echo]", "[program:echo", "supervisord refuses its program"),
        ("priority=999", "priority=999\n[rpcinterface:x]\n", "supervisord reads its program in another way"),
        ("priority=999", "priority=999\n[program:x]\ncommand=id", "supervisord reads its program in another way"),
        ("[program:echo]", "[program:other]", "supervisord reads its program in another way"),
        ("/launch/echo.sh", "/launch/other.sh", "supervisord reads its program in another way"),
        ("command=/bin/sh", "command=/bin/sh -x", "supervisord reads its program in another way"),
        ("priority=999", "numprocs=2\nprocess_name=%(process_num)s", "supervisord reads its program in another way"),
    ],
)
def test_a_section_that_is_read_otherwise_is_never_published(
    settings: Settings, old: str, new: str, problem: str
) -> None:
    manifest = Manifest(id="echo", name="echo", command=("true",))
    section = render_section(manifest, settings)
    check_section(section, manifest, settings)
    assert old in section
    with pytest.raises(ManifestError, match=rf"^plugin\.toml: {problem}") as caught:
        check_section(section.replace(old, new), manifest, settings)
    assert str(settings.run_dir) not in str(caught.value)


# -- what the process receives

SHELLS = [["/bin/sh"]] + [
    [path, *options]
    for name, *options in (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["ksh"], ["mksh"], ["yash"])
    if (path := shutil.which(name)) and os.path.realpath(path) != os.path.realpath("/bin/sh")
]
"""Whatever could be /bin/sh on some machine and is on this one."""

PROBE = """\
import json, os, sys
told = [os.fsencode(word) for word in sys.orig_argv], list(os.environb.items()), os.getcwdb()
hexadecimal = lambda value: value.hex() if isinstance(value, bytes) else list(map(hexadecimal, value))
print(json.dumps(hexadecimal(told)))
"""
PYTHON = ("-I", "-S", "-c", PROBE)

SURROUNDINGS = {
    **{name.encode(): name.encode() + b"=; # 'x' \"y\" \\ $HOME\n" + EVERY_BYTE for name in ORDINARY_VARIABLES},
    # python would set LC_CTYPE where it does not know the locale
    **dict.fromkeys((b"LANG", b"LC_ALL", b"LC_CTYPE"), b"C.UTF-8"),
    b"PATH": os.environb[b"PATH"] + b": $HOME;'",
}
SECRETS = {
    b"SECRET": b"secret",
    b"PLUGVISOR_ADMIN_CODE": b"secret",
    b"SUPERVISOR_ENABLED": b"1",
    b"SUPERVISOR_SERVER_URL": b"unix:///secret",
    b"SUPERVISOR_PROCESS_NAME": b"secret",
    b"CDPATH": b"/",
    b"IFS": b"/=P",
    b"PWD": b"/secret",
    b"OLDPWD": b"/secret",
    b"SHLVL": b"7",
    b"_": b"secret",
    b"not a name": b"secret",
}


class Received:
    """What a probe told: its argument vector, its environment, and where it was."""

    def __init__(self, output: bytes) -> None:
        argv, environment, folder = json.loads(output)
        self.argv = [bytes.fromhex(word) for word in argv]
        self.environment = {bytes.fromhex(name): bytes.fromhex(value) for name, value in environment}
        self.mark = parse_mark(b"PLUGVISOR_PLUGIN=" + self.environment.pop(b"PLUGVISOR_PLUGIN"))
        self.folder = bytes.fromhex(folder)


def render(folder: Path, argv: tuple[str, ...], environment: Mapping[str, str]) -> bytes:
    return render_launch_script(folder, argv, environment, render_mark(RUN_DIR, "echo"))


def run(script: bytes, shell: list[str], environ: dict[bytes, bytes]) -> subprocess.CompletedProcess[bytes]:
    """Run a launch script as supervisord does: by its path, from elsewhere."""
    with tempfile.NamedTemporaryFile(suffix=".sh") as file:
        file.write(script)
        file.flush()
        return subprocess.run(
            [*shell, file.name], env=environ, cwd="/", capture_output=True, timeout=DEADLINE_SECONDS, check=False
        )


def receive(script: bytes, shell: list[str], environ: dict[bytes, bytes]) -> Received:
    process = run(script, shell, environ)
    assert process.returncode == 0, process.stderr.decode(errors="replace")
    assert not process.stderr
    return Received(process.stdout)


def encode(variables: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in variables.items()}


@pytest.fixture(scope="module", params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return request.param


@given(words=st.lists(TEXT, max_size=5), environment=VARIABLES, folder=FILE_NAMES, program=FILE_NAMES | st.none())
@example(words=[EVERY_CHARACTER, ""], environment={"A": EVERY_CHARACTER}, folder=EVERY_BYTE, program=None)
@example(words=[], environment={EVERY_CHARACTER.replace("=", ""): ""}, folder=b"-", program=EVERY_BYTE[:200])
@example(words=["a=b", "-x"], environment={"a b": "x", "-u": "y", "é.z": "z"}, folder=b"-P", program=b" a=b ")
@example(words=[], environment=dict.fromkeys(ORDINARY_VARIABLES, "C.UTF-8"), folder=b"\n", program=b"-=")
@example(words=[], environment={"PWD": "1", "OLDPWD": "2", "SHLVL": "3", "_": "4"}, folder=b"~", program=b"a=")
@hypothesis_settings(deadline=None, max_examples=40)
def test_the_process_receives_every_byte(
    shell: list[str], words: list[str], environment: dict[str, str], folder: bytes, program: bytes | None
) -> None:
    root = Path(tempfile.mkdtemp(prefix="pv-")).resolve()
    try:
        path = root / os.fsdecode(folder)
        path.mkdir()
        command = sys.executable
        if program is not None:
            command = os.fsdecode(b"./" + program)
            (path / command).symlink_to(os.path.realpath(sys.executable))
        argv = (command, *PYTHON, *words)
        script = render(path, argv, environment)
        received = receive(script, shell, SURROUNDINGS | SECRETS)
    finally:
        shutil.rmtree(root)

    assert received.argv == [os.fsencode(word) for word in argv]
    assert received.environment == SURROUNDINGS | encode(environment)
    assert received.folder == os.fsencode(path)
    assert read_launch_folder(script) == path


def test_the_mark_tells_whose_process_it_is_whatever_the_manifest_says(shell: list[str], tmp_path: Path) -> None:
    environment = {"PLUGVISOR_PLUGIN": "/run/it's:other:1"}
    probe = (sys.executable, "-ISc", "import os; print(os.getpid(), os.environ['PLUGVISOR_PLUGIN'])")
    process = run(render(tmp_path, probe, environment), shell, SURROUNDINGS)
    pid, mark = process.stdout.decode().split()
    assert mark == f"/run/it's:echo:{pid}"


@pytest.mark.parametrize(
    ("environ", "mark"),
    [
        (b"A=b\0PLUGVISOR_PLUGIN=/run/a:b:echo:17\0", ("/run/a:b", "echo", 17)),
        (b"PLUGVISOR_PLUGIN=/x:y:1\0PLUGVISOR_PLUGIN=/run:echo:17\0", ("/run", "echo", 17)),
        *[(environ, None) for environ in (b"", b"\0", b"A=PLUGVISOR_PLUGIN=/run:echo:17", b"PLUGVISOR_PLUGIN=")],
        *[
            (b"PLUGVISOR_PLUGIN=" + text, None)
            for text in (b"/run:echo:", b"/run:echo:x", b"run:echo:1", b"/run::1", b"1")
        ],
    ],
)
def test_reading_a_mark(environ: bytes, mark: tuple[str, str, int] | None) -> None:
    assert parse_mark(environ) == mark


@pytest.mark.parametrize("name", ["a", "-a", "a=b", "-a=b"])
def test_the_program_is_looked_up_on_the_manifests_path(shell: list[str], tmp_path: Path, name: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(os.path.realpath(sys.executable))
    environment = {"-u": "PATH", "PATH": "/nowhere:bin", "LANG": "C.UTF-8"}  # the first must not be an option of `env`
    received = receive(render(tmp_path, (name, *PYTHON), environment), shell, {})
    assert received.argv[0] == name.encode()
    received.environment.pop(b"SHELL", None)  # bash makes one up for itself
    assert received.environment == encode(environment)


def test_an_ordinary_variable_that_is_not_set_is_not_made_up(shell: list[str], tmp_path: Path) -> None:
    environ = {b"LANG": b"C.UTF-8", b"TZ": b""}
    received = receive(render(tmp_path, (sys.executable, *PYTHON), {}), shell, environ)
    for invented in (b"PATH", b"SHELL"):  # by shells for themselves
        received.environment.pop(invented, None)
    assert received.environment == environ


def test_the_longest_strings_that_a_manifest_may_hold_arrive(shell: list[str], tmp_path: Path) -> None:
    longest = 128 * 1024 - 1
    manifest = parse_manifest(
        f"[plugin]\nid = 'a'\ncommand = ['{sys.executable}', '-ISc', '{{}}', '{'x' * longest}']\n"
        f"[plugin_runtime.environment]\nA = '{'y' * (longest - 2)}'".encode()
    )
    argv = [PROBE if word == "{}" else word for word in manifest.command]
    script = render(tmp_path, tuple(argv), manifest.environment)
    received = receive(script, shell, SURROUNDINGS)
    assert received.argv[-1] == b"x" * longest
    assert received.environment[b"A"] == b"y" * (longest - 2)


def test_nothing_runs_where_the_folder_is_gone(shell: list[str], tmp_path: Path) -> None:
    process = run(render(tmp_path / "gone", ("echo", "x"), {}), shell, SURROUNDINGS)
    assert (process.returncode, process.stdout) == (127, b"")
    assert b"gone" in process.stderr


def test_the_script_is_one_that_a_person_can_read() -> None:
    script = render(Path("/plugins/it's"), ("python", "main.py"), {"HOME": "/", "A": "b c"})
    inherited = " ".join(f'${{{name}+"{name}=${name}"}}' for name in ORDINARY_VARIABLES if name != "HOME")
    assert script.decode() == (
        "#!/bin/sh\n"
        "cd -- '/plugins/it'\\''s' || exit 127\n"
        f"exec /usr/bin/env -i -- {inherited} 'HOME=/' 'A=b c' "
        "'PLUGVISOR_PLUGIN=/run/it'\\''s:echo:'\"$$\" 'python' 'main.py'\n"
    )


@given(folder=FILE_NAMES, words=st.lists(TEXT, min_size=1), environment=VARIABLES)
@example(folder=EVERY_BYTE, words=["x"], environment={})
@example(folder=b"#!'; exit", words=["x"], environment={})
@hypothesis_settings(deadline=None)
def test_the_folder_can_be_read_out_of_the_script(folder: bytes, words: list[str], environment: dict[str, str]) -> None:
    path = Path("/plugins", os.fsdecode(folder))
    assert read_launch_folder(render(path, tuple(words), environment)) == path


# -- which program it is


def test_an_entry_is_run_by_the_runner(settings: Settings, tmp_path: Path) -> None:
    manifest = Manifest(id="echo", name="echo", entry="echo.main:Echo")
    assert build_argv(manifest, tmp_path, None) == (sys.executable, str(RUNNER), "echo.main:Echo")
    assert RUNNER.is_file()
    runner = ("run", "--{id}={entry}", "{{x}}", "{dir}/x")
    assert build_argv(manifest, tmp_path, runner) == ("run", "--echo=echo.main:Echo", "{x}", f"{tmp_path}/x")
    with_both = replace(manifest, command=("true", "{id}"))
    assert build_argv(with_both, tmp_path, runner) == ("true", "{id}")


def test_a_runner_receives_a_folder_of_any_bytes(shell: list[str], tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff {id} %s")
    folder.mkdir()
    argv = build_argv(Manifest(id="a", name="a", entry="b:c"), folder, (sys.executable, "-ISc", "{entry}", "{dir}"))
    argv = (*argv[:2], PROBE, *argv[3:])
    assert receive(render(folder, argv, {}), shell, SURROUNDINGS).argv[-1] == os.fsencode(folder)


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
def test_the_command_is_looked_up_as_env_will(tmp_path: Path, name: str, path: str | None, problem: str | None) -> None:
    folder = tmp_path / "a:b"
    for made in (folder, folder / "bin", folder / "sub"):
        made.mkdir()
    for made in ("tool", "bin/inner", "bin/data"):
        (folder / made).write_text("#!/bin/sh\nexit 42\n")
        (folder / made).chmod(0o755)
    (folder / "data").write_text("#!/bin/sh\nexit 42\n")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    name = name.format(folder=folder)
    environment = {} if path is None else {"PATH": path.format(folder=folder)}
    manifest = Manifest(id="a", name="a", command=(name, "-c", "exit 42"), environment=environment)

    # the truth is what happens when it is run
    code = run(render(folder, manifest.command, environment), ["/bin/sh"], dict(os.environb)).returncode

    if problem is None:
        find_executable(manifest, folder, name)
        assert code == 42
    else:
        with pytest.raises(ManifestError) as caught:
            find_executable(manifest, folder, name)
        assert str(caught.value).startswith(f"plugin.toml: the command {name!r} {'is ' * problem.startswith('not')}")
        assert problem in str(caught.value)
        assert code in (126, 127)


def test_the_services_path_counts_where_the_manifest_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").touch(mode=0o755)
    manifest = Manifest(id="a", name="a", command=("tool",))
    monkeypatch.setenv("PATH", str(tmp_path))
    find_executable(manifest, tmp_path, "tool")
    monkeypatch.delenv("PATH")
    find_executable(manifest, tmp_path, "sh")
    with pytest.raises(ManifestError):
        find_executable(manifest, tmp_path, "tool")


def test_a_program_names_its_two_files(settings: Settings) -> None:
    program = render_program(Manifest(id="echo", name="x", command=("sh",)), settings.plugins_dir, settings)
    assert program.id == "echo"
    assert f"command=/bin/sh {launch_path(settings.run_dir, 'echo')}\n" in program.section
    mark = render_mark(settings.run_dir, "echo")
    assert program.launch_script == render_launch_script(settings.plugins_dir, ("sh",), {}, mark)
