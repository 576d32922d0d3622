"""The everyday commands, whichever engine runs the plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def test_a_plugin_from_its_start_to_its_stop(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id, other = add(runtime=QUICK, suffix="-1"), add(runtime=QUICK, suffix="-2")
    pattern = f"{plugin_id[:-1]}*"
    done = shared.command("start", pattern)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(", ")[0] for line in done.stdout.splitlines()] == [f"{plugin_id}: running", f"{other}: running"]

    heading, first, _ = map(str.split, shared.command("ls", pattern).stdout.splitlines())
    assert first[heading.index("STATUS")] == "running"
    assert first[heading.index("UPTIME")].endswith("s")
    is_measured = shared.engine == "supervisord"
    assert (first[heading.index("MEMORY")] != "-") is is_measured
    assert ("NODES" in heading) is not is_measured
    status = shared.command("status", plugin_id).stdout.splitlines()
    assert status[0].startswith(f"{plugin_id}: running, pid ")
    assert any(line.startswith("REPLICA") for line in status) is not is_measured

    pid = shared.status(plugin_id)["pid"]
    done = shared.command("reload", plugin_id, "--json")
    [result] = json.loads(done.stdout)["results"]
    assert (done.returncode, result["status"]) == (0, "running")
    assert shared.status(plugin_id)["pid"] != pid
    done = shared.command("start", plugin_id)
    assert (done.returncode, "it is running already" in done.stderr) == (1, True)
    done = shared.command("disable", plugin_id)
    assert (done.returncode, done.stdout) == (0, f"{plugin_id}: stopped, disabled\n")
    done = shared.command("stop", pattern)
    assert (done.returncode, done.stdout) == (0, f"{other}: stopped\n")
    assert shared.command("enable", plugin_id).returncode == 0


def test_why_one_has_not_started(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    runtime = "auto_start = false\nsupervisor.startsecs = 5"  # to begin takes long on a busy machine
    plugin_id = add("print('about to end', flush=True)\nraise SystemExit(3)", runtime=runtime)
    done = shared.command("start", plugin_id)
    assert (done.returncode, done.stdout) == (1, "")
    reason, heading, *lines = done.stderr.splitlines()
    assert reason.startswith(f"plugvisor: cannot start {plugin_id!r}: ")
    assert heading == "  the last lines of its log:"
    assert "    about to end" in lines
    shared.command("stop", plugin_id)
