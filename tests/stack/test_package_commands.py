"""`plugvisor install`, `update`, `rollback`, `uninstall` and `new` against a running service."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.cli.packages.templates import TEMPLATES

from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ROOT, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/plugin.toml"))


def run(plugvisor: PlugvisorStack, *arguments: str | Path) -> str:
    """Run `plugvisor …`, which must succeed; returns its output."""
    done = plugvisor.command(*map(str, arguments))
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(plugvisor: PlugvisorStack, *arguments: str | Path) -> str:
    """Run a command that fails; returns its last sentence."""
    done = plugvisor.command(*map(str, arguments))
    assert (done.returncode, done.stdout) == (1, ""), done
    return done.stderr.splitlines()[-1]


def get_last_line(text: str) -> str:
    return text.splitlines()[-1]


def list_operations(plugvisor: PlugvisorStack, plugin_id: str) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = json.loads(run(plugvisor, "operations", "--plugin", plugin_id, "--json"))[
        "operations"
    ]
    return operations


def test_a_plugin_from_its_first_to_its_last_day(shared: PlugvisorStack, tmp_path: Path) -> None:
    run(shared, "new", "web", "--into", tmp_path)
    folder, manifest, main = tmp_path / "web", tmp_path / "web/plugin.toml", tmp_path / "web/main.py"
    assert run(shared, "install", folder, "--start") == "'web' 0.1.0 is installed and started\n"
    assert run(shared, "install", folder) == "'web' 0.1.0 was current already\n"
    started = shared.wait_for_status("web", "running")

    manifest.write_text(manifest.read_text().replace("0.1.0", "0.2.0"))
    file = tmp_path / "web.zip"
    run(shared, "pack", folder, "-o", file)
    assert "is installed already" in fail(shared, "install", file)
    assert run(shared, "update", "web", file) == "'web' is updated from 0.1.0 to 0.2.0\n"
    assert shared.status("web")["pid"] != started["pid"]
    wait_for(lambda: "start number 2" in shared.read_log("web"), "the new version to find its data")

    # it ends at once, which a busy machine may begin late
    late = "\n[plugin_runtime.supervisor]\nstartsecs = 60\n"
    manifest.write_text(manifest.read_text().replace("0.2.0", "0.3.0") + late)
    works = main.read_text()
    main.write_text("raise SystemExit('no way')")
    failed = shared.command("update", "web", str(folder))
    assert failed.returncode == 1
    assert re.search(r"the last lines of its log since the change began:\n(  .*\n)*  no way\n", failed.stderr)
    assert re.fullmatch(
        r"plugvisor: cannot update 'web': .*; the version before is current again", get_last_line(failed.stderr)
    )
    assert failed.stderr.count("is current again") == 1, "it is said once"
    shared.wait_for_status("web", "running")
    main.write_text(works)

    assert run(shared, "rollback", "web") == "'web' is rolled back from 0.2.0 to 0.1.0\n"
    versions = json.loads(run(shared, "versions", "web", "--json"))["versions"]
    assert [(each["version"], each.get("current", False)) for each in versions] == [("0.2.0", False), ("0.1.0", True)]
    assert versions[0]["source"] == "web.zip"
    assert [each["verb"] for each in list_operations(shared, "web")][:2] == ["rollback", "update"]

    assert run(shared, "uninstall", "web", "--yes") == "'web' is removed; its data is kept\n"
    assert "there is no plugin 'web'" in fail(shared, "versions", "web")
    assert (shared.plugins_dir / "web/data/starts.txt").exists()
    assert run(shared, "uninstall", "web", "--yes", "--purge") == "'web' is removed, with its data\n"
    assert not (shared.plugins_dir / "web").exists()


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_can_be_installed(shared: PlugvisorStack, tmp_path: Path, template: str) -> None:
    run(shared, "new", f"a-{template}", "--template", template, "--into", tmp_path)
    run(shared, "install", tmp_path / f"a-{template}", "--start")
    data = shared.plugins_dir / f"a-{template}/data"
    wait_for(lambda: any(data.iterdir()), "the plugin to write its data")
    run(shared, "uninstall", f"a-{template}", "--yes")
    assert any(data.iterdir())


def test_a_manifest_is_changed(shared: PlugvisorStack, tmp_path: Path) -> None:
    run(shared, "new", "greeter", "--into", tmp_path)
    run(shared, "install", tmp_path / "greeter", "--start")
    text, file = run(shared, "config", "get", "greeter"), tmp_path / "changed.toml"
    assert text == (tmp_path / "greeter/plugin.toml").read_text()
    file.write_text(text.replace("hello", "good morning"))
    done = run(shared, "config", "set", "greeter", file, "--reload")
    assert done == "the manifest was replaced\n'greeter' is reloaded, and running\n"
    config = json.loads(run(shared, "config", "get", "greeter", "--json"))
    assert config["config"]["plugin_runtime"]["environment"] == {"GREETING": "good morning"}
    assert not config["reload_needed"]
    assert run(shared, "config", "get", "greeter", "--earlier", "1") == text
    assert "no longer the one" in fail(shared, "config", "set", "greeter", file, "--if-match", '"another"')
    file.write_text("[plugin]\nid = 1\n")
    assert "line 2" in fail(shared, "config", "set", "greeter", file)
    edited = shared.command("config", "edit", "greeter", EDITOR="sed -i s/morning/evening/")
    assert edited.returncode == 0, edited.stderr
    assert "good evening" in run(shared, "config", "get", "greeter")
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\ngrep -q "^# plugvisor: .*line" "$1" && by=perhaps/false || by=true/perhaps\nsed -i "s/$by/" "$1"\n'
    )
    editor.chmod(0o755)
    edited = shared.command("config", "edit", "greeter", EDITOR=str(editor))
    assert edited.returncode == 0, edited.stderr
    assert "auto_start = false" in run(shared, "config", "get", "greeter")
    assert "# plugvisor" not in run(shared, "config", "get", "greeter")


def test_ctrl_c_ends_a_build(shared: PlugvisorStack, tmp_path: Path) -> None:
    file = tmp_path / "endless.zip"
    with make_endless_package("endless") as package:
        file.write_bytes(package)
        command = [sys.executable, "-m", "plugvisor", "install", str(file)]
        with subprocess.Popen(command, env=shared.environ, stderr=subprocess.PIPE, text=True) as process:

            def is_building() -> bool:
                return any(each["phase"] == "environment" for each in list_operations(shared, "endless"))

            wait_for(is_building, "the environment to be built")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "plugvisor: cancelled; nothing has changed"
    [operation] = list_operations(shared, "endless")
    assert operation["state"] == "cancelled"
    assert not (shared.plugins_dir / "endless").exists()


def test_by_a_unix_socket(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    """A file is streamed to it, and one whose length is not known."""
    plugvisor.environ["PLUGVISOR_HOST"] = f"unix://{plugvisor.root}/http.sock"
    file = tmp_path / "one.zip"
    file.write_bytes(make_plugin_package("one", files={"large": "x" * 900_000}))
    plugvisor.process = plugvisor.spawn("up")
    wait_for(lambda: plugvisor.command("health").returncode == 0, "the service")
    assert run(plugvisor, "install", file, "--start") == "'one' 1.0.0 is installed and started\n"
    two = make_plugin_package("two", kind="tar.gz")
    command = [sys.executable, "-m", "plugvisor", "install", "-"]
    done = subprocess.run(
        command, env=plugvisor.environ, input=two, capture_output=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"'two' 1.0.0 is installed\n"), done.stderr


def test_a_role_that_may_not(shared: PlugvisorStack, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    file.write_bytes(make_plugin_package("not-permitted"))
    token = shared.add_identity("looker", "viewer")
    done = shared.command("install", str(file), PLUGVISOR_TOKEN=token)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"plugvisor: .*admin.*\n", done.stderr), done.stderr


def test_what_was_put_there_by_hand(shared: PlugvisorStack, tmp_path: Path) -> None:
    shared.write_plugin("mine", OBEDIENT, runtime="auto_start = false")
    shared.post("/plugins/refresh")
    file = tmp_path / "mine.zip"
    file.write_bytes(make_plugin_package("mine"))
    before = sorted((shared.plugins_dir / "mine").iterdir())
    for words in (["install", file, "--replace"], ["update", "mine", file], ["uninstall", "mine", "--yes"]):
        assert "put there by hand" in fail(shared, *words), words
    assert sorted((shared.plugins_dir / "mine").iterdir()) == before
    assert "put there by hand" in run(shared, "versions", "mine")


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_can_be_installed(shared: PlugvisorStack, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(ROOT / "plugins" / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert " is installed\n" in run(shared, "install", folder)
    listed = {plugin["id"]: plugin for plugin in shared.get("/plugins").json()["plugins"]}
    assert "manifest_error" not in listed[name]
    run(shared, "uninstall", name, "--yes", "--purge")


def test_what_requires_it(shared: PlugvisorStack, tmp_path: Path) -> None:
    """It goes on without it, or is stopped first."""
    file = tmp_path / "base.zip"
    file.write_bytes(make_plugin_package("base"))
    run(shared, "install", file, "--start")
    shared.write_plugin("needs-base", runtime="auto_start = false\ndepends_on.base = {condition = 'started'}")
    shared.post("/plugins/refresh")
    shared.start_running("needs-base")
    asked = shared.command("uninstall", "base")
    assert asked.returncode == 2
    assert "does not stop needs-base, which requires it, without --dependents" in asked.stderr
    run(shared, "uninstall", "base", "--yes")
    assert shared.status("needs-base")["status"] == "running"
    run(shared, "install", file, "--start")
    run(shared, "uninstall", "base", "--yes", "--dependents")
    assert shared.status("needs-base")["status"] == "stopped"
