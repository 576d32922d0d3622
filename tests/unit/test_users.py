"""The users that the service and the plugins run as; their rights are tested in tests/container."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from plugvisor import users
from plugvisor.admin_code import read_admin_code
from plugvisor.engines.supervisord.extension.processes.launch_file import parse_launch
from plugvisor.engines.supervisord.program import render_program
from plugvisor.errors import ConfigurationError
from plugvisor.plugins.manifest import Manifest
from plugvisor.settings import Settings
from plugvisor.users import Users, find_users, join_service_group

SERVICE, PLUGINS = "daemon", "nobody"
"""Users that exist on every system."""
ENVIRON = {"PLUGVISOR_SERVICE_USER": SERVICE, "PLUGVISOR_PLUGIN_USER": PLUGINS}
MANIFEST = Manifest("echo", "echo", command=("true",), environment={"HOME": "/own"})


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Settings.from_env(ENVIRON | {"PLUGVISOR_LOG_DIR": str(tmp_path)})


def test_users_are_looked_up() -> None:
    found = find_users(SERVICE, PLUGINS)
    assert (found.service.uid, found.plugins.home) == (pwd.getpwnam(SERVICE).pw_uid, pwd.getpwnam(PLUGINS).pw_dir)


@pytest.mark.parametrize(
    ("service", "plugins", "problem"),
    [
        (SERVICE, SERVICE, "name two users"),
        ("root", PLUGINS, "PLUGVISOR_SERVICE_USER 'root': that is root"),
        (SERVICE, "root", "PLUGVISOR_PLUGIN_USER 'root': that is root"),
        ("nobody-of-this-name", PLUGINS, "PLUGVISOR_SERVICE_USER 'nobody-of-this-name': there is no such user"),
        (SERVICE, "no\0body", "PLUGVISOR_PLUGIN_USER"),
        (SERVICE, "0", "PLUGVISOR_PLUGIN_USER"),
    ],
)
def test_users_that_would_separate_nothing(service: str, plugins: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_users(service, plugins)
    assert problem in str(caught.value)


def test_a_plugin_in_the_services_group(monkeypatch: pytest.MonkeyPatch) -> None:
    group = pwd.getpwnam(SERVICE).pw_gid
    monkeypatch.setattr(os, "getgrouplist", lambda _name, gid: [gid, group])
    with pytest.raises(ConfigurationError, match="is in the group of"):
        find_users(SERVICE, PLUGINS)


@pytest.mark.parametrize(
    ("capabilities", "missing"),
    [(0, "CAP_KILL, CAP_SETGID, CAP_SETUID"), (1 << 5 | 1 << 6, "CAP_SETUID"), (1 << 6 | 1 << 7, "CAP_KILL")],
)
def test_root_without_the_capabilities_is_rejected(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capabilities: int, missing: str
) -> None:
    monkeypatch.setattr(users, "_read_capabilities", lambda: capabilities)
    assert settings.users is not None
    with pytest.raises(ConfigurationError) as caught:
        join_service_group(settings.users)
    assert f"lacks {missing};" in str(caught.value)


def test_roots_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = Settings.from_env(ENVIRON)
    assert settings.users == find_users(SERVICE, PLUGINS)
    assert (settings.run_dir, settings.log_dir) == (Path("/run/plugvisor"), Path("/var/log/plugvisor"))


@pytest.mark.parametrize("owner", [0, 12345])
def test_without_root_there_are_no_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: int) -> None:
    """Unless the run folder is root's: then this process is the service, which must know the plugins' user."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr("plugvisor.settings.is_roots", lambda _path: owner == 0)
    settings = Settings.from_env(ENVIRON | {"PLUGVISOR_RUN_DIR": str(tmp_path)})
    assert settings.users == (find_users(SERVICE, PLUGINS) if owner == 0 else None)
    assert settings.log_dir == tmp_path / "log"


@pytest.mark.parametrize("name", ENVIRON)
def test_both_users_or_neither_must_be_set(name: str) -> None:
    with pytest.raises(ConfigurationError, match="set both or neither"):
        Settings.from_env(ENVIRON | {name: ""})


def test_to_env_reads_back_as_the_same_settings(settings: Settings) -> None:
    assert Settings.from_env(settings.to_env()) == settings


def test_the_program_of_a_plugin_names_its_user(settings: Settings) -> None:
    assert isinstance(settings.users, Users)
    program = render_program(MANIFEST, Path("/"), settings)
    assert f"\nuser={settings.users.plugins.uid}\n" in program.section
    launch = parse_launch(program.launch)
    assert launch.environment == {"HOME": "/own", "USER": PLUGINS, "LOGNAME": PLUGINS}, "the manifest takes precedence"


def test_dev_null_holds_no_admin_code() -> None:
    assert read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": "/dev/null"}) is None
