"""Reading `plugin.toml`: every rule, and the line that an error names."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from plugvisor.layout import LARGEST_MANIFEST_BYTES
from plugvisor.models.manifest import FILE_NAME, Manifest, ManifestError, SupervisorOptions
from plugvisor.plugins import manifest as reader
from plugvisor.plugins.manifest import ManifestCache, parse_manifest, read_manifest

PLUGIN = '[plugin]\nid = "echo"\ncommand = ["true"]\n'
ENVIRONMENT = f"{PLUGIN}[plugin_runtime.environment]\n"
SUPERVISOR = f"{PLUGIN}[plugin_runtime.supervisor]\n"
EVERYTHING = """\
[plugin]
id = "echo"
name = "回声"
version = "2.1"
description = "two\\nlines"
command = ["python", "main.py", ""]
entry = "echo.main:EchoPlugin"
colour = 7  # nothing of ours

[plugin.author]
id = 8

[plugin_runtime]
enabled = false
auto_start = false
[plugin_runtime.environment]
GREETING = "你好; \\"quoted\\" 100%"
"a b.c" = ""
[plugin_runtime.supervisor]
startsecs = 0
startretries = 7
autorestart = "true"
exitcodes = [0, 2, 255]
stopsignal = "INT"
stopwaitsecs = 3600
priority = 1
[echo]
startsecs = "the plugin's own business"
"""


def error_of(text: str | bytes) -> ManifestError:
    """The error of an invalid manifest."""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text if isinstance(text, bytes) else text.encode())
    return caught.value


def test_defaults() -> None:
    assert parse_manifest(PLUGIN.encode()) == Manifest(
        id="echo",
        name="echo",
        version="0.1.0",
        description="",
        command=("true",),
        entry="",
        enabled=True,
        auto_start=True,
        environment={},
        supervisor=SupervisorOptions(
            startsecs=1,
            startretries=3,
            autorestart="unexpected",
            exitcodes=(0,),
            stopsignal="TERM",
            stopwaitsecs=10,
            priority=999,
        ),
    )


def test_everything() -> None:
    assert parse_manifest(EVERYTHING.encode()) == Manifest(
        id="echo",
        name="回声",
        version="2.1",
        description="two\nlines",
        command=("python", "main.py", ""),
        entry="echo.main:EchoPlugin",
        enabled=False,
        auto_start=False,
        environment={"GREETING": '你好; "quoted" 100%', "a b.c": ""},
        supervisor=SupervisorOptions(0, 7, "true", (0, 2, 255), "INT", 3600, 1),
    )


@pytest.mark.parametrize("encode", [lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r\n")])
def test_an_editors_byte_order_mark_and_line_ends_change_nothing(encode) -> None:
    assert parse_manifest(encode(EVERYTHING.encode())) == parse_manifest(EVERYTHING.encode())
    with pytest.raises(ManifestError, match=r"^plugin\.toml line 4: `name`"):
        parse_manifest(encode(f"{PLUGIN}name = 1\n".encode()))


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("python -m  echo 'a b' \\\"c", ("python", "-m", "echo", "a b", '"c')),
        ("echo # no comment; no | pipe $HOME", ("echo", "#", "no", "comment;", "no", "|", "pipe", "$HOME")),
        ("echo ''", ("echo", "")),
    ],
)
def test_a_command_in_one_string_is_split_as_a_shell_would(command: str, argv: tuple[str, ...]) -> None:
    manifest = parse_manifest(f"[plugin]\nid = 'echo'\ncommand = '''{command}'''\n".encode())
    assert manifest.command == argv


@pytest.mark.parametrize("value", ["true", "false", '"true"', '"false"', '"unexpected"'])
def test_autorestart_is_a_flag_or_a_word(value: str) -> None:
    assert parse_manifest(f"{SUPERVISOR}autorestart = {value}".encode()).supervisor.autorestart == value.strip('"')


@pytest.mark.parametrize("plugin_id", ["a", "9", "A-b_c", "x" * 64, "plugvisor2"])
def test_good_ids(plugin_id: str) -> None:
    assert parse_manifest(f'[plugin]\nid = "{plugin_id}"\nentry = "a:b"'.encode()).id == plugin_id


ID_RULE = "`id` must be 1 to 64 letters, digits, `_` or `-`, the first a letter or digit"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        # bad TOML, and what would be costly to read
        ("[plugin\n", 1, "Expected ']' at the end of a table declaration"),
        ('[plugin]\nid = "a"\nid = "b"\n', 3, "Cannot overwrite a value"),
        ("[plugin]\nid = ", 2, "Invalid value"),
        ('[plugin]\nid = """\n\n', 4, "Unterminated string"),
        ('[plugin]\nid = "a\0"', 2, "Illegal character"),
        (b"[plugin]\n# fine\nid = '\xff'", 3, "it is not UTF-8"),
        ("[plugin]\nx = " + "[" * 100_000, None, "it is nested too deeply"),
        ("[plugin]\nx = " + "{x=" * 60_000, None, "it is nested too deeply"),
        ("[plugin]\nx" + ".x" * 100 + "=1", 2, "it is nested too deeply"),
        ("\n[" + "'a' . " * 100 + "a]", 2, "it is nested too deeply"),
        ("\n\nx = { a = 1, " + r'"\""."\\".' * 100 + "a = 1}", 3, "it is nested too deeply"),
        (f"[plugin]\nid = {'9' * 5000}", None, "a number in it has too many digits"),
        # [plugin]
        ("", None, "[plugin] needs an `id`"),
        ("plugin = 3", 1, "[plugin] must be a table"),
        ("[[plugin]]", 1, "[plugin] must be a table"),
        ('\n[plugin]\nname = "x"\n', 2, "[plugin] needs an `id`"),
        ('\n[plugin.author]\n[plugin]\nname = "x"\n', 3, "[plugin] needs an `id`"),
        ("[plugin]\n\nid = 7", 3, "`id` must be a string"),
        *((f'[plugin]\nid = "{bad}"', 2, ID_RULE) for bad in ("", "-a", "_a", "a b", "a.b", "é", "a\\n", "x" * 65)),
        ('[plugin]\nid = "plugvisor"', 2, "the id 'plugvisor' is reserved"),
        ('[plugin]\nid = "PlugVisor"', 2, "the id 'PlugVisor' is reserved"),
        *((f"{PLUGIN}{key} = []", 4, f"`{key}` must be a string") for key in ("name", "version", "description")),
        (f'{PLUGIN}name = "\\u0000"', 4, "`name` must have no NUL character"),
        (f"{PLUGIN}name = '{'x' * 128 * 1024}'", 4, "`name` must have no NUL character and at most 131071 bytes"),
        # command and entry
        ('[plugin]\nid = "a"', 1, "[plugin] needs a `command` or an `entry`"),
        *((f'[plugin]\nid = "a"\ncommand = {bad}', 3, "`command` must be a list") for bad in ("[]", '""', "1", "[1]")),
        ('[plugin]\nid = "a"\ncommand = ["", "a"]', 3, "the first word of `command` is empty"),
        ("[plugin]\nid = 'a'\ncommand = \"it's\"", 3, "`command` cannot be split into words: no closing quotation"),
        (
            '[plugin]\nid = "a"\ncommand = ["a", "\\u0000"]',
            3,
            "not empty and without NUL characters",
        ),
        (f'[plugin]\nid = "a"\ncommand = ["a", "{"é" * 65536}"]', 3, "a word of `command` is longer"),
        *(
            (f'[plugin]\nid = "a"\nentry = "{bad}"', 3, "must look like module:attribute")
            for bad in ("a", "a:", ":a", "a.:b", "a-b:c", "a:b:c", "a:b.c", "a: b", "a:b\\n")
        ),
        (f'{PLUGIN}entry = "a:{"é" * 65536}"', 4, "`entry` is longer than 131071 bytes"),
        (f'{PLUGIN}entry = "a;b:c"', 4, "`entry` must look like"),  # though it would not be used
        # [plugin_runtime]
        ("plugin_runtime = 1\n" + PLUGIN, 1, "[plugin_runtime] must be a table"),
        *((f"{PLUGIN}[plugin_runtime]\n{key} = 1", 5, f"`{key}` must be true") for key in ("enabled", "auto_start")),
        (f"{PLUGIN}[plugin_runtime]\nenvironment = 1", 5, "[plugin_runtime.environment] must be a table"),
        (f"{ENVIRONMENT}A = ''\nB = 1", 6, "a variable must be a string: write it in quotes"),
        *(
            (f'{ENVIRONMENT}A = ""\n"{bad}" = ""', 6, "a variable must have a name that is not empty and has no `=`")
            for bad in ("", "B=C", "B\\u0000")
        ),
        (f'{ENVIRONMENT}A = "\\u0000"', 5, "a variable must have no NUL character"),
        (f"{ENVIRONMENT}A = '{'x' * (128 * 1024 - 2)}'", 5, "a variable is longer than 131071 bytes"),
        # [plugin_runtime.supervisor]
        *(
            (f"{SUPERVISOR}{name} = {bad}", 5, f"`{name}` must be a whole number from 0 to {highest}")
            for name, highest in {
                "startsecs": 3600,
                "startretries": 1_000_000,
                "stopwaitsecs": 3600,
                "priority": 1_000_000,
            }.items()
            for bad in ("-1", highest + 1, "true", "1.0", '"1"', "[1]", "0x" + "f" * 10_000)
        ),
        *((f"{SUPERVISOR}autorestart = {bad}", 5, "`autorestart` must be") for bad in ("1", "0.0", '"TRUE"', "[]")),
        *(
            (f"{SUPERVISOR}exitcodes = {bad}", 5, "`exitcodes` must be a list of 1 to 256 whole numbers from 0 to 255")
            for bad in ("[]", "0", "[256]", "[-1]", "[true]", '["0"]', f"[{'0,' * 257}]")
        ),
        *((f"{SUPERVISOR}stopsignal = {bad}", 5, "`stopsignal` must be") for bad in ('"STOP"', '"term"', "15", "[]")),
        (f"{PLUGIN}[plugin_runtime]\nsupervisor = []", 5, "[plugin_runtime.supervisor] must be a table"),
        (
            f'{SUPERVISOR}startsecs = 1\nuser = "root"',
            6,
            "there is no such option in [plugin_runtime.supervisor]; the options are: startsecs, startretries, "
            "autorestart, exitcodes, stopsignal, stopwaitsecs, priority",
        ),
        (f'{SUPERVISOR}"startsecs\\n[a]" = 1', 5, "there is no such option"),
    ],
)
def test_an_invalid_manifest(text: str | bytes, line: int | None, problem: str) -> None:
    error = error_of(text)
    assert error.line == line
    assert problem in error.problem
    assert str(error) == f"plugin.toml{f' line {line}' if line else ''}: {error.problem}"
    assert len(error.problem) < 300


@pytest.mark.parametrize(
    "text",
    [
        *(f"[plugin]\nid = 'a'\n{key} = 'hunter2 \\u0000'".replace("'", '"') for key in ("command", "entry", "name")),
        '[plugin]\nid = "hunter2 !"',
        "[plugin]\nid = 'a'\ncommand = ['', 'hunter2']",
        '[plugin]\nid = "a"\ncommand = "it\'s hunter2"',
        f"{ENVIRONMENT}'DB_PASSWORD=hunter2' = ''",
        f"{ENVIRONMENT}hunter2 = 1",
        f"{ENVIRONMENT}hunter2 = '{'x' * 131_070}'",
        *(f"{SUPERVISOR}{key} = 'hunter2'" for key in ("stopsignal", "autorestart", "startsecs", "'DB=hunter2'")),
        # tomllib repeats keys
        "['DB_PASSWORD=hunter2']\n['DB_PASSWORD=hunter2']",
        '["it\'s hunter2"]\n["it\'s hunter2"]',
        "hunter2.x = {}\n[[hunter2.x]]\n[hunter2.x.y]\n[hunter2]",
        "x = {}\n[x.'hunter2']",
        "x = { 'hunter2' = 1, 'hunter2' = 2 }",
        'x = { "it\'s \\" hunter2" = 1, "it\'s \\" hunter2" = 2 }',
        "[a]\nhunter2.b = 1\n[a.hunter2]",
    ],
)
def test_an_error_repeats_nothing_that_may_be_a_secret(text: str) -> None:
    assert "hunter2" not in str(error_of(text))


@pytest.mark.parametrize(
    "text",
    [
        # each has the wrong value, the only `1` on a line with `HERE`, in a place of its own
        "{P}[plugin_runtime]\nenvironment.X = ''\nenvironment.A = 1 # HERE\n",
        "{P}[plugin_runtime]\nenvironment = {{ X = '[', A = 1 }} # HERE\n",
        "plugin_runtime = {{ y = [{{ A = 2 }}, {{ A = 3 }}], environment = {{ A = 1 }} }} # HERE\n{P}",
        "plugin_runtime.environment.A = 1 # HERE\n{P}",
        "{P}[ plugin_runtime . 'environment' ] # not A = 1\n\"\\u0041\" = 1 # HERE\n",
        "{P}[plugin_runtime.environment] # a = b\nX = 'A = 1'\n# A = 1\nA = 1 # HERE\n",
        "{P}[plugin_runtime.environment]\nX = '''\nA = 1\n[x]\n'' \"\"\" '''''\nA = 1 # HERE\n",
        '{P}[plugin_runtime.environment]\nX = """\nA = 1\\"""\n\'\'\' """""\nA = 1 # HERE\n',
        '[list]\nA = [\n  ["A = 1"], # ]\n  "]",\n  [],\n]\n{P}[plugin_runtime.environment]\nA = 1 # HERE\n',
        "[[x]]\nA = 2\n[[x.plugin_runtime.environment]]\nA = 2\n{P}[plugin_runtime.environment]\nA = 1 # HERE\n",
        "{P}[plugin_runtime.environment]\nX = ''\nA = [ # HERE\n1\n]\n",
    ],
)
def test_the_position_of_a_key_wherever_it_stands(text: str) -> None:
    text = text.format(P=PLUGIN)
    number, line = next((number, line) for number, line in enumerate(text.split("\n"), 1) if "HERE" in line)
    [key] = re.finditer(r"""(?:plugin_runtime\.)?(?:environment\.)?(?:\bA|"\\u0041") = [1[]""", line)
    error = ManifestError("a variable must be a string: write it in quotes", number, key.start() + 1)
    assert error_of(text) == error_of(text.replace("\n", "\r\n")) == error


def test_a_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"^plugin\.toml: the folder has no such file; write one"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match=r"^plugin\.toml: the folder is gone; put it back, or refresh"):
        read_manifest(tmp_path / "gone")


def test_a_manifest_of_the_largest_size_and_one_byte_more(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(PLUGIN + "#" * (LARGEST_MANIFEST_BYTES - len(PLUGIN)))
    assert read_manifest(tmp_path).id == "echo"
    for size in (LARGEST_MANIFEST_BYTES + 1, 10_000_000):
        path.write_bytes(b"#" * size)
        with pytest.raises(ManifestError, match=r"^plugin\.toml: it is larger than 256 KiB$"):
            read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkfifo, "it is no regular file"),  # whose opening would wait for a writer
        (os.mkdir, "it is no regular file"),
        (lambda path: os.symlink("/dev/zero", path), "it is no regular file"),
        (lambda path: os.symlink(path, path), "it cannot be read: Too many levels of symbolic links"),
        (lambda path: os.symlink("x" * 300, path), "it cannot be read: File name too long"),
        (lambda path: os.symlink("nowhere", path), "the folder has no such file"),
    ],
)
def test_a_manifest_that_is_no_file_is_an_error_and_leaves_nothing_open(tmp_path: Path, make, problem: str) -> None:
    def stop_waiting(_signal, _frame) -> None:
        raise TimeoutError("it waits for somebody to write into it")

    make(tmp_path / FILE_NAME)
    before = os.dup(0)
    os.close(before)
    handler = signal.signal(signal.SIGALRM, stop_waiting)
    signal.alarm(20)
    try:
        with pytest.raises(ManifestError, match=f"^plugin.toml: {problem}"):
            read_manifest(tmp_path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    after = os.dup(0)
    os.close(after)
    assert after == before, "a file descriptor was left open"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_manifest(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch(mode=0)
    with pytest.raises(ManifestError, match=r"^plugin\.toml: it cannot be read: Permission denied$"):
        read_manifest(tmp_path)


def test_a_file_that_has_nothing_to_read_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg, which calls itself a regular file."""

    def read(_descriptor: int, _size: int) -> bytes:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    (tmp_path / FILE_NAME).touch()
    monkeypatch.setattr(os, "read", read)
    with pytest.raises(ManifestError, match=r"^plugin\.toml: it cannot be read: Resource temporarily unavailable$"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), TypeError("a defect")])
def test_whatever_else_goes_wrong_is_an_error_of_that_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(_text: str) -> None:
        raise error

    (tmp_path / FILE_NAME).write_text(PLUGIN)
    cache: ManifestCache = {}
    monkeypatch.setattr(tomllib, "loads", fail)
    with pytest.raises(ManifestError, match=r"^plugin\.toml: it cannot be read; the log says why$"):
        read_manifest(tmp_path, cache)
    monkeypatch.undo()
    assert str(tmp_path) in caplog.text
    assert read_manifest(tmp_path, cache).id == "echo", "it is tried again"


def test_the_same_bytes_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache: ManifestCache = {}
    parsed = []
    monkeypatch.setattr(reader, "parse_manifest", lambda data: parsed.append(data) or parse_manifest(data))
    (tmp_path / FILE_NAME).write_text(PLUGIN)
    first = read_manifest(tmp_path, cache)
    (tmp_path / FILE_NAME).touch()
    assert read_manifest(tmp_path, cache) is first
    # of the same length, and at the same time for all that a file system may tell
    (tmp_path / FILE_NAME).write_text(PLUGIN.replace("echo", "ohce"))
    assert read_manifest(tmp_path, cache).id == "ohce"
    (tmp_path / FILE_NAME).write_text("plugin = 1")
    for _ in range(2):
        with pytest.raises(ManifestError) as caught:
            read_manifest(tmp_path, cache)
        assert caught.value == ManifestError("[plugin] must be a table", 1, 1)
    assert [len(data) for data in parsed] == [len(PLUGIN), len(PLUGIN), 10]


def test_no_manifest_takes_much_memory_or_time() -> None:
    """A key of 130,000 parts once took 68 GB; and it is looked for without taking long."""
    costly = [
        "a" + ".a" * 130_000 + "=1",
        "[" + "a." * 60 + "a]\n" + "".join(f"a{n}.b=1\n" for n in range(20_000)),
        'x = """' + '\\"' * 130_000,
        "x = '" + '"' * 260_000,
        "a " * 130_000,
        PLUGIN + "x = [" + "{a=[']']}," * 25_000 + "]\nname = 1",
    ]
    code = """if True:
        import resource, sys
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))  # seconds; it takes about one
        from plugvisor.plugins.manifest import ManifestError, parse_manifest
        for text in map(eval, sys.stdin):
            assert len(text) <= 256 * 1024
            try:
                parse_manifest(text.encode())
            except ManifestError as error:
                print(error)
    """
    process = subprocess.run(
        [sys.executable, "-c", code],
        input="".join(f"{text!r}\n" for text in costly),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == len(costly)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[plugin]\nid = \n", 2, 6),
        ("[plugin]\r\nid = 'a'\r\n[plugin", 3, 8),
        ("x = 'é' y", 1, 9),
        (b"a = 'x'\nb = '\xc3\xa9\xff'", 2, 7),
        ("a = 1\n  b" + ".c" * 70 + " = 1", 2, 3),
        ("\n  [ plugin ]", 2, 3),
        ("[[plugin]]", 1, 1),
    ],
)
def test_the_position_of_what_is_no_toml_or_no_manifest(text: str | bytes, line: int, column: int) -> None:
    error = error_of(text)
    assert (error.line, error.column) == (line, column), error


# -- variables from files


def test_a_variable_is_either_written_or_read() -> None:
    text = f'{ENVIRONMENT}API_KEY = "s3cret"\n[plugin_runtime.environment_files]\nOTHER = "o"\nAPI_KEY = "key"\n'
    with pytest.raises(ManifestError) as raised:
        parse_manifest(text.encode())
    assert raised.value.problem == "this variable is in [plugin_runtime.environment] too: keep one of the two"
    assert raised.value.line == 8


@pytest.mark.parametrize("value", ['""', "1", '"a\\u0000b"', "[]", f'"{"x" * 5000}"'])
def test_what_is_no_path(value: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse_manifest(f"{PLUGIN}[plugin_runtime.environment_files]\nKEY = {value}\n".encode())
    assert raised.value.problem.startswith("a variable must be a ")
    assert raised.value.line == 5
