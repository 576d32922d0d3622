"""`plugvisor top` against a running service."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.helpers.stack import QUICK, PlugvisorStack
from tests.helpers.terminal import Terminal, open_terminal
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

HEADING = ["ID", "STATUS", "CPU", "MEMORY", "THREADS", "UPTIME", "RESTARTS"]
BUSY = """\
print("ready", flush=True)
while True:
    pass
"""
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
"""The alternate screen, which is drawn on."""


def test_a_table_of_what_plugins_use(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    busy, idle, stopped = add(BUSY, runtime=QUICK, suffix="-z"), add(runtime=QUICK, suffix="-y"), add(suffix="-x")
    for plugin_id in (idle, busy):
        shared.start_running(plugin_id)
    pattern = f"{busy.removesuffix('z')}*"

    def read_rows() -> list[list[str]]:
        """Read them until the busy one was given a processor while it was measured, and more than others' starts."""
        done = shared.command("top", pattern)
        assert (done.returncode, done.stderr) == (0, "")
        heading, *rows = map(str.split, done.stdout.splitlines())
        assert heading == HEADING
        return rows if rows[0][0] == busy and rows[0][2] != "0.0%" else []

    rows = wait_for(read_rows, "the order by CPU")
    assert [row[0] for row in rows] == [busy, idle, stopped]
    assert float(rows[1][3].removesuffix("MB")) > 1
    assert rows[2][1:] == ["stopped", "-", "-", "-", "-", "0"]
    by_id = shared.command("top", pattern, "--sort", "id").stdout.splitlines()
    assert [line.split()[0] for line in by_id[1:]] == [stopped, idle, busy]
    answer = json.loads(shared.command("top", "--json", "--sort", "id", pattern).stdout)
    assert [usage["plugin_id"] for usage in answer["metrics"]] == [idle, busy]
    assert answer["count"] == 2
    assert shared.post(f"/plugin/{busy}/stop").status_code == 200


def test_an_unknown_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    done = shared.command("top", plugin_id[:-1])
    assert (done.returncode, done.stdout) == (1, "")
    assert f"did you mean {plugin_id!r}?" in done.stderr


def wait_for_rows(terminal: Terminal, *expected: str) -> None:
    """Wait until the screen has these plugins, in this order."""

    def find() -> list[str]:
        lines = [line.split() for line in terminal.screen]
        if HEADING not in lines:
            return []
        return [line[0] for line in lines[lines.index(HEADING) + 1 :] if len(line) == len(HEADING)]

    wait_for(lambda: find() == [*expected], f"{expected} on the screen: {terminal.screen}")


@pytest.mark.parametrize("end", ["q", "\x03", "SIGTERM"])
def test_the_live_screen(shared: PlugvisorStack, add: Callable[..., str], end: str) -> None:
    name = f"live{ord(end[0])}"
    first, second = f"{name}-a", f"{name}-b"
    for plugin_id in (first, second):
        shared.write_plugin(
            plugin_id,
            BUSY if plugin_id == second else "import time; print('ready', flush=True); time.sleep(9e9)",
            runtime=QUICK,
        )
    shared.post("/plugins/refresh")
    shared.start_running(second)
    with open_terminal(shared, "top", f"{name}*", lines=10) as terminal:
        wait_for_rows(terminal, second, first)
        terminal.type("i")
        wait_for_rows(terminal, first, second)
        shared.start_running(first)
        wait_for(lambda: "2 of 2 plugins run" in terminal.screen[0], "another reading")
        terminal.resize(5, 100)
        wait_for_rows(terminal, first)
        wait_for(lambda: any("… 1 more" in line for line in terminal.screen), "how many are left out")
        assert terminal.read_modes() != terminal.modes
        if end == "SIGTERM":
            os.kill(terminal.process.pid, signal.SIGTERM)
        else:
            terminal.type(end)
        assert terminal.wait() == {"q": 0, "\x03": 128 + signal.SIGINT, "SIGTERM": 128 + signal.SIGTERM}[end]
        assert terminal.read_modes() == terminal.modes
        assert terminal.output.startswith(ENTERED)
        assert terminal.output.endswith(LEFT)
        assert "Traceback" not in terminal.text
    shared.post(f"/plugin/{second}/stop")


def test_the_live_screen_while_supervisord_is_frozen(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    plugvisor.start_running("one")
    with open_terminal(plugvisor, "top") as terminal:
        wait_for_rows(terminal, "one")
        os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
        wait_for(lambda: "trying again" in terminal.screen[0], "the reason")
        wait_for_rows(terminal, "one")
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
        wait_for(lambda: "1 of 1 plugins run" in terminal.screen[0], "a newer reading")
        terminal.type("q")
        assert terminal.wait() == 0


def test_once_on_a_terminal(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    add()
    with open_terminal(shared, "top", "--once") as terminal:
        assert terminal.wait() == 0
        assert ENTERED not in terminal.output
        assert terminal.screen[0].split() == HEADING


def test_leaving_while_the_service_does_not_answer(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    service_pid = plugvisor.service_pid
    with open_terminal(plugvisor, "top") as terminal:
        wait_for_rows(terminal, "one")
        os.kill(service_pid, signal.SIGSTOP)
        try:
            command = psutil.Process(terminal.process.pid)
            wait_for(command.net_connections, "it to ask again")
            terminal.type("q")
            assert terminal.wait() == 0
        finally:
            os.kill(service_pid, signal.SIGCONT)
