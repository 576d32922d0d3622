"""What `plugvisor up` reads from the store before there is a service."""

from __future__ import annotations

import os
import pwd
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest
from plugvisor.models.stored.intent import Intent
from plugvisor.store.folder import FILE_NAME
from plugvisor.store.schema import open_database
from plugvisor.store.tables.intents import StoredIntents, save_disabled, save_intent

from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

READ = """\
import msgspec, os, sys
from plugvisor.cli.startup.stored_intents import read_stored_intents
from plugvisor.settings import Settings
sys.stdout.buffer.write(msgspec.json.encode(read_stored_intents(Settings.from_env(os.environ))))
"""
NOTHING = StoredIntents({}, {}, {})
INTENT = Intent("stopped", "ops", 12.5)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root switches users and mounts")


def read(folder: Path, **environ: str) -> StoredIntents | None:
    """Read in a process of its own, as `up` does: a test process has threads, which do not outlive a fork."""
    environ = {
        **os.environ,
        "PLUGVISOR_RUN_DIR": "/nonexistent",
        "PLUGVISOR_STATE_DIR": str(folder),
        **environ,
    }
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environ, capture_output=True, check=True, timeout=DEADLINE_SECONDS
    )
    assert done.stderr == b""
    return msgspec.json.decode(done.stdout, type=StoredIntents | None)


def make_store(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / FILE_NAME
    with closing(open_database(path)) as connection:
        save_intent(connection, "web", INTENT)
        save_disabled(connection, "old", "admin", 3.5)
    return path


EXPECTED = StoredIntents({"web": INTENT}, {"old": ("admin", 3.5)}, {})


def test_all_is_read(tmp_path: Path) -> None:
    make_store(tmp_path / "state")
    assert read(tmp_path / "state") == EXPECTED


def test_without_a_store_there_is_nothing_and_none_is_made(tmp_path: Path) -> None:
    assert read(tmp_path / "state") == NOTHING
    assert read(tmp_path) == NOTHING
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_committed_is_read(tmp_path: Path) -> None:
    path = make_store(tmp_path / "state")
    write = f"""
import os, signal
from pathlib import Path
from plugvisor.models.stored.intent import Intent
from plugvisor.store.tables.intents import save_intent
from plugvisor.store.schema import open_database
connection = open_database(Path({str(path)!r}))
save_intent(connection, "late", Intent("running", "ops", 1.0))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", write], check=False).returncode == -signal.SIGKILL
    assert os.stat(f"{path}-wal").st_size > 0
    found = read(tmp_path / "state")
    assert found is not None
    assert set(found.intents) == {"web", "late"}


def test_it_is_read_while_a_service_uses_it(tmp_path: Path) -> None:
    path = make_store(tmp_path / "state")
    with closing(open_database(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        save_intent(connection, "web", None)
        assert read(tmp_path / "state") == EXPECTED


@pytest.mark.parametrize("harm", ["random bytes", "a folder", "newer", "no tables", "open to all", "a pipe"])
def test_what_cannot_be_read_is_none(tmp_path: Path, harm: str) -> None:
    path = make_store(tmp_path / "state")
    if harm == "open to all":
        path.parent.chmod(0o777)
    elif harm == "newer":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 1000")
    elif harm == "no tables":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE intent")
    else:
        path.unlink()
        if harm == "random bytes":
            path.write_bytes(os.urandom(100_000))
        elif harm == "a folder":
            path.mkdir()
        else:
            os.mkfifo(path)
    assert read(path.parent) is None


@needs_root
def test_a_read_only_folder(tmp_path: Path) -> None:
    path = make_store(tmp_path / "state")
    subprocess.run(["mount", "--bind", path.parent, path.parent], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", path.parent], check=True)
        assert read(path.parent) == EXPECTED
    finally:
        subprocess.run(["umount", path.parent], check=True)


@needs_root
def test_root_reads_as_the_services_user(tmp_path: Path) -> None:
    """What the service can write is never opened by root: here it is root's own file."""
    daemon = pwd.getpwnam("daemon")
    users = {"PLUGVISOR_SERVICE_USER": "daemon", "PLUGVISOR_PLUGIN_USER": "nobody"}
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o001)
    path = make_store(tmp_path / "state")
    for each in (path.parent, path):
        os.chown(each, daemon.pw_uid, daemon.pw_gid)
    assert read(path.parent, **users) == EXPECTED
    os.link(make_store(tmp_path / "roots"), tmp_path / "linked")
    path.unlink()
    (tmp_path / "linked").chmod(0o600)
    (tmp_path / "linked").rename(path)
    assert read(path.parent, **users) is None
