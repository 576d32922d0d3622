"""Launch files: the process receives every byte of the manifest's, and a damaged file is no surprise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from plugvisor.engines.launching import ORDINARY_VARIABLES
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch, LaunchFileError, parse_launch
from plugvisor.engines.supervisord.extension.processes.process_tag import ProcessTag, parse_process_tag
from plugvisor.engines.supervisord.extension.processes.spawn import spawn
from plugvisor.engines.supervisord.program import render_launch
from plugvisor.plugins.manifest import parse_manifest
from plugvisor.settings import Settings

from tests.helpers.hostile_strings import EVERY_BYTE, EVERY_CHARACTER, FILE_NAMES, TEXT, VARIABLES
from tests.helpers.manifests import make_manifest
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBE = """\
import json, os, sys
received = [os.fsencode(word) for word in sys.orig_argv], list(os.environb.items()), os.getcwdb()
hexadecimal = lambda value: value.hex() if isinstance(value, bytes) else list(map(hexadecimal, value))
print(json.dumps(hexadecimal(received)))
"""
PYTHON = ("-I", "-S", "-c", PROBE)
SETTINGS = Settings.from_env({"PLUGVISOR_RUN_DIR": "/run/plugvisor"})

SURROUNDINGS = {
    **{name.encode(): name.encode() + b"=; # 'x' \"y\" \\ $HOME\n" + EVERY_BYTE for name in ORDINARY_VARIABLES},
    # python would set LC_CTYPE if it did not know the locale
    **dict.fromkeys((b"LANG", b"LC_ALL", b"LC_CTYPE"), b"C.UTF-8"),
    b"PATH": os.environb[b"PATH"] + b": $HOME;'",
}
SECRETS = {
    **dict.fromkeys((b"SECRET", b"PLUGVISOR_ADMIN_CODE", b"SUPERVISOR_PROCESS_NAME", b"_", b"not a name"), b"secret"),
    b"SUPERVISOR_ENABLED": b"1",
    b"SUPERVISOR_SERVER_URL": b"unix:///secret",
    b"CDPATH": b"/",
    b"IFS": b"/=P",
    b"PWD": b"/secret",
    b"OLDPWD": b"/secret",
    b"SHLVL": b"7",
}


class Received:
    """What a probe has printed: its arguments, its environment and its directory."""

    def __init__(self, output: bytes) -> None:
        arguments, environment, directory = json.loads(output)
        self.arguments = [bytes.fromhex(word) for word in arguments]
        self.environment = {bytes.fromhex(name): bytes.fromhex(value) for name, value in environment}
        self.directory = bytes.fromhex(directory)


def spawn_probe(launch: Launch, environ: Mapping[bytes, bytes]) -> Received:
    """Start a probe as the extension does, from a supervisord with this environment."""
    names = {os.fsdecode(name): os.fsdecode(value) for name, value in environ.items()}
    reading, writing = os.pipe()
    with open(reading, "rb") as output, open(os.devnull) as null:
        try:
            pid = spawn(launch, launch.build_environment(names), null.fileno(), writing, None)
        finally:
            os.close(writing)
        printed = output.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, printed
    return Received(printed)


def encode(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in variables.items()}


# -- what the process receives


@given(words=st.lists(TEXT, max_size=5), environment=VARIABLES, folder=FILE_NAMES, program=FILE_NAMES | st.none())
@example(words=[EVERY_CHARACTER, ""], environment={"A": EVERY_CHARACTER}, folder=EVERY_BYTE, program=None)
@example(words=[], environment={EVERY_CHARACTER.replace("=", ""): ""}, folder=b"-", program=EVERY_BYTE[:200])
@example(words=["a=b", "-x"], environment={"a b": "x", "-u": "y", "é.z": "z"}, folder=b"-P", program=b" a=b ")
@example(words=[], environment=dict.fromkeys(ORDINARY_VARIABLES, "C.UTF-8"), folder=b"\n", program=b"-=")
@example(words=[], environment={"PWD": "1", "OLDPWD": "2", "SHLVL": "3", "_": "4"}, folder=b"~", program=b"a=")
@hypothesis_settings(max_examples=25)
def test_the_process_receives_every_byte(
    words: list[str], environment: dict[str, str], folder: bytes, program: bytes | None
) -> None:
    with tempfile.TemporaryDirectory(prefix="pv-") as root:
        path = Path(root).resolve() / os.fsdecode(folder)
        path.mkdir()
        command = sys.executable
        if program is not None:
            command = os.fsdecode(b"./" + program)
            (path / command).symlink_to(os.path.realpath(sys.executable))
        manifest = make_manifest(environment=environment)
        data = render_launch(manifest, path, (command, *PYTHON, *words), SETTINGS)
        received = spawn_probe(parse_launch(data), SURROUNDINGS | SECRETS)

    assert received.arguments == [os.fsencode(word) for word in (command, *PYTHON, *words)]
    assert received.environment == SURROUNDINGS | encode(environment)
    assert received.directory == os.fsencode(path)


@pytest.mark.parametrize("name", ["a", "-a", "a=b", "-a=b"])
def test_the_program_is_looked_up_on_the_manifests_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(os.path.realpath(sys.executable))
    environment = {"PATH": "/nowhere:bin", "LANG": "C.UTF-8"}
    received = spawn_probe(Launch(str(tmp_path), [name, *PYTHON], environment, []), SURROUNDINGS)
    assert received.arguments[0] == name.encode()
    assert received.environment == encode(environment)


def test_a_variable_that_is_not_set_is_not_made_up(tmp_path: Path) -> None:
    environ = {b"LANG": b"C.UTF-8", b"TZ": b""}
    launch = Launch(str(tmp_path), [sys.executable, *PYTHON], {}, list(ORDINARY_VARIABLES))
    assert spawn_probe(launch, environ | SECRETS).environment == environ


def test_the_longest_strings_that_a_manifest_may_hold_arrive(tmp_path: Path) -> None:
    longest = 128 * 1024 - 1
    manifest = parse_manifest(
        f"[plugin]\nid = 'a'\ncommand = ['{sys.executable}', '-ISc', '{{}}', '{'x' * longest}']\n"
        f"[plugin_runtime.environment]\nA = '{'y' * (longest - 2)}'".encode()
    )
    arguments = tuple(PROBE if word == "{}" else word for word in manifest.command)
    received = spawn_probe(parse_launch(render_launch(manifest, tmp_path, arguments, SETTINGS)), SURROUNDINGS)
    assert received.arguments[-1] == b"x" * longest
    assert received.environment[b"A"] == b"y" * (longest - 2)


SHELLS = [["/bin/sh"]] + [
    [path, *options]
    for name, *options in (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["ksh"], ["mksh"], ["yash"])
    if (path := shutil.which(name)) and os.path.realpath(path) != os.path.realpath("/bin/sh")
]
"""Every shell of this machine that could be /bin/sh on another."""


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_file_is_a_script_that_an_operator_can_run(shell: list[str], tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(EVERY_BYTE)
    folder.mkdir()
    manifest = make_manifest(environment={"A": EVERY_CHARACTER, "-u": "PATH"})
    arguments = (sys.executable, *PYTHON, EVERY_CHARACTER, "\n{", "")
    script = tmp_path / "it's a script.sh"
    script.write_bytes(render_launch(manifest, folder, arguments, SETTINGS))
    process = subprocess.run(
        [*shell, str(script)],
        env=SURROUNDINGS | SECRETS,
        cwd="/",
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode(errors="replace")
    received = Received(process.stdout)
    assert received.arguments == [os.fsencode(word) for word in arguments]
    assert received.environment == SURROUNDINGS | encode(manifest.environment)
    assert received.directory == os.fsencode(folder)


def test_a_person_can_read_it() -> None:
    manifest = make_manifest(environment={"GREETING": 'say "hi"'})
    script = render_launch(manifest, Path("/plugins/echo"), ("python", "main.py"), SETTINGS).decode()
    *head, opening = script.partition("{\n")[0].splitlines()
    assert head[0] == "#!/bin/sh"
    assert opening.startswith("exec ")
    assert opening.endswith(' -P -m plugvisor run --file "$0"')
    assert ' "directory": "/plugins/echo",\n' in script
    assert json.loads(script[script.index("{\n") :]) == {
        "directory": "/plugins/echo",
        "arguments": ["python", "main.py"],
        "environment": {"GREETING": 'say "hi"'},
        "inherited": list(ORDINARY_VARIABLES),
    }


# -- reading it


@given(
    directory=FILE_NAMES.map(lambda name: os.fsdecode(b"/" + name)),
    arguments=st.lists(TEXT, min_size=1),
    environment=VARIABLES,
    python=FILE_NAMES.map(lambda name: os.fsdecode(b"/" + name.replace(b"\n{", b""))),
)
def test_what_is_rendered_is_parsed(
    directory: str, arguments: list[str], environment: dict[str, str], python: str
) -> None:
    launch = Launch(directory, arguments, environment, ["PATH"])
    assert parse_launch(launch.render(python)) == launch


RENDERED = Launch("/plugins/echo", ["python"], {"API_KEY": "secret"}, ["PATH"]).render("/usr/bin/python3")
FIELDS = json.loads(RENDERED[RENDERED.index(b"\n{") :])


@pytest.mark.parametrize(
    "fields",
    [
        *({name: value for name, value in FIELDS.items() if name != missing} for missing in FIELDS),
        *(
            FIELDS | wrong
            for wrong in (
                {"more": 1},
                {"directory": None},
                {"directory": "a\0b"},
                {"arguments": []},
                {"arguments": 5},
                {"arguments": [5]},
                {"arguments": ["secret\0"]},
                {"environment": ["secret"]},
                {"environment": {"A": None}},
                {"environment": {"A": "secret\0"}},
                {"environment": {"A\0": "secret"}},
                {"inherited": [None]},
            )
        ),
        [],
        "secret",
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_a_damaged_file(fields: Any) -> None:
    with pytest.raises(LaunchFileError) as raised:
        parse_launch(b"#!/bin/sh\n" + json.dumps(fields).encode())
    assert str(raised.value) == "its launch file is damaged; a reload writes it again"
    assert raised.value.__cause__ is None


def test_a_file_that_is_cut_short_anywhere() -> None:
    for length in range(len(RENDERED) - 2):
        with pytest.raises(LaunchFileError):
            parse_launch(RENDERED[:length])


@given(st.binary(max_size=50))
def test_no_bytes_lead_to_another_error(data: bytes) -> None:
    for damaged in (data, RENDERED.replace(b'"python"', data), b"\n{" + data, b"\n{" + b"[" * 100_000):
        try:
            launch = parse_launch(damaged)
        except LaunchFileError:
            continue
        assert launch.arguments


# -- the process tag


@pytest.mark.parametrize(
    ("environ", "tag"),
    [
        (b"A=b\0PLUGVISOR_PLUGIN=/run/a:b:echo:17\0", ("/run/a:b", "echo", "17")),
        (b"PLUGVISOR_PLUGIN=/run:echo:1-1", ("/run", "echo", "1-1")),
        *[(environ, None) for environ in (b"", b"\0", b"A=PLUGVISOR_PLUGIN=/run:echo:17", b"PLUGVISOR_PLUGIN=")],
        *[(b"PLUGVISOR_PLUGIN=" + text, None) for text in (b"/run:echo:", b"run:echo:1", b"/run::1", b"1")],
    ],
)
def test_reading_a_process_tag(environ: bytes, tag: tuple[str, str, str] | None) -> None:
    assert parse_process_tag(environ) == tag


def test_a_process_tag_is_read_as_it_was_written() -> None:
    tag = ProcessTag("/run/it's:a", "echo", "1f-2")
    assert parse_process_tag(f"A=1\0PLUGVISOR_PLUGIN={tag.render()}\0".encode()) == tag
