"""`plugvisor events` against a running service."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING

from tests.helpers.running_command import RunningCommand, run_command
from tests.helpers.stack import QUICK, PlugvisorStack
from tests.helpers.terminal import open_terminal
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def changes_of(command: RunningCommand) -> list[tuple[str, str]]:
    """What each line says of which plugin, without its time."""
    return [(words[2], " ".join(words[3:])) for words in map(str.split, command.lines)]


def read_objects(command: RunningCommand) -> list[dict[str, object]]:
    return [json.loads(line) for line in command.lines]


def test_each_change_is_a_line(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id, other = add(runtime=QUICK), add(suffix="-other")
    with run_command(shared, tmp_path, "events", f"{plugin_id[:-1]}?") as watcher:

        def show_start() -> bool:
            """Repeat it until the stream is open: nothing is printed of what was before."""
            for verb in ("start", "stop"):
                shared.post(f"/plugin/{other}/{verb}")
                shared.post(f"/plugin/{plugin_id}/{verb}")
            return bool(watcher.lines)

        wait_for(show_start, "a line")
        shared.post(f"/plugin/{plugin_id}/start")
        wait_for(lambda: (plugin_id, "stopped → running") in changes_of(watcher)[-1:], "the last start")
        assert {name for name, _ in changes_of(watcher)} == {plugin_id}
        watcher.process.send_signal(signal.SIGINT)
        assert watcher.process.wait(DEADLINE_SECONDS) == 128 + signal.SIGINT
        assert watcher.words == ""


def test_objects_across_a_restart(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.write_plugin("two", runtime=QUICK)
    plugvisor.up()
    with run_command(plugvisor, tmp_path, "events", "--json", "one") as watcher:
        wait_for(lambda: watcher.lines, "the snapshot")
        [snapshot] = read_objects(watcher)
        assert snapshot["event"] == "snapshot"
        assert [plugin["id"] for plugin in snapshot["plugins"]] == ["one"]  # type: ignore[attr-defined]
        plugvisor.post("/plugin/two/start")
        plugvisor.post("/plugin/one/start")
        wait_for(lambda: read_objects(watcher)[-1].get("status") == "running", "the start")
        assert {line.get("plugin_id", "one") for line in read_objects(watcher)} == {"one"}
        count = len(watcher.lines)
        plugvisor.restart_service()
        wait_for(lambda: len(watcher.lines) > count, "the snapshot of the next service")
        assert read_objects(watcher)[count]["event"] == "snapshot"


def test_what_has_changed_meanwhile(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    """While the service restarts, nothing reports the changes: the lists before and after are compared."""
    for plugin_id in ("gone", "killed", "same"):
        plugvisor.write_plugin(plugin_id, runtime='supervisor.startsecs = 0\nsupervisor.autorestart = "false"')
    plugvisor.up()
    pid = plugvisor.wait_for_status("killed", "running")["pid"]
    with run_command(plugvisor, tmp_path, "events") as watcher:
        plugvisor.post("/plugin/same/stop")

        def show_start() -> bool:
            for verb in ("start", "stop"):
                plugvisor.post(f"/plugin/same/{verb}")
            return bool(watcher.lines)

        wait_for(show_start, "a line")
        os.kill(plugvisor.service_pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        plugvisor.write_plugin("new", runtime=QUICK)
        wait_for(plugvisor.is_ready, "the service")
        plugvisor.post("/plugins/refresh")
        wait_for(lambda: any(name == "new" for name, _ in changes_of(watcher)), "the new plugin")
        told = changes_of(watcher)
        assert [words.split(" ended")[0] for name, words in told if name == "killed"] == ["running → error it"]
        assert [words for name, words in told if name == "new"] == ["added, stopped"]
        shutil.rmtree(plugvisor.plugins_dir / "gone")
        plugvisor.post("/plugins/refresh")
        wait_for(lambda: changes_of(watcher)[-1] == ("gone", "removed"), "the plugin that was removed")


def test_an_engine_that_is_gone(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    with run_command(plugvisor, tmp_path, "events") as watcher:

        def show_start() -> bool:
            for verb in ("start", "stop"):
                plugvisor.post(f"/plugin/one/{verb}")
            return bool(watcher.lines)

        wait_for(show_start, "a line")
        os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
        wait_for(lambda: changes_of(watcher)[-1][1].startswith("unavailable"), "the loss")
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)


def test_without_a_token(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    """Events are as open as the list is; logs and usage are not."""
    plugin_id = add()
    nothing = {"PLUGVISOR_ADMIN_CODE": "", "PLUGVISOR_RUN_DIR": str(tmp_path / "empty")}
    with run_command(shared, tmp_path, "events", "--json", plugin_id, **nothing) as watcher:
        wait_for(lambda: watcher.lines, "the snapshot")
        assert watcher.words == ""
    for name in ("logs", "top", "journal"):
        done = shared.command(name, **nothing)
        assert (done.returncode, done.stdout) == (1, "")
        assert "needs a token" in done.stderr


def test_an_unknown_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    done = shared.command("events", plugin_id[:-1])
    assert (done.returncode, done.stdout) == (1, "")
    assert f"did you mean {plugin_id!r}?" in done.stderr


def test_colours_on_a_terminal(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    with open_terminal(shared, "events", plugin_id) as terminal:

        def show_start() -> bool:
            for verb in ("start", "stop"):
                shared.post(f"/plugin/{plugin_id}/{verb}")
            return "\x1b[32mrunning\x1b[0m" in terminal.output

        wait_for(show_start, "a green word")
        terminal.type("\x03")
        assert terminal.wait() == 128 + signal.SIGINT
        assert "Traceback" not in terminal.text
