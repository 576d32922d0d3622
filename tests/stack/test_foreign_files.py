"""Files in the run folder that Plugvisor has not written: they are left, named, and never replaced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

OPERATORS = "[program:web]\ncommand=/bin/sleep 1000\nautostart=false\n"


def write_foreign(plugvisor: PlugvisorStack) -> dict[Path, str]:
    """Write an operator's files into the run folder; returns the text of each."""
    conf_d, launch = plugvisor.run_dir / "conf.d", plugvisor.run_dir / "launch"
    conf_d.mkdir(mode=0o700, parents=True)
    launch.mkdir(mode=0o700)
    plugvisor.run_dir.chmod(0o700)
    texts = {conf_d / "web.conf": OPERATORS, conf_d / "other.conf": "; mine\n", launch / "tool.sh": "#!/bin/sh\n"}
    for path, text in texts.items():
        path.write_text(text)
    return texts


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_render_leaves_and_names_them(plugvisor: PlugvisorStack, kind: str) -> None:
    texts = write_foreign(plugvisor)
    web = plugvisor.run_dir / "conf.d" / "web.conf"
    if kind == "link":
        web.rename(plugvisor.root / "web.conf")
        web.symlink_to(plugvisor.root / "web.conf")
    elif kind == "fifo":
        web.unlink()
        os.mkfifo(web)
        del texts[web]
    for plugin_id in ("web", "tool", "fine"):
        plugvisor.write_plugin(plugin_id)
    rendered = plugvisor.command("render")
    assert rendered.returncode == 1
    assert {path: path.read_text() for path in texts} == texts
    assert (plugvisor.run_dir / "conf.d" / "fine.conf").exists()
    for plugin_id, name in {"web": "conf.d/web.conf", "tool": "launch/tool.sh"}.items():
        problem = f"the file {name} in the run folder was not written by Plugvisor; move it elsewhere"
        assert f"{plugin_id}: cannot be used: plugin.toml: {problem}" in rendered.stdout
    named = [path for path in (*texts, web) if f"left alone: {str(path)!r} was not written" in rendered.stderr]
    assert {*named} == {*texts, web}
    web.unlink()
    assert "web: ok" in plugvisor.command("render").stdout


def test_up_leaves_and_runs_them(plugvisor: PlugvisorStack) -> None:
    """An operator's file is an ordinary include: its programs are there, and are no plugins."""
    texts = write_foreign(plugvisor)
    plugvisor.write_plugin("web")
    plugvisor.up()
    assert {path: path.read_text() for path in texts} == texts
    assert "left alone" in plugvisor.output_path.read_text()
    wait_for(lambda: "web" in plugvisor.ctl("status"), "the operator's program")
    for verb in ("start", "reload"):
        response = plugvisor.post(f"/plugin/web/{verb}")
        assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
        assert str(plugvisor.root) not in response.text
    assert plugvisor.post("/plugin/web/stop").json()["code"] == "not_running"
    assert plugvisor.post("/plugins/refresh").json()["invalid"] == ["web"]
    assert "STOPPED" in plugvisor.ctl("status", "web")
    plugvisor.ctl("start", "web")
    pid = plugvisor.rpc("getProcessInfo", "web")["pid"]
    for verb in ("start", "stop", "reload"):
        plugvisor.post(f"/plugins/{verb}", json={})
    assert "web" not in plugvisor.ctl("update"), "nothing has changed"
    assert plugvisor.rpc("getProcessInfo", "web")["pid"] == pid
    assert {path: path.read_text() for path in texts} == texts


def test_a_refresh_after_update_says_added(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    plugvisor.write_plugin("late", runtime=QUICK)
    assert plugvisor.command("render").returncode == 0
    plugvisor.ctl("update")
    wait_for(lambda: "late" in plugvisor.ctl("status"), "the program")
    refreshed = plugvisor.post("/plugins/refresh").json()
    assert (refreshed["added"], refreshed["changed"]) == (["late"], [])
    refreshed = plugvisor.post("/plugins/refresh").json()
    assert (refreshed["added"], refreshed["changed"]) == ([], [])
