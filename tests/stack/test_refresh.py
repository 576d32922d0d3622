"""Refresh: what was added, changed, removed or broken in the plugins folder, and what goes on undisturbed."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import HESITANT, OBEDIENT
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.stack import PlugvisorStack


@pytest.fixture(autouse=True)
def _nothing_is_left(shared: PlugvisorStack) -> Iterator[None]:
    """Each test begins with no plugin."""
    yield
    for path in shared.plugins_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    refresh(shared)
    assert shared.http.get("/plugins").json()["plugins"] == []


def refresh(plugvisor: PlugvisorStack) -> dict[str, list[str]]:
    """Refresh; returns what it found, without what is empty."""
    response = plugvisor.post("/plugins/refresh")
    assert response.status_code == 200, response.text
    assert list(response.json()) == ["added", "changed", "removed", "invalid"]
    return {what: ids for what, ids in response.json().items() if ids}


def processes(plugvisor: PlugvisorStack) -> dict[str, dict[str, Any]]:
    """What supervisord says of its programs, by their names."""
    return {info["name"]: info for info in plugvisor.rpc("getAllProcessInfo")}


def is_published(plugvisor: PlugvisorStack, plugin_id: str) -> bool:
    """Whether the files and the program of a plugin are there; fails where only some of them are."""
    [there] = {
        (plugvisor.run_dir / "conf.d" / f"{plugin_id}.conf").exists(),
        (plugvisor.run_dir / "launch" / f"{plugin_id}.sh").exists(),
        plugin_id in processes(plugvisor),
    }
    return there


def listed(plugvisor: PlugvisorStack, plugin_id: str) -> dict[str, Any] | None:
    """A plugin as the list has it."""
    return next(
        (plugin for plugin in plugvisor.http.get("/plugins").json()["plugins"] if plugin["id"] == plugin_id), None
    )


def test_added_changed_removed(shared: PlugvisorStack) -> None:
    ids = ["one", "two", "three"]
    for plugin_id in ids:
        shared.write_plugin(plugin_id, runtime=QUICK)
    assert "one" not in shared.http.get("/plugin/status").json()["plugins"]
    assert refresh(shared) == {"added": sorted(ids)}
    assert refresh(shared) == {}
    pids = {plugin_id: shared.start_running(plugin_id) for plugin_id in ids}

    shared.write_plugin("one", runtime=f"{QUICK}\nsupervisor.priority = 7")
    shared.write_plugin("four", runtime=QUICK)
    hidden = (shared.plugins_dir / "three").rename(shared.root / "three")
    assert refresh(shared) == {"added": ["four"], "changed": ["one"], "removed": ["three"]}
    assert refresh(shared) == {}
    assert shared.status("one")["pid"] == pids["one"]
    assert shared.status("two")["pid"] == pids["two"]
    assert not is_alive(pids["three"])
    assert not find_processes(hidden)
    assert [is_published(shared, plugin_id) for plugin_id in (*ids, "four")] == [True, True, False, True]
    assert "three" not in shared.ctl("status")
    for response in (shared.http.get("/plugin/status?plugin_id=three"), shared.post("/plugin/three/start")):
        assert response.json()["code"] == "plugin_not_found"

    hidden.rename(shared.plugins_dir / "three")  # it is as good as new
    assert refresh(shared) == {"added": ["three"]}
    assert shared.status("three")["state"] == "STOPPED"
    shared.start_running("three")


@pytest.mark.parametrize("verb", ["start", "reload"])
def test_a_change_waits(shared: PlugvisorStack, add: Callable[..., str], verb: str) -> None:
    """It is applied when the plugin is started next, and not before."""
    code = f"import os\nprint(os.environ.get('SEEN'), flush=True)\n{OBEDIENT}"
    plugin_id = add(code, runtime=QUICK)
    pid = shared.start_running(plugin_id)
    runtime = 'auto_start = true\nsupervisor.startsecs = 100\nenvironment.SEEN = "你好"'
    path = shared.write_plugin(plugin_id, code, runtime=runtime)
    manifest = path / "plugin.toml"
    manifest.write_text(manifest.read_text().replace("[plugin]", '[plugin]\nname = "改名 🐼"\nversion = "9.9"'))
    assert refresh(shared) == {"changed": [plugin_id]}
    plugin = listed(shared, plugin_id)
    assert plugin
    assert (plugin["name"], plugin["version"], plugin["status"]) == ("改名 🐼", "9.9", "running")
    assert shared.status(plugin_id)["pid"] == pid
    assert shared.read_log(plugin_id) == "None\nready\n"
    if verb == "start":
        assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    assert shared.post(f"/plugin/{plugin_id}/{verb}?wait=0.1").status_code in (200, 202)
    wait_for(lambda: shared.status(plugin_id)["state"] == "STARTING")
    wait_for(lambda: shared.read_log(plugin_id) == "None\nready\n你好\nready\n")
    assert refresh(shared) == {}


def test_a_plugin_is_stopped_before_it_is_removed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(HESITANT, runtime=QUICK)
    pid = shared.start_running(plugin_id)
    (shared.plugins_dir / plugin_id / "plugin.toml").unlink()
    assert refresh(shared) == {"invalid": [plugin_id]}  # the folder is there: that is no removal
    assert shared.status(plugin_id)["pid"] == pid
    folder = (shared.plugins_dir / plugin_id).rename(shared.root / plugin_id)
    with ThreadPoolExecutor(1) as client:
        refreshed = client.submit(refresh, shared)
        wait_for(lambda: "asked to stop" in shared.read_log(plugin_id), "the stop")
        assert is_published(shared, plugin_id)
        (folder / "go").touch()
        assert refreshed.result() == {"removed": [plugin_id]}
    assert not is_alive(pid)
    assert not is_published(shared, plugin_id)


def test_a_renamed_folder(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    pid = shared.start_running(plugin_id)
    (shared.plugins_dir / plugin_id).rename(shared.plugins_dir / f"{plugin_id}-renamed")
    assert refresh(shared) == {"changed": [plugin_id]}
    assert shared.status(plugin_id)["pid"] == pid
    reloaded = shared.post(f"/plugin/{plugin_id}/reload").json()
    assert reloaded["status"] == "running"
    wait_for(lambda: find_processes(shared.plugins_dir / f"{plugin_id}-renamed") == [reloaded["pid"]])


def test_a_changed_id(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    old = add(runtime=QUICK)
    pid = shared.start_running(old)
    new = f"{old}-new"
    shared.write_plugin(new, runtime=QUICK, folder=old)
    assert refresh(shared) == {"added": [new], "removed": [old]}
    assert not is_alive(pid)
    assert (is_published(shared, old), is_published(shared, new)) == (False, True)
    assert shared.status(new)["state"] == "STOPPED"
    shared.start_running(new)


def test_a_manifest_that_is_broken_and_repaired_while_it_runs(shared: PlugvisorStack) -> None:
    path = shared.write_plugin("its_id", runtime=QUICK, folder="its-folder") / "plugin.toml"
    assert refresh(shared) == {"added": ["its_id"]}
    pid = shared.start_running("its_id")
    good = path.read_text()
    path.write_text("[plugin]\nid = \n")
    for _ in range(2):
        assert refresh(shared) == {"invalid": ["its_id"]}
    told = shared.status("its_id")
    assert (told["status"], told["pid"]) == ("running", pid)
    assert "plugin.toml line 2" in told["detail"]
    plugin = listed(shared, "its_id")
    assert plugin
    assert (plugin["status"], plugin["enabled"], plugin["detail"]) == ("running", False, told["detail"])
    assert listed(shared, "its-folder") is None
    path.write_text(good)
    assert refresh(shared) == {"changed": ["its_id"]}
    told = shared.status("its_id")
    assert (told["pid"], "detail" in told) == (pid, False)

    path.write_text("[plugin]\nid = \n")
    assert refresh(shared) == {"invalid": ["its_id"]}
    assert shared.post("/plugin/its_id/stop").status_code == 200  # that is possible all the same
    assert shared.status("its_id")["status"] == "error"
    path.write_text(good)
    assert refresh(shared) == {"changed": ["its_id"]}
    assert shared.status("its_id")["status"] == "stopped"


def test_broken_manifests_are_listed_and_keep_nobody_from_working(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    good = '[plugin]\nid = "{}"\ncommand = ["true"]\n'
    manifests = {
        "bad-toml": (good + "[plugin_runtime\n", "plugin.toml line 4"),
        "bad-type": (good + '[plugin_runtime]\nauto_start = "no"\n', "plugin.toml line 5"),
        "bad-id": (good.replace("{}", "../evil"), "plugin.toml line 2"),
        "bad-nothing": ("", "plugin.toml"),
        "bad-no-command": ('[plugin]\nid = "bad-no-command"\n', "plugin.toml line 1"),
        "bad-injection": (
            good + '[plugin_runtime.supervisor]\nstopsignal = "TERM\\nuser=root"\n',
            "plugin.toml line 5",
        ),
        "bad-reserved": (good.replace("{}", "plugvisor"), "plugin.toml line 2"),
        "bad-second": (good.replace("{}", "first"), "taken by the folder 'first'"),
        "bad-missing": (None, "plugin.toml"),
    }
    shared.write_plugin("first", runtime=QUICK)
    for name, (manifest, _) in manifests.items():
        (shared.plugins_dir / name).mkdir()
        if manifest is not None:
            (shared.plugins_dir / name / "plugin.toml").write_text(manifest.replace("{}", name))
    (shared.plugins_dir / "no-folder.txt").touch()
    (shared.plugins_dir / ".hidden").mkdir()
    assert refresh(shared) == {"added": ["first"], "invalid": sorted(manifests)}
    for name, (_, words) in manifests.items():
        plugin = listed(shared, name)
        assert plugin
        assert (plugin["status"], plugin["enabled"], plugin["name"]) == ("error", False, name)
        assert words in plugin["detail"]
        assert shared.status(name)["status"] == "error"
        assert shared.post(f"/plugin/{name}/start").json()["code"] == "invalid_manifest"
        assert not is_published(shared, name)
    assert listed(shared, "no-folder.txt") is None
    assert listed(shared, ".hidden") is None
    shared.start_running("first")
    for name in manifests:
        shutil.rmtree(shared.plugins_dir / name)
    assert refresh(shared) == {"removed": sorted(manifests)}
    assert shared.status("first")["status"] == "running"


def test_the_plugins_folder_is_pulled_away(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    pid = shared.start_running(plugin_id)
    before = shared.http.get("/plugins").json()
    away = shared.plugins_dir.rename(shared.root / "away")
    try:
        response = shared.post("/plugins/refresh")
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert "cannot read the plugins folder" in response.json()["detail"]
        assert str(shared.root) not in response.text
        assert shared.http.get("/plugins").json() == before
        assert shared.status(plugin_id)["pid"] == pid
        assert is_alive(pid)
        assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    finally:
        away.rename(shared.plugins_dir)
    assert refresh(shared) == {}
    shared.start_running(plugin_id)


def test_two_refreshes_at_once_find_everything_once(shared: PlugvisorStack) -> None:
    ids = [f"once-{number}" for number in range(10)]
    for plugin_id in ids:
        shared.write_plugin(plugin_id, runtime=QUICK)
    with ThreadPoolExecutor(4) as clients:
        found = list(clients.map(lambda _: refresh(shared), range(4)))
        assert sorted(found, key=len) == [{}, {}, {}, {"added": ids}]
        for plugin_id in ids[:3]:
            shared.start_running(plugin_id)
        for plugin_id in ids:
            (shared.plugins_dir / plugin_id).rename(shared.root / plugin_id)
        found = list(clients.map(lambda _: refresh(shared), range(4)))
    assert sorted(found, key=len) == [{}, {}, {}, {"removed": ids}]
    assert not any(is_published(shared, plugin_id) for plugin_id in ids)
    assert not any(find_processes(shared.root / plugin_id) for plugin_id in ids)
