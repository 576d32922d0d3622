"""The run and log folders: who may look into them, and which are refused."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord import run_folder
from plugvisor.engines.supervisord.run_folder import (
    prepare_folders,
    prepare_state_folder,
    run_dir_errors,
    write_users_conf,
)
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands files to other users")


def make_settings(root: Path, **environ: str) -> Settings:
    folders = {f"PLUGVISOR_{name.upper()}_DIR": str(root / name) for name in ("run", "log", "state")}
    url = {"PLUGVISOR_SUPERVISOR_URL": "http://localhost:1"}  # a socket's path could be too long here
    return Settings.from_env(folders | url | environ)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def roots_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """For a supervisord that is root, with two users to hand its rights to."""
    monkeypatch.setattr(run_folder, "join_service_group", lambda _users: None)  # this process keeps its groups
    return make_settings(tmp_path, PLUGVISOR_SERVICE_USER="daemon", PLUGVISOR_PLUGIN_USER="nobody")


def read_modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}


def test_they_are_this_users_alone(settings: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        prepare_folders(settings)
        assert read_modes(tmp_path) == dict.fromkeys(("run", "log", "run/conf.d", "run/launch"), 0o700)


@pytest.mark.parametrize("name", ["run", "log"])
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o1702])
def test_a_folder_that_others_may_write_is_rejected(settings: Settings, tmp_path: Path, name: str, mode: int) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name).chmod(mode)
    with pytest.raises(ConfigurationError, match=f"others can write there.*set PLUGVISOR_{name.upper()}_DIR"):
        prepare_folders(settings)


@needs_root
def test_a_folder_of_somebody_else_is_rejected(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    os.chown(tmp_path / "run", 1, -1)
    with pytest.raises(ConfigurationError, match="it belongs to another user; set PLUGVISOR_RUN_DIR"):
        prepare_folders(settings)


@pytest.mark.parametrize("name", ["run", "log"])
def test_a_file_in_its_place_is_named(settings: Settings, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=f"cannot use the folder '.*/{name}': Not a directory; set PLUGVISOR_"):
        prepare_folders(settings)


@needs_root
def test_a_folder_that_can_hold_no_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot use the folder '/proc': no file can be created there"):
        prepare_folders(make_settings(tmp_path, PLUGVISOR_LOG_DIR="/proc"))


# -- what other users have put in the way


@needs_root
@pytest.mark.parametrize("name", ["run", "log"])
@pytest.mark.parametrize("place", ["itself", "above"])
def test_a_link_of_somebody_else_is_rejected(tmp_path: Path, name: str, place: str) -> None:
    """In a folder for temporary files anybody can make one, such as to a folder of root's."""
    victim, shared = tmp_path / "victim", tmp_path / "tmp"
    victim.mkdir(mode=0o700)
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(victim)
    os.chown(link, 1, 1, follow_symlinks=False)
    path = link if place == "itself" else link / "folder"
    with pytest.raises(ConfigurationError, match="'link' is a link of another user's"):
        prepare_folders(make_settings(tmp_path, **{f"PLUGVISOR_{name.upper()}_DIR": str(path)}))
    assert list(victim.iterdir()) == []


def test_a_link_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to("real")
    prepare_folders(make_settings(tmp_path))
    assert (tmp_path / "real" / "conf.d").is_dir()


def test_a_folder_that_everyone_can_replace_is_rejected(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ConfigurationError, match="everyone can replace 'run' in its folder"):
        prepare_folders(make_settings(open_to_all))
    assert list(open_to_all.iterdir()) == []
    open_to_all.chmod(0o1777)
    prepare_folders(make_settings(open_to_all))


@needs_root
def test_root_uses_no_path_through_another_users_folder(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1, 1)
    with pytest.raises(ConfigurationError, match="'theirs' belongs to another user"):
        prepare_folders(make_settings(theirs))
    assert list(theirs.iterdir()) == []


@needs_root
def test_roots_shared_folders_are_not_made_through_links(roots_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir(mode=0o700)
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / "launch").symlink_to(tmp_path / "victim")
    os.chown(tmp_path / "run" / "launch", 1, 1, follow_symlinks=False)
    with pytest.raises(ConfigurationError):
        prepare_folders(roots_settings)
    assert stat.S_IMODE((tmp_path / "victim").stat().st_mode) == 0o700


def test_what_the_system_says_of_the_run_folder_is_an_error_of_the_settings(settings: Settings) -> None:
    problem = r"/run/lock: No such file or directory; .*set PLUGVISOR_RUN_DIR"
    with pytest.raises(ConfigurationError, match=problem), run_dir_errors(settings):
        (settings.run_dir / "lock").open()


# -- as root


@needs_root
def test_roots_folders_are_shared_with_the_service(roots_settings: Settings, tmp_path: Path) -> None:
    assert roots_settings.users is not None
    for _ in range(2):
        prepare_folders(roots_settings)
        assert read_modes(tmp_path) == {"run": 0o711, "log": 0o2750, "run/conf.d": 0o2770, "run/launch": 0o2770}
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")}
        assert owners == {(0, roots_settings.users.service.gid)}


@needs_root
@pytest.mark.parametrize("is_empty", [True, False])
def test_an_open_folder_is_closed_only_if_it_is_empty(roots_settings: Settings, tmp_path: Path, is_empty: bool) -> None:
    """A container's tmpfs begins open to everyone; what somebody has put into it is not to be trusted."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o1777)
    if is_empty:
        prepare_folders(roots_settings)
        assert read_modes(tmp_path)["run"] == 0o711
        return
    (tmp_path / "run" / "conf.d").mkdir()
    with pytest.raises(ConfigurationError, match="others can write there"):
        prepare_folders(roots_settings)
    assert read_modes(tmp_path)["run"] == 0o1777, "it is left as it was"


@needs_root
@pytest.mark.parametrize("name", ["run", "log"])
def test_a_folder_of_another_program_is_left_as_it_is(roots_settings: Settings, tmp_path: Path, name: str) -> None:
    """PLUGVISOR_LOG_DIR=/etc would otherwise take /etc away from everyone else."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "passwd").touch()
    before = (tmp_path / name).stat()
    with pytest.raises(ConfigurationError, match="it holds 'passwd', which is not Plugvisor's"):
        prepare_folders(roots_settings)
    after = (tmp_path / name).stat()
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)


@pytest.mark.parametrize("earlier", ["nothing", "a file", "a link"])
def test_which_users_supervisord_is_to_use(settings: Settings, tmp_path: Path, earlier: str) -> None:
    prepare_folders(settings)
    path, other = settings.run_dir / "users.conf", tmp_path / "other"
    if earlier == "a file":
        path.write_text("[program:x]\n")
    elif earlier == "a link":
        path.symlink_to(other)
    write_users_conf(settings)
    comment, *rest = path.read_text().splitlines()
    assert comment == "; generated by `plugvisor up`: all of it runs as one user"
    assert rest == (["[supervisord]", "user=root"] if os.geteuid() == 0 else [])
    assert not other.exists(), "no link is followed"


@needs_root
def test_as_root_supervisord_is_told_the_users(roots_settings: Settings) -> None:
    users = roots_settings.users
    assert users is not None
    prepare_folders(roots_settings)
    write_users_conf(roots_settings)
    lines = (roots_settings.run_dir / "users.conf").read_text().splitlines()
    assert {f"service_uid={users.service.uid}", f"plugins_uid={users.plugins.uid}", f"user={users.service.uid}"} <= {
        *lines
    }
    assert f"chown=root:{users.service.gid}" in lines


# -- the state folder, which keeps nothing from starting


def test_the_state_folder_is_this_users_alone(settings: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        assert prepare_state_folder(settings) == ""
        assert read_modes(tmp_path) == {"state": 0o700}


@needs_root
def test_the_state_folder_is_shared_with_the_service(roots_settings: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        assert prepare_state_folder(roots_settings) == ""
        status = (tmp_path / "state").stat()
        group = roots_settings.users.service.gid if roots_settings.users else 0
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, group, 0o2770)
        (tmp_path / "state" / "plugvisor.db-wal").touch()


@needs_root
def test_what_a_service_of_roots_has_left_is_handed_over(roots_settings: Settings, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "plugvisor.db").touch(mode=0o600)
    (state / "plugvisor.db.broken-1").mkdir(mode=0o700)
    assert prepare_state_folder(roots_settings) == ""
    group = roots_settings.users.service.gid if roots_settings.users else 0
    status = (state / "plugvisor.db").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, group, 0o660)
    assert stat.S_IMODE((state / "plugvisor.db.broken-1").stat().st_mode) == 0o700


@needs_root
def test_a_state_folder_of_the_service_stays_as_it_is(roots_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    assert roots_settings.users is not None
    os.chown(tmp_path / "state", roots_settings.users.service.uid, 0)
    assert prepare_state_folder(roots_settings) == ""
    assert read_modes(tmp_path) == {"state": 0o700}


@needs_root
@pytest.mark.parametrize("case", ["somebody else's", "open to all", "holds other files", "the run folder", "a file"])
def test_an_unsafe_state_folder_is_a_warning(roots_settings: Settings, tmp_path: Path, case: str) -> None:
    state = tmp_path / "state"
    if case == "a file":
        state.write_text("")
    elif case == "the run folder":
        (tmp_path / "log").mkdir()
        (tmp_path / "run").mkdir(mode=0o711)
        roots_settings = make_settings(
            tmp_path,
            PLUGVISOR_SERVICE_USER="daemon",
            PLUGVISOR_PLUGIN_USER="nobody",
            PLUGVISOR_STATE_DIR=str(tmp_path / "run"),
        )
    else:
        state.mkdir(mode=0o700)
        if case == "somebody else's":
            os.chown(state, 1, 1)
            roots_settings = make_settings(tmp_path)
        elif case == "holds other files":
            (state / "diary.txt").touch()
        else:
            state.chmod(0o777)
            (state / "plugvisor.db").touch()
    before = read_modes(tmp_path)
    assert "nothing will be remembered until" in prepare_state_folder(roots_settings)
    assert read_modes(tmp_path) == before
