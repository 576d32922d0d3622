"""The commands that follow what happens, whichever engine runs the plugins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.running_command import run_command
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack


def test_a_log_is_followed_across_a_restart_of_the_service(
    shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path
) -> None:
    plugin_id = add(OBEDIENT, runtime=QUICK)
    shared.start_running(plugin_id)
    with run_command(shared, tmp_path, "logs", "-f", plugin_id) as follower:
        wait_for(lambda: follower.lines == ["ready"], "what is there already")
        shared.restart_service()
        assert shared.post(f"/plugin/{plugin_id}/reload?wait=50").status_code == 200
        wait_for(lambda: follower.lines == ["ready", "ready"], "the line of the next process")
        assert "missing" not in follower.words
    shared.change(plugin_id, "stop")
    assert shared.command("logs", plugin_id).stdout.splitlines() == ["ready", "ready"]


def test_events(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id = add(runtime=QUICK)
    with run_command(shared, tmp_path, "events", plugin_id) as watcher:

        def show_start() -> bool:
            for verb in ("start", "stop"):
                assert shared.post(f"/plugin/{plugin_id}/{verb}?wait=50").status_code == 200
            return any(re.search(r"→ running", line) for line in watcher.lines)

        wait_for(show_start, "a line of a start")


def test_what_plugins_use(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    done = shared.command("top", plugin_id)
    if shared.engine == "swarm":
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"plugvisor: .*\n", done.stderr)
        assert "where nothing measures it" in done.stderr
    else:
        assert done.stdout.splitlines()[1].startswith(f"{plugin_id}  running")
