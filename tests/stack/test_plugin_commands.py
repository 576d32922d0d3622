"""`plugvisor ls`, `status`, `start`, `stop`, `reload`, `refresh`, `enable` and `disable` against a running service."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import IGNORES_SIGTERM, SAYS_GOODBYE
from tests.helpers.running_command import run_command
from tests.helpers.stack import QUICK, ROOT, PlugvisorStack
from tests.helpers.terminal import CONTROLS, open_terminal
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAILING = "print('about \\x1b[2Jto end')\nraise SystemExit(3)"

NO_RETRY = f"{QUICK.replace('startsecs = 0', 'startsecs = 30')}\nsupervisor.startretries = 0"
STUBBORN_RUNTIME = f"{QUICK}\nsupervisor.stopwaitsecs = 300"
"""It ends when the test kills it."""
HEADING = ["ID", "VERSION", "STATUS", "HEALTH", "UPTIME", "RESTARTS", "CPU", "MEMORY", "DETAIL"]


def kill(plugvisor: PlugvisorStack, *plugin_ids: str) -> None:
    """Have what is being stopped end."""
    for plugin_id in plugin_ids:
        os.kill(plugvisor.status(plugin_id)["pid"], signal.SIGKILL)
    for plugin_id in plugin_ids:
        plugvisor.wait_for_status(plugin_id, "stopped")


# -- ls and status


def test_a_table_of_plugins(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    running, stopped = add(runtime=QUICK, suffix="-r"), add(suffix="-s")
    shared.start_running(running)
    pattern = f"{running.removesuffix('r')}*"
    done = shared.command("ls", pattern)
    assert (done.returncode, done.stderr) == (0, "")
    heading, first, second = map(str.split, done.stdout.splitlines())
    assert heading == HEADING
    assert first[:4] == [running, "0.1.0", "running", "-"]
    assert first[4].endswith("s")
    assert float(first[7].removesuffix("MB")) > 1, "an admin may read what it uses"
    assert second == [stopped, "0.1.0", "stopped", "-", "-", "0", "-", "-"]
    [one, other] = json.loads(shared.command("ls", "--json", pattern).stdout)["plugins"]
    assert (one["id"], one["pid"], one["status"]) == (running, shared.status(running)["pid"], "running")
    assert one["memory_mb"] > 1
    assert "pid" not in other
    assert "\x1b" not in done.stdout
    colored = shared.command("ls", pattern, FORCE_COLOR="1").stdout
    assert "\x1b[32mrunning" in colored
    assert CONTROLS.sub("", colored).split()[: len(HEADING)] == HEADING


def count_failures(plugvisor: PlugvisorStack) -> list[str]:
    """How many requests have come without a valid token, by reason."""
    lines = plugvisor.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("plugvisor_auth_failures_total{")]


def test_what_is_open_needs_no_token(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    elsewhere = {"PLUGVISOR_ADMIN_CODE": "", "PLUGVISOR_RUN_DIR": str(tmp_path)}
    failures = count_failures(shared)
    row = shared.command("ls", plugin_id, **elsewhere).stdout.splitlines()[1].split()
    assert (row[0], row[2], row[6:8]) == (plugin_id, "running", ["-", "-"])
    assert shared.command("status", plugin_id, **elsewhere).stdout.startswith(f"{plugin_id}: running, pid ")
    assert shared.command("nodes", **elsewhere).returncode == 0
    assert count_failures(shared) == failures
    done = shared.command("stop", plugin_id, **elsewhere)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"this needs a token, but no Plugvisor has left its admin code in {str(tmp_path)!r}" in done.stderr
    assert count_failures(shared) != failures


def test_the_running_plugvisor_is_found_at_any_port(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """By the address and the admin code that it has left in its run folder."""
    plugin_id = add()
    nothing = {"PLUGVISOR_PORT": "", "PLUGVISOR_ADMIN_CODE": ""}
    done = shared.command("start", plugin_id, **nothing)
    assert (done.returncode, done.stderr) == (0, "")
    assert shared.command("stop", plugin_id, "--url", shared.url, **nothing).returncode == 0
    assert (shared.run_dir / "address").read_text() == f"{shared.url}\n\n"


def test_the_status_of_several(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    failed, stopped = add(FAILING, runtime=NO_RETRY, suffix="-f"), add(suffix="-s")
    assert shared.post(f"/plugin/{failed}/start?wait=50").status_code == 500
    first, detail, second = shared.command("status", failed, stopped).stdout.splitlines()
    assert first.startswith(f"{failed}: error")
    assert "exit code 3" in detail
    assert second == f"{stopped}: stopped"
    answer = json.loads(shared.command("status", "--json", f"{failed[:-1]}*").stdout)
    assert list(answer["plugins"]) == [failed, stopped]
    assert json.loads(shared.command("status", "--json", failed).stdout)["plugin_id"] == failed
    assert f"{stopped}: stopped" in shared.command("status").stdout, "all"


@pytest.mark.parametrize("verb", ["ls", "status", "start", "stop", "reload", "enable", "disable"])
def test_an_unknown_plugin(shared: PlugvisorStack, add: Callable[..., str], verb: str) -> None:
    plugin_id = add()
    for more in ([], [plugin_id]):
        done = shared.command(verb, plugin_id[:-1], *more)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"plugvisor: there is no plugin {plugin_id[:-1]!r}; did you mean {plugin_id!r}? ")
    assert shared.status(plugin_id)["state"] == "STOPPED", "nothing was done with the other one"


# -- changes


def test_start_reload_and_stop_wait(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime="auto_start = false\nsupervisor.startsecs = 1")
    done = shared.command("start", plugin_id)
    pid = shared.status(plugin_id)["pid"]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{plugin_id}: running, pid {pid}\n", "")
    done = shared.command("start", plugin_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"plugvisor: cannot start {plugin_id!r}: it is running already\n"
    done = shared.command("reload", plugin_id)
    reloaded = shared.status(plugin_id)["pid"]
    assert (done.returncode, done.stdout) == (0, f"{plugin_id}: running, pid {reloaded}\n")
    assert reloaded != pid
    done = shared.command("stop", plugin_id)
    assert (done.returncode, done.stdout) == (0, f"{plugin_id}: stopped\n")
    assert shared.command("status", plugin_id).stdout.startswith(f"{plugin_id}: stopped, by admin at 20")
    assert shared.command("stop", plugin_id).returncode == 1


def test_with_a_pattern_what_runs_already_is_no_error(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    first, second, third = (add(runtime=QUICK, suffix=f"-{number}") for number in range(3))
    shared.start_running(first)
    assert shared.command("disable", third).stdout == f"{third}: stopped, disabled\n"
    pattern = f"{first[:-1]}*"
    done = shared.command("start", pattern)
    assert (done.returncode, done.stderr) == (0, "")
    pid = shared.status(second)["pid"]
    assert done.stdout.splitlines() == [f"{first}: is running already", f"{second}: running, pid {pid}"]
    results = json.loads(shared.command("stop", first, pattern, "--json").stdout)
    assert results["ok"]
    assert [result["plugin_id"] for result in results["results"]] == [first, second]
    done = shared.command("stop", pattern)
    assert (done.returncode, done.stdout) == (0, "there is no plugin to stop\n")
    done = shared.command("start", first, third)
    assert (done.returncode, done.stdout.startswith(f"{first}: running")) == (1, True)
    assert f"cannot start {third!r}: it was disabled by 'admin'" in done.stderr
    assert done.stderr.endswith("plugvisor: 1 of 2 plugins failed\n")
    assert shared.command("enable", pattern).stdout == f"{third}: can be started\n"
    assert shared.command("start", third).returncode == 0


def test_why_one_has_failed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    failing, working = add(FAILING, runtime=NO_RETRY, suffix="-f"), add(runtime=QUICK, suffix="-w")
    done = shared.command("start", failing, working)
    assert done.returncode == 1
    assert done.stdout == f"{working}: running, pid {shared.status(working)['pid']}\n"
    reason, heading, line, count = done.stderr.splitlines()
    assert reason.startswith(f"plugvisor: cannot start {failing!r}: it could not be started and ")
    assert heading == "  the last lines of its log:"
    assert line == "    about \\x1b[2Jto end", "nothing in it controls the terminal"
    assert count == "plugvisor: 1 of 2 plugins failed"
    answer = json.loads(shared.command("start", failing, "--json").stdout)
    assert (answer["ok"], answer["results"][0]["problem"]["code"]) == (False, "start_failed")
    assert answer["results"][0]["log"][-1] == "about \x1b[2Jto end"


def test_what_an_earlier_process_has_printed_is_no_reason(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    runtime = "auto_start = false\nsupervisor.startsecs = 1\nsupervisor.startretries = 0"
    plugin_id = add(SAYS_GOODBYE, runtime=runtime)
    shared.start_running(plugin_id)
    wait_for(lambda: "ready" in shared.read_log(plugin_id), "it to be able to say goodbye")
    shared.write_plugin(plugin_id, "raise SystemExit(3)", runtime=NO_RETRY)
    for verb in ("reload", "start"):
        done = shared.command(verb, plugin_id)
        assert done.returncode == 1
        [reason] = done.stderr.splitlines()
        assert reason.startswith(f"plugvisor: cannot {verb} {plugin_id!r}: it could not be started")
        shared.wait_for_state(plugin_id, "FATAL")
        told = shared.get(f"/plugin/status?plugin_id={plugin_id}").json()
        assert told["detail"].endswith("; its log may say why")
    assert "error: goodbye" in shared.read_log(plugin_id)


def test_an_operator_sees_the_log_and_nobody_else(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """Every token that may start a plugin may read its log; a viewer may not start it."""
    failing = add(FAILING, runtime=NO_RETRY)
    token = shared.add_identity("an-operator", "operator")
    viewer = shared.add_identity("a-viewer", "viewer")
    file = shared.root / "token"
    file.write_text(f"{token}\n")
    done = shared.command("start", failing, "--token", f"@{file}")
    assert "to end" in done.stderr
    done = shared.command("start", failing, PLUGVISOR_TOKEN=viewer)
    assert done.returncode == 1
    assert "to end" not in done.stderr
    for name in ("an-operator", "a-viewer"):
        shared.remove_identity(name)


def test_what_is_not_waited_for(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(IGNORES_SIGTERM, runtime=STUBBORN_RUNTIME)
    shared.start_running(plugin_id)
    pid = shared.status(plugin_id)["pid"]
    done = shared.command("stop", plugin_id, "--timeout", "0.2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"plugvisor: after 0.2 seconds {plugin_id!r} is still stopping; that goes on\n"
    done = shared.command("stop", plugin_id, "--no-wait")
    assert (done.returncode, done.stdout) == (0, f"{plugin_id}: stopping, pid {pid}\n")
    kill(shared, plugin_id)
    for timeout in ("0", "-1", "nan", "301", "x"):
        done = shared.command("start", plugin_id, "--timeout", timeout)
        assert (done.returncode, "--timeout" in done.stderr) == (2, True)


def test_dependencies(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    store = add(runtime=QUICK, suffix="-store")
    page = add(runtime=f'{QUICK}\ndepends_on.{store} = {{ condition = "started" }}', suffix="-page")
    assert shared.command("start", page).returncode == 0
    assert shared.status(store)["status"] == "running"
    assert shared.command("stop", store, "--dependents").returncode == 0
    assert [shared.status(plugin_id)["status"] for plugin_id in (store, page)] == ["stopped", "stopped"]
    assert shared.command("disable", store).returncode == 0
    done = shared.command("start", page)
    assert (done.returncode, store in done.stderr) == (1, True)
    assert shared.command("enable", store).returncode == 0


def test_a_start_that_waits_for_a_dependency(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    check = 'checks.web = { level = "ready", exec = ["false"], period = 1, startup = 60 }'
    store = add(runtime=f"{QUICK}\n{check}", suffix="-store")
    page = add(runtime=f'{QUICK}\ndepends_on.{store} = {{ condition = "ready" }}', suffix="-page")
    done = shared.command("start", page, "--no-wait")
    assert (done.returncode, done.stdout) == (0, f"{page}: waits for {store}\n")
    done = shared.command("start", f"{page[:-1]}*", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"plugvisor: after 0.5 seconds {page!r} still waits for {store!r}; that goes on\n"
    done = shared.command("reload", store, "--timeout", "1.5")
    assert done.returncode == 1
    assert f"after 1.5 seconds {store!r} is still starting; that goes on" in done.stderr
    assert shared.command("stop", store, page).returncode == 0


def test_which_plugins_must_be_said(shared: PlugvisorStack) -> None:
    for arguments in (["start"], ["stop", "x", "--all"]):
        done = shared.command(*arguments)
        assert done.returncode == 2
        assert done.stderr == f"plugvisor: cannot {arguments[0]}: name plugins, or use --all\n"


def test_all(plugvisor: PlugvisorStack) -> None:
    for name in ("a", "b", "c"):
        plugvisor.write_plugin(name, runtime=QUICK)
    plugvisor.up()
    assert plugvisor.command("disable", "c").returncode == 0
    done = plugvisor.command("start", "--all")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["a", "b"], "not what is disabled"
    assert plugvisor.command("reload", "--all").stdout.count(": running") == 2
    assert plugvisor.command("stop", "--all").stdout == "a: stopped\nb: stopped\n"
    assert plugvisor.command("enable", "--all").stdout == "c: can be started\n"
    assert plugvisor.command("disable", "--all").stdout.count("disabled") == 3
    assert json.loads(plugvisor.command("start", "--all", "--json").stdout) == {"ok": True, "results": []}


# -- on a terminal


def test_progress_on_a_terminal(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_ids = [add(IGNORES_SIGTERM, runtime=STUBBORN_RUNTIME, suffix=f"-{number}") for number in range(2)]
    for plugin_id in plugin_ids:
        shared.start_running(plugin_id)
    with open_terminal(shared, "stop", *plugin_ids) as terminal:
        terminal.wait_for("0 of 2 stopped")
        assert "\x1b[33mstopping" in terminal.output
        kill(shared, *plugin_ids)
        assert terminal.wait() == 0
        assert terminal.text.splitlines()[-2:] == [f"{plugin_id}: stopped" for plugin_id in plugin_ids]
        assert "\x1b[?25h" in terminal.output, "the cursor is there again"


def test_ctrl_c_ends_the_waiting_alone(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(IGNORES_SIGTERM, runtime=STUBBORN_RUNTIME)
    shared.start_running(plugin_id)
    with open_terminal(shared, "stop", plugin_id) as terminal:
        terminal.wait_for("stopping")
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert f"what was begun goes on; `plugvisor status {plugin_id}` shows it" in terminal.text
        assert "Traceback" not in terminal.text
    kill(shared, plugin_id)


def test_ctrl_c_on_a_pipe(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id = add(IGNORES_SIGTERM, runtime=STUBBORN_RUNTIME)
    shared.start_running(plugin_id)
    with run_command(shared, tmp_path, "stop", plugin_id) as command:
        shared.wait_for_status(plugin_id, "stopping")
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(DEADLINE_SECONDS) == 130
        assert command.words == f"plugvisor: what was begun goes on; `plugvisor status {plugin_id}` shows it\n"
    kill(shared, plugin_id)


def test_details_stand_below_a_table_that_would_be_too_wide(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(FAILING, runtime=NO_RETRY)
    assert shared.post(f"/plugin/{plugin_id}/start?wait=50").status_code == 500
    for columns, is_below in ((100, True), (1000, False)):
        with open_terminal(shared, "ls", plugin_id, columns=columns) as terminal:
            assert terminal.wait() == 0
            assert ("\x1b[31merror" in terminal.output) is True
            assert (f"\n{plugin_id}: it" in terminal.text) is is_below
            assert ("DETAIL" in terminal.text) is not is_below


# -- what is kept current


def test_watching_on_a_terminal(plugvisor: PlugvisorStack) -> None:
    for name in ("one", "two", "other"):
        plugvisor.write_plugin(name, runtime=QUICK)
    plugvisor.up()
    with open_terminal(plugvisor, "ls", "--watch", "one", "two") as terminal:
        terminal.wait_for("two  0.1.0    stopped")
        assert plugvisor.post("/plugin/one/start").status_code == 200
        terminal.wait_for("one  0.1.0    running")
        plugvisor.restart_service()
        terminal.wait_for("trying again")
        assert plugvisor.post("/plugin/two/start").status_code == 200
        terminal.wait_for("two  0.1.0    running")
        assert "other" not in terminal.text
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.text
        assert terminal.output.rstrip().endswith("\x1b[?25h"), "the cursor is there again"


def test_watching_on_a_pipe(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    with run_command(plugvisor, tmp_path, "status", "-w", "o*") as command:
        wait_for(lambda: len(command.lines) == 2, "the table")
        assert command.lines[0].split() == HEADING
        assert plugvisor.post("/plugin/one/start").status_code == 200
        wait_for(lambda: "running" in command.lines[-1], "a line")
        plugvisor.restart_service()
        wait_for(lambda: command.words.endswith("trying again\nplugvisor: connected again\n"), "what is said of it")
        assert plugvisor.post("/plugin/one/stop").status_code == 200
        wait_for(lambda: "stopped" in command.lines[-1], "the change after it")
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(DEADLINE_SECONDS) == 130
        assert "Traceback" not in command.words


def test_watching_as_json(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id = add(runtime=QUICK)
    with run_command(shared, tmp_path, "ls", "--watch", "--json", plugin_id) as command:
        wait_for(lambda: command.lines, "the plugin")
        assert json.loads(command.lines[0])["status"] == "stopped"
        pid = shared.start_running(plugin_id)
        wait_for(lambda: json.loads(command.lines[-1]).get("pid") == pid, "the change")
        assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
        wait_for(lambda: json.loads(command.lines[-1])["status"] == "stopped", "the change back")
        assert "pid" not in json.loads(command.lines[-1])


def test_refreshing(shared: PlugvisorStack) -> None:
    folder = shared.write_plugin("refreshed", runtime="auto_start = false")
    done = shared.command("refresh")
    assert (done.stdout, done.stderr, done.returncode) == ("refreshed: added, not started\n", "", 0)
    assert shared.command("refresh").stdout == "nothing has changed\n"
    shared.write_plugin("refreshed", runtime="auto_start = true")
    assert shared.command("refresh").stdout == "refreshed: changed; its next start or reload applies it\n"
    (folder / "plugin.toml").write_text("[plugin]\nid = 'refreshed'\n")
    done = shared.command("refresh")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr == (
        "plugvisor: refreshed: its manifest is invalid: plugin.toml line 1: [plugin] needs a `command` or an `entry`\n"
    )
    assert json.loads(shared.command("refresh", "--json").stdout)["invalid"] == ["refreshed"]
    shutil.rmtree(folder)
    assert shared.command("refresh").stdout == "refreshed: removed\n"


def test_a_pipe_that_is_closed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    for arguments in ("ls", "ls --json", "status", f"start {plugin_id}", "ls --help", "completion bash"):
        command = f"{{ python -m plugvisor {arguments}; echo $? >&2; }} | true"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=shared.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr.strip() in ("0", "141"), (arguments, done.stderr)
