"""Settings: every variable, its default, and an error message that names it and says what to do."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from plugvisor.admin_code import read_admin_code
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings
from plugvisor.variables import INTERNAL_VARIABLES, VARIABLES, find_unknown_variables

SOMEWHERE = {"PLUGVISOR_RUN_DIR": "/run/plugvisor"}


def read(**variables: str) -> Settings:
    """Read settings from variables named without their prefix."""
    return Settings.from_env(SOMEWHERE | {f"PLUGVISOR_{name}": value for name, value in variables.items()})


def problem_of(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**variables)
    return str(caught.value)


# -- values


@pytest.mark.parametrize("environ", [{}, {variable.name: "" for variable in VARIABLES}])
def test_defaults(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    run_dir = Path(f"/var/tmp/plugvisor-{os.getuid()}")
    assert Settings.from_env(environ) == Settings(
        host="127.0.0.1",
        port=48916,
        plugins_dir=tmp_path / "plugins",
        run_dir=run_dir,
        log_dir=run_dir / "log",
        state_dir=run_dir,
        cors_origins=(),
        metrics_need_token=True,
        runner=None,
        supervisor_url=f"unix://{run_dir}/supervisor.sock",
    )
    defaults = {variable.name: variable.default for variable in VARIABLES}
    assert (defaults["PLUGVISOR_HOST"], defaults["PLUGVISOR_PORT"]) == ("127.0.0.1", "48916")


def test_every_variable() -> None:
    settings = read(
        HOST="::",
        PORT="80",
        PLUGINS_DIR="/p l;u\ngins",
        RUN_DIR="/run/x/../y",
        LOG_DIR="/var/log/中文",
        STATE_DIR="/var/lib/中 文",
        REMEMBER="false",
        JOURNAL_DAYS="7",
        JOURNAL_MB="20",
        READ_AUTH="viewer",
        METRICS_AUTH="none",
        WEBHOOKS=" https://a.example/hook?key=password, http://localhost:1 ",
        WEBHOOK_SECRET_FILE="/etc/x/../webhook_secret",
        CORS_ORIGINS=" http://localhost:5173/, https://a.example,,*,http://[::1]:80 ",
        RUNNER="python -m 'my host' {entry} --id={id} {dir}/{{x}}",
        SUPERVISOR_URL="http://user:password@localhost:9001",
        URL="https://Plugvisor.example.com/",
    )
    assert settings == Settings(
        host="::",
        port=80,
        plugins_dir=Path("/p l;u\ngins"),
        run_dir=Path("/run/y"),
        log_dir=Path("/var/log/中文"),
        state_dir=Path("/var/lib/中 文"),
        remember=False,
        journal_days=7,
        journal_mb=20,
        reads_need_token=True,
        webhooks=("https://a.example/hook?key=password", "http://localhost:1"),
        webhook_secret_file=Path("/etc/webhook_secret"),
        cors_origins=("http://localhost:5173", "https://a.example", "*", "http://[::1]:80"),
        metrics_need_token=False,
        runner=("python", "-m", "my host", "{entry}", "--id={id}", "{dir}/{{x}}"),
        supervisor_url="http://user:password@localhost:9001",
        public_url="https://plugvisor.example.com",
    )
    assert "password" not in repr(settings)


def test_the_log_and_the_socket_are_in_the_run_folder() -> None:
    settings = read(RUN_DIR="/r")
    assert (settings.log_dir, settings.supervisor_url) == (Path("/r/log"), "unix:///r/supervisor.sock")


def test_the_users_runtime_folder_is_used_if_it_exists(tmp_path: Path) -> None:
    # a socket's path cannot be as long as this one
    environ = {"PLUGVISOR_SUPERVISOR_URL": "http://localhost:1", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert Settings.from_env(environ).run_dir == tmp_path / "plugvisor"
    environ["XDG_RUNTIME_DIR"] = str(tmp_path / "gone")
    # without a home folder there is only the one for temporary files
    assert Settings.from_env(environ).run_dir == Path(tempfile.gettempdir()) / f"plugvisor-{os.getuid()}"


def test_the_home_folder_is_used_if_there_is_no_runtime_folder() -> None:
    with tempfile.TemporaryDirectory() as home:
        assert Settings.from_env({"HOME": home}).run_dir == Path(home) / ".local" / "state" / "plugvisor"
        assert Settings.from_env({"HOME": "/", "XDG_STATE_HOME": f"{home}/s"}).run_dir == Path(home) / "s" / "plugvisor"
        temporary = Path(tempfile.gettempdir()) / f"plugvisor-{os.getuid()}"
        for unusable in ("relative", f"{home}/{'x' * 90}", f"{home}/a b", ""):
            assert Settings.from_env({"HOME": unusable}).run_dir == temporary, unusable


def test_what_is_remembered_is_in_the_home_folder() -> None:
    with tempfile.TemporaryDirectory() as name:  # a short path: a run folder has sockets
        home = Path(name)
        environ = {"HOME": name, "XDG_RUNTIME_DIR": name}
        assert Settings.from_env(environ).state_dir == home / ".local" / "state" / "plugvisor"
        assert Settings.from_env(environ | {"XDG_STATE_HOME": f"{name}/s"}).state_dir == home / "s" / "plugvisor"
        (home / "file").touch()
        for unusable in (f"{name}/file", "relative", ""):
            settings = Settings.from_env(environ | {"HOME": unusable})
            assert settings.state_dir == settings.run_dir == home / "plugvisor", "which is this user's own"


def test_a_misspelt_variable_is_named_without_its_value() -> None:
    environ = {"PLUGVISOR_PROT": "s3cret", "PLUGVISOR_PORT": "1", "PLUGVISOR_QQQQ": "s3cret", "PLUGVISER": "x"}
    assert find_unknown_variables(environ) == [
        "the variable PLUGVISOR_PROT is unknown and ignored; did you mean PLUGVISOR_PORT?",
        "the variable PLUGVISOR_QQQQ is unknown and ignored",
    ]
    conf = (Path(__file__).parents[2] / "supervisor_conf" / "supervisord.conf").read_text()
    names = {f"PLUGVISOR_{name}" for name in re.findall(r"ENV_PLUGVISOR_(\w+)", conf)}
    assert find_unknown_variables(dict.fromkeys(names | INTERNAL_VARIABLES, "")) == []


def test_folders_can_be_relative_or_in_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir("/")
    settings = read(PLUGINS_DIR="~/plugins", RUN_DIR="run/../r", LOG_DIR="~/log")
    assert settings.plugins_dir == Path("/home/me/plugins")
    assert settings.run_dir == Path("/r")
    assert settings.log_dir == Path("/home/me/log")


@pytest.mark.parametrize(
    "settings",
    [
        Settings.from_env(SOMEWHERE),
        read(PLUGINS_DIR="/p l;u\ngi\udcffns", CORS_ORIGINS="http://a,*", RUNNER="'a b' \"c'd\" {entry} {{{id}}} ''"),
        read(
            HOST="::1",
            PORT="1",
            LOG_DIR="/l",
            URL="http://[::1]:8080",
            SUPERVISOR_URL="http://user:password@[::1]:9001",
        ),
    ],
)
def test_to_env_reads_back_as_the_same_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert Settings.from_env(settings.to_env()) == settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:48916"),
        ("0.0.0.0", "http://127.0.0.1:48916"),
        ("::", "http://[::1]:48916"),
        ("fe80::1", "http://[fe80::1]:48916"),
        ("plugins.example", "http://plugins.example:48916"),
        ("unix:///run/x/http.sock", "unix:///run/x/http.sock"),
    ],
)
def test_the_address_to_open(host: str, url: str) -> None:
    assert replace(read(), host=host).url == url


def test_a_unix_socket() -> None:
    assert read(HOST="unix:///run/x.sock").socket_path == Path("/run/x.sock")
    assert read(HOST="unix:///" + "x" * 102)
    assert read().socket_path is None


# -- errors


@pytest.mark.parametrize(
    ("name", "value", "what_to_do"),
    [
        *(("PORT", value, "from 1 to 65535") for value in ("0", "65536", "-1", "x", "80 ", "+80", "８０", "9" * 5000)),
        *(
            (name, f"/x/{value}/y", "choose a folder without blanks, quotes or any of % ; # * ? [ ] \\ ,")
            for name in ("RUN_DIR", "LOG_DIR")
            for value in (*" \t\n\x01\x7f%;#*?[]'\"\\,\u2003", "\udcff")
        ),
        *(
            ("HOST", value, "after unix:// there must be the absolute path of a socket")
            for value in ("unix://", "unix://x.sock", "unix:///run/")
        ),
        *(("HOST", f"unix:///x{value}y", "must not contain") for value in (*" \t\n%;#*'\"\\,", "\udcff")),
        ("HOST", "unix:///" + "x" * 103, "at most 103 bytes"),
        *((name, "~no-such-user/x", "write the whole path") for name in ("PLUGINS_DIR", "RUN_DIR", "LOG_DIR")),
        *(
            ("CORS_ORIGINS", f"http://good,{value}", "write it like http://localhost:5173")
            for value in (
                "x",
                "a.example",
                "ftp://a",
                "http://",
                "http://a/b",
                "http://a?b",
                "http://a#b",
                "http://[::1",
            )
        ),
        *(
            ("CORS_ORIGINS", value, "like http://localhost")
            for value in ("http://u:p@a", "HTTP://a", "http://A", "null")
        ),
        *(
            ("URL", value, "without a path")
            for value in (
                *("x", "a.example:80", "ftp://a", "http://", "http://a/b", "http://a//", "http://a?b", "http://a#b"),
                *("http://u:secret@a", "http://[::1", "http://[x]", "http://a:65536", "http://a:"),
                *("http://a b", "http://a\n", "http://a\x1b[2J"),
            )
        ),
        *(
            ("RUNNER", value, "it must be a command with {entry} in it")
            for value in (
                " ",
                "run",
                "run {id}",
                "run {} {entry}",
                "run {entry} {name}",
                "run {entry.x}",
                "run {entry[0]}",
            )
        ),
        *(
            ("RUNNER", f"run {value}", "it must be a command")
            for value in ("{entry!x}", "{entry:d}", "{entry} {dir:9}")
        ),
        *(("JOURNAL_DAYS", value, "from 1 to 3650") for value in ("0", "-1", "3651", "1.5", "x", "7 ")),
        *(("JOURNAL_MB", value, "from 1 to 1000000") for value in ("0", "-1", "1000001", "x")),
        *(("READ_AUTH", value, "`open` or `viewer`") for value in ("admin", "OPEN", "none")),
        *(("METRICS_AUTH", value, "`viewer` or `none`") for value in ("operator", "open")),
        *(("REMEMBER", value, "true or false") for value in ("yes", "1", "True")),
        *(
            ("WEBHOOKS", f"https://good.example,{value}", "URL 2 must look like https://example.com/hook")
            for value in ("x", "ftp://a", "http://", "http://[::1", "http://a:0", "http://a:99999", "http://a b")
        ),
        ("STATE_DIR", "~no-such-user/x", "write the whole path"),
        ("RUNNER", "run '{entry}", "No closing quotation"),
        ("RUNNER", "run {entry", "expected '}'"),
        ("SUPERVISOR_URL", "unix://relative", "after unix:// there must be an absolute path"),
        ("SUPERVISOR_URL", "unix:///" + "x" * 95, "at most 95 bytes; choose a shorter PLUGVISOR_RUN_DIR"),
        *(
            ("SUPERVISOR_URL", value, "it must look like unix:///path or http://user:password@host:9001")
            for value in (
                "x",
                "/run/s",
                "ftp://a",
                "http://",
                "http://[::1",
                "http://a:b",
                "http://a:0",
                "http://a:99999",
            )
        ),
    ],
)
def test_an_invalid_value_is_named_with_what_to_do(name: str, value: str, what_to_do: str) -> None:
    problem = problem_of(**{name: value})
    assert problem.startswith(("cannot use PLUGVISOR_" + name, "cannot use the socket"))
    assert what_to_do in problem


def test_a_socket_path_is_limited_in_bytes_of_the_longest_name_that_supervisord_binds() -> None:
    suffix = len("/supervisor.sock")
    assert read(RUN_DIR="/" + "x" * (94 - suffix))
    for run_dir in ("/" + "x" * (95 - suffix), "/" + "中" * 28):
        assert "choose a shorter PLUGVISOR_RUN_DIR" in problem_of(RUN_DIR=run_dir)
        # the folder's own path has no limit
        assert read(RUN_DIR=run_dir, SUPERVISOR_URL="unix:///s")


def test_a_password_is_not_repeated() -> None:
    for url in ("htp://user:password@localhost:9001", "http://user:password@", "http://user:password@a:b"):
        assert "password@a" not in problem_of(SUPERVISOR_URL=url)
        assert "user:password@l" not in problem_of(SUPERVISOR_URL=url)


@pytest.mark.parametrize("name", ["NAME", "DOCKER_HOST", "REGISTRY", "IMAGE", "NETWORK"])
def test_what_only_a_swarm_needs_is_read_for_a_swarm_alone(name: str) -> None:
    assert read(**{name: "-no/such+value"}) == read()
    assert f"PLUGVISOR_{name}" in problem_of(ENGINE="swarm", **{name: "-no/such+value"})


# -- the table


class Recorder(Mapping[str, str]):
    """A mapping that records which variables were read."""

    def __init__(self, **variables: str) -> None:
        self.variables = variables
        self.read_names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.read_names.add(name)
        return self.variables[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("variables are read by name only")

    __len__: Callable[..., int] = __iter__


def test_the_table_lists_every_variable_that_is_read() -> None:
    recorder = Recorder(PLUGVISOR_ENGINE="swarm")
    Settings.from_env(recorder)
    read_admin_code(recorder)
    names = [variable.name for variable in VARIABLES]
    others = {"XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"}
    assert set(names) == recorder.read_names - others | {"PLUGVISOR_TOKEN", "PLUGVISOR_TOKEN_FILE"}, (
        "which only commands read"
    )
    assert len(set(names)) == len(names)
    assert all(variable.default and variable.meaning for variable in VARIABLES)


def test_to_env_has_every_variable_but_the_credentials() -> None:
    names = {variable.name for variable in VARIABLES}
    credentials = {f"PLUGVISOR_{name}" for name in ("ADMIN_CODE", "ADMIN_CODE_FILE", "TOKEN", "TOKEN_FILE")}
    assert read().to_env().keys() == names - credentials
