"""What is done before supervisord runs: the lock, the programs, the environment, the admin code."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord import boot
from plugvisor.engines.supervisord.boot import (
    SUPERVISORD_CONF,
    count_descriptors,
    execute_plugin,
    make_ctl_environ,
    make_environ,
    prepare_admin_code,
    render_programs,
    write_starts,
)
from plugvisor.engines.supervisord.extension.intents.boot_starts import STARTS_FILE
from plugvisor.engines.supervisord.extension.intents.request_file import REQUESTS_FILE
from plugvisor.engines.supervisord.program import conf_path, launch_path
from plugvisor.engines.supervisord.run_folder import prepare_folders
from plugvisor.errors import ConfigurationError
from plugvisor.models.stored.intent import Intent
from plugvisor.settings import Settings
from plugvisor.store.tables.intents import StoredIntents

from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="pv-") as root:  # not tmp_path: a Unix socket's path must be short
        environ = {f"PLUGVISOR_{name.upper()}_DIR": f"{root}/{name}" for name in ("plugins", "run", "log")}
        settings = Settings.from_env(environ)
        settings.plugins_dir.mkdir()
        prepare_folders(settings)
        yield settings


def write_manifest(settings: Settings, plugin_id: str, text: str = "") -> None:
    folder = settings.plugins_dir / plugin_id
    folder.mkdir(exist_ok=True)
    (folder / "plugin.toml").write_text(text or f'[plugin]\nid = "{plugin_id}"\ncommand = "true"\n')


def list_published(settings: Settings) -> list[str]:
    folder = conf_path(settings.run_dir, "").parent
    published = sorted(path.stem for path in folder.iterdir())
    assert published == sorted(path.stem for path in launch_path(settings.run_dir, "").parent.iterdir())
    return published


# -- the lock

HOLD = """\
import os, sys
from plugvisor.engines.supervisord.boot import lock_run_dir
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings
try:
    lock_run_dir(Settings.from_env(os.environ))
except ConfigurationError as error:
    sys.exit(str(error))
os.execvp("sh", ["sh", "-c", "echo locked; read line"])
"""


def hold_lock(settings: Settings) -> subprocess.Popen[str]:
    """A process that locks the run folder, becomes another program, and ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=dict(os.environ) | settings.to_env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_lock_is_kept_by_the_program_that_its_process_becomes(settings: Settings) -> None:
    with hold_lock(settings) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n", first.communicate()[1]
        with hold_lock(settings) as second:
            _, errors = second.communicate(timeout=DEADLINE_SECONDS)
        assert second.returncode == 1
        assert errors.startswith("cannot start: Plugvisor is running already with the run folder")
        first.communicate("\n", timeout=DEADLINE_SECONDS)
    with hold_lock(settings) as third:
        assert third.communicate("\n", timeout=DEADLINE_SECONDS)[0] == "locked\n"


# -- programs


def test_valid_plugins_are_published_and_what_is_none_is_removed(settings: Settings) -> None:
    for name in ("echo", "gone"):
        write_manifest(settings, name)
    write_manifest(settings, "broken", "[plugin\n")
    catalog = render_programs(settings, keep_broken=False)
    assert list(catalog) == ["broken", "echo", "gone"]
    assert catalog["broken"].problem.startswith("plugin.toml line 1")
    assert list_published(settings) == ["echo", "gone"]
    (settings.plugins_dir / "gone").rename(settings.plugins_dir / ".gone")
    assert list(render_programs(settings, keep_broken=False)) == ["broken", "echo"]
    assert list_published(settings) == ["echo"]


@pytest.mark.parametrize("keep_broken", [True, False])
def test_a_plugin_that_may_be_running_keeps_its_program(settings: Settings, keep_broken: bool) -> None:
    write_manifest(settings, "echo")
    render_programs(settings, keep_broken=keep_broken)
    write_manifest(settings, "echo", "[plugin\n")
    render_programs(settings, keep_broken=keep_broken)
    assert list_published(settings) == (["echo"] if keep_broken else [])


def test_a_foreign_file_that_is_put_in_the_place_of_a_program_concerns_that_plugin_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalog = boot.load_catalog

    def load_and_lose_a_race(*arguments: Any) -> Any:
        catalog = load_catalog(*arguments)
        conf_path(settings.run_dir, "echo").write_text("[program:echo]\ncommand=true\n")
        return catalog

    monkeypatch.setattr(boot, "load_catalog", load_and_lose_a_race)
    for name in ("echo", "other"):
        write_manifest(settings, name)
    catalog = render_programs(settings, keep_broken=False)
    assert "was not written by Plugvisor" in catalog["echo"].problem
    assert catalog["other"].problem == ""
    assert launch_path(settings.run_dir, "other").exists()
    assert not launch_path(settings.run_dir, "echo").exists()


def test_folders_that_cannot_be_used_are_named(settings: Settings) -> None:
    write_manifest(settings, "echo")
    conf_path(settings.run_dir, "").parent.rmdir()
    with pytest.raises(ConfigurationError, match=r"cannot use the run folder '.*': .*/conf\.d.*: No such file"):
        render_programs(settings, keep_broken=False)
    (settings.plugins_dir / "echo" / "plugin.toml").unlink()
    (settings.plugins_dir / "echo").rmdir()
    settings.plugins_dir.rmdir()
    with pytest.raises(ConfigurationError, match=r"cannot read the plugins folder '.*': No such file or directory"):
        render_programs(settings, keep_broken=False)


# -- environments


def test_supervisords_environment_holds_no_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUGVISOR_ADMIN_CODE", "secret-code")
    monkeypatch.setenv("PLUGVISOR_TOKEN", "pv_secret-token")
    environ = make_environ(settings, 10)
    assert not {"secret-code", "pv_secret-token"} & {*environ.values()}
    assert Settings.from_env(environ) == settings
    assert environ["PLUGVISOR_PYTHON"] == sys.executable
    # every variable that the configuration expands is there
    expanded = {part.partition(")")[0] for part in SUPERVISORD_CONF.read_text().split("%(ENV_")[1:]}
    given_elsewhere = {name for name in expanded if name.startswith("PLUGVISOR_CTL_")} | {"PLUGVISOR_ADMIN_CODE_FILE"}
    assert expanded - given_elsewhere <= environ.keys()
    assert expanded & given_elsewhere <= make_ctl_environ(settings).keys() | {"PLUGVISOR_ADMIN_CODE_FILE"}


def test_a_supervisord_that_runs_elsewhere_is_not_started(settings: Settings) -> None:
    elsewhere = Settings.from_env(settings.to_env() | {"PLUGVISOR_SUPERVISOR_URL": "http://u:secret@localhost:9001"})
    with pytest.raises(ConfigurationError, match="PLUGVISOR_SUPERVISOR_URL names another one") as raised:
        make_environ(elsewhere, 0)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/s.sock", ("unix:///run/s.sock", "", "")),
        ("http://us%40er:p%3Aw@host:9001", ("http://host:9001", "us@er", "p:w")),
    ],
)
def test_supervisorctl_receives_url_and_credentials_apart(
    settings: Settings, url: str, expected: tuple[str, str, str]
) -> None:
    environ = make_ctl_environ(Settings.from_env(settings.to_env() | {"PLUGVISOR_SUPERVISOR_URL": url}))
    assert tuple(environ[f"PLUGVISOR_CTL_{name}"] for name in ("URL", "USERNAME", "PASSWORD")) == expected


@pytest.mark.parametrize(
    ("hard_limit", "expected"), [(resource.RLIM_INFINITY, 5024), (1_000_000, 5024), (4096, 4096), (256, 256)]
)
def test_descriptors_for_a_thousand_plugins(monkeypatch: pytest.MonkeyPatch, hard_limit: int, expected: int) -> None:
    monkeypatch.setattr(boot.resource, "getrlimit", lambda _which: (256, hard_limit))
    assert count_descriptors(1000) == expected


# -- the admin code


def test_a_new_code_is_handed_over_by_a_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLUGVISOR_ADMIN_CODE", "PLUGVISOR_ADMIN_CODE_FILE"):
        monkeypatch.delenv(name, raising=False)
    environ: dict[str, str] = {}
    code = prepare_admin_code(settings, environ)
    path = Path(environ["PLUGVISOR_ADMIN_CODE_FILE"])
    assert code.is_new
    assert path == settings.run_dir / "admin_code"
    assert path.read_text().strip() == code.value
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv("PLUGVISOR_ADMIN_CODE", "a-code-of-my-own")
    assert prepare_admin_code(settings, environ).value == path.read_text().strip() == "a-code-of-my-own"


def test_the_operators_own_file_is_used_where_it_is(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").write_text("a-code-in-a-file\n")
    monkeypatch.delenv("PLUGVISOR_ADMIN_CODE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLUGVISOR_ADMIN_CODE_FILE", "code")
    environ: dict[str, str] = {}
    assert prepare_admin_code(settings, environ).value == "a-code-in-a-file"
    assert environ["PLUGVISOR_ADMIN_CODE_FILE"] == str(tmp_path / "code"), "supervisord has another working directory"
    assert not (settings.run_dir / "admin_code").exists()


# -- which plugins are started


def read_starts(settings: Settings) -> dict[str, bool]:
    starts: dict[str, bool] = json.loads((settings.run_dir / "launch" / STARTS_FILE).read_text())
    return starts


def ask(settings: Settings, wanted: str, token: str, at: float) -> None:
    """Have an operator have asked for a plugin by supervisorctl."""
    request = {"wanted": wanted, "token": token, "at": at}
    (settings.run_dir / REQUESTS_FILE).write_text(json.dumps({"web": request}))


NOW = time.time()
RUNNING = Intent("running", "ops", NOW - 100)


@pytest.mark.parametrize(
    ("known", "at", "token", "expected"),
    [
        (None, NOW - 200, "boot-1", {"web": False}),
        (RUNNING, NOW - 50, "boot-1", {"web": False}),
        (RUNNING, NOW - 200, "boot-1", {"web": True}),
        (RUNNING, NOW - 50, "taken-over", {"web": True}),
        (Intent("running", "ops", NOW + 100_000), NOW - 50, "boot-1", {"web": False}),
    ],
    ids=["no intent", "after it", "before it", "taken over", "the clock was set back"],
)
def test_a_request_of_supervisorctl_that_no_service_has_taken_over(
    settings: Settings, known: Intent | None, at: float, token: str, expected: dict[str, bool]
) -> None:
    ask(settings, "stopped", token, at)
    stored = StoredIntents({"web": known} if known else {}, {}, {"web": "taken-over"})
    assert write_starts(settings, stored) == ""
    assert read_starts(settings) == expected


def test_what_is_disabled_is_not_started_whatever_was_asked_for(settings: Settings) -> None:
    ask(settings, "running", "boot-1", NOW)
    stored = StoredIntents({"web": RUNNING, "other": RUNNING}, {"web": ("ops", 1.0)}, {})
    write_starts(settings, stored)
    assert read_starts(settings) == {"web": False, "other": True}
    write_starts(replace(settings, remember=False), stored)
    assert read_starts(settings) == {"web": False}
    assert not (settings.run_dir / REQUESTS_FILE).exists()


def test_a_store_that_cannot_be_read_changes_nothing(settings: Settings) -> None:
    write_starts(settings, StoredIntents({"web": RUNNING}, {}, {}))
    assert "cannot read what is remembered" in write_starts(settings, None)
    assert read_starts(settings) == {"web": True}


# -- running a plugin by hand


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file or directory; `plugvisor render` writes the launch files"),
        (b"nonsense", "its launch file is damaged; a reload writes it again"),
    ],
)
def test_a_plugin_that_cannot_be_run_by_hand(settings: Settings, text: bytes | None, problem: str) -> None:
    path = launch_path(settings.run_dir, "echo")
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=f"^cannot run 'echo': .*{problem}"):
        execute_plugin(path)
