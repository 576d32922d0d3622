"""Whether a plugin is started when supervisord starts itself, by `launch/_starts.json`."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.intents.boot_starts import LARGEST_BYTES, STARTS_FILE

from tests.helpers.supervisord import RUNNING, STOPPED, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.helpers.supervisord import Supervisord

NOT_KNOWN = "the manifests decide which plugins are started"


def write_starts(supervisord: Supervisord, starts: Mapping[str, bool] | bytes) -> None:
    """Write the file as the service does: each version is a new file."""
    path = supervisord.root / "launch" / STARTS_FILE
    new = path.with_suffix(".new")
    new.write_bytes(starts if isinstance(starts, bytes) else json.dumps(starts).encode())
    new.rename(path)


def write_all(supervisord: Supervisord) -> None:
    """Plugins that start by themselves and others, named by whether they do, and by what the file may say of them."""
    for autostart in ("auto", "manual"):
        for name in ("unknown", "wanted", "unwanted"):
            supervisord.write_plugin(f"{autostart}-{name}", autostart=str(autostart == "auto").lower())


def list_running(supervisord: Supervisord) -> list[str]:
    """The plugins that were started, once all are known; a last one was to be started after them."""
    wait_for(lambda: supervisord.states.get("last", (STOPPED, 0))[0] == RUNNING, "the last one")
    return sorted(name for name, (state, _) in supervisord.states.items() if state == RUNNING and name != "last")


def update(supervisord: Supervisord) -> list[str]:
    """Have supervisorctl apply what has changed; returns the plugins that run when all have been started."""
    supervisord.ctl("update")
    # supervisorctl adds programs in no particular order, so the last one comes by another update
    supervisord.write_plugin("last", autostart="true", priority=len(supervisord.log))
    supervisord.ctl("update")
    return list_running(supervisord)


STARTS = {
    "auto-wanted": True,
    "auto-unwanted": False,
    "manual-wanted": True,
    "manual-unwanted": False,
    "nobody": True,
}
WANTED = ["auto-unknown", "auto-wanted", "manual-wanted"]
BY_MANIFEST = ["auto-unknown", "auto-unwanted", "auto-wanted"]


@pytest.fixture(params=["included", "read by the extension"])
def booting(request: pytest.FixtureRequest) -> Iterator[Supervisord]:
    """A supervisord that is not started yet, with every plugin; supervisord itself reads their files, or does not."""
    with make_supervisord() as made:
        if request.param != "included":
            conf = made.root / "supervisord.conf"
            conf.write_text(conf.read_text().replace("conf.d/*.conf", "none/*.conf"))
        write_all(made)
        made.write_plugin("last", autostart="true", priority=1000)
        yield made


def test_a_boot(booting: Supervisord) -> None:
    write_starts(booting, STARTS)
    booting.start()
    assert list_running(booting) == WANTED
    assert NOT_KNOWN not in booting.log


def test_without_the_file(booting: Supervisord) -> None:
    booting.start()
    assert list_running(booting) == BY_MANIFEST
    assert NOT_KNOWN not in booting.log


def test_the_order_is_that_of_the_priorities(own: Supervisord) -> None:
    names = ["third", "first", "second"]
    for name, priority in zip(names, (30, 10, 20), strict=True):
        own.write_plugin(name, priority=priority)
    write_starts(own, dict.fromkeys(names, True))
    own.start()
    wait_for(lambda: all(own.count_ready(name) for name in names))
    spawned = [line.split("'")[1] for line in own.log.splitlines() if "spawned: '" in line]
    assert spawned == ["first", "second", "third"]


def test_one_with_dependencies_is_queued(own: Supervisord) -> None:
    own.write_plugin("manual", depends_on=["db"])
    own.write_plugin("auto", depends_on=["db"], autostart="true")
    write_starts(own, {"manual": True, "auto": False})
    own.start()
    assert own.describe("manual")["queued"] == "boot"
    assert "queued" not in own.describe("auto")
    assert own.states["manual"][0] == own.states["auto"][0] == STOPPED


def test_one_that_is_not_started_can_be(own: Supervisord) -> None:
    own.write_plugin("api", autostart="true")
    own.write_plugin("ctl", autostart="true")
    write_starts(own, {"api": False, "ctl": False})
    own.start()
    assert own.fault("plugins.stop", "api") == "NOT_RUNNING"
    own.start_ready("api")
    own.start_ready("ctl", "supervisor.startProcess")
    own.stop_plugin("api")
    own.ctl("stop", "ctl")
    assert own.states == {"api": (STOPPED, 0), "ctl": (STOPPED, 0)}


@pytest.mark.parametrize("how", ["reload", "SIGHUP", "SIGKILL"])
def test_supervisord_begins_anew(own: Supervisord, how: str) -> None:
    """By what the file says then."""
    write_all(own)
    own.write_plugin("last", autostart="true", priority=1000)
    own.start()
    assert list_running(own) == BY_MANIFEST
    write_starts(own, STARTS)
    ready = own.count_ready("last")
    if how == "SIGKILL":
        own.stop(signal.SIGKILL)
        own.start()
    else:
        own.ctl("reload") if how == "reload" else os.kill(own.pid, signal.SIGHUP)
        wait_for(lambda: own.log.count("supervisord started with pid") == 2)
    own.rpc.close()
    wait_for(own.answers)
    wait_for(lambda: own.count_ready("last") > ready)
    assert list_running(own) == WANTED


def test_supervisorctl_adds_programs(own: Supervisord) -> None:
    """By what the file says when a program is added, be it new or changed."""
    own.start()
    write_all(own)
    write_starts(own, STARTS)
    assert update(own) == WANTED
    starts = {name: not wanted for name, wanted in STARTS.items()} | {"auto-unknown": False, "manual-unknown": True}
    write_starts(own, starts)
    for name in own.states.keys() - {"last"}:
        own.write_plugin(name, autostart=str(name.startswith("auto")).lower(), priority=5)
    assert update(own) == ["auto-unwanted", "manual-unknown", "manual-unwanted"]


def test_the_service_adds_without_starting(shared: Supervisord, add: Callable[..., str]) -> None:
    """A change of the configuration starts nothing either."""
    write_starts(shared, {"plugin-of-this-test": True})
    try:
        shared.add("plugin-of-this-test")
        shared.add("plugin-of-this-test", autostart="true")
        name = add()
        shared.start_ready(name)  # the loop has gone round
        assert shared.states["plugin-of-this-test"] == (STOPPED, 0)
    finally:
        shared.remove("plugin-of-this-test")
        (shared.root / "launch" / STARTS_FILE).unlink()


# -- whatever is in its place


def put_fifo(path: Path) -> None:
    os.mkfifo(path)


def put_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_folder(path: Path) -> None:
    path.mkdir()


CONTENTS: dict[str, bytes | Callable[[Path], None]] = {
    "nothing": b"",
    "half of it": json.dumps(STARTS).encode()[:-3],
    "no JSON": b"\xff\x00{}",
    "deep": b"[" * 500_000,
    "too large": b'{"auto-unwanted": false}' + b" " * LARGEST_BYTES,
    "a list": b'["auto-unwanted"]',
    "numbers": b'{"auto-unwanted": 0}',
    "null": b"null",
    "a pipe": put_fifo,
    "endless": put_link,
    "a folder": put_folder,
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_something_else_in_its_place(own: Supervisord, kind: str) -> None:
    """The manifests decide, and one line in supervisord's log says so; a good file is used afterwards."""
    content, path = CONTENTS[kind], own.root / "launch" / STARTS_FILE
    if isinstance(content, bytes):
        write_starts(own, content)
    else:
        content(path)
    write_all(own)
    own.write_plugin("last", autostart="true", priority=1000)
    own.start()
    assert list_running(own) == BY_MANIFEST
    assert own.log.count(NOT_KNOWN) == 1
    assert own.read_resident_kilobytes() < 200_000
    path.rmdir() if path.is_dir() else path.unlink()
    write_starts(own, STARTS)
    own.ctl("stop", "all")
    for name in own.states.keys() - {"last"}:
        own.write_plugin(name, autostart=str(name.startswith("auto")).lower(), priority=5)
    assert update(own) == WANTED


def test_a_file_that_may_not_be_read(own: Supervisord) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    write_starts(own, STARTS)
    (own.root / "launch" / STARTS_FILE).chmod(0)
    write_all(own)
    own.write_plugin("last", autostart="true", priority=1000)
    own.start()
    assert list_running(own) == BY_MANIFEST
    assert own.log.count(NOT_KNOWN) == 1
