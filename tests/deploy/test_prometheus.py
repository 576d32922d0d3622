"""Prometheus with the rules of `deploy/`: the real server, which scrapes a real Plugvisor."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.helpers.prometheus import DEPLOYED, UNHEALTHY, promtool, run_prometheus
from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.stack import QUICK, ROOT
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.prometheus import Prometheus
    from tests.helpers.stack import PlugvisorStack

DIES = "import sys, time\ntime.sleep(0.2)\nsys.exit(1)\n"
HOLDS_MEMORY = "import time\nkept = bytearray(b'x' * (90 << 20))\ntime.sleep(1000)\n"


@pytest.fixture
def prometheus(plugvisor: PlugvisorStack) -> Iterator[Prometheus]:
    """A Prometheus that scrapes this test's own Plugvisor, which is up."""
    find_program("prometheus", DEPLOY)
    plugvisor.up()
    with run_prometheus(plugvisor) as prometheus:
        yield prometheus


def add(stack: PlugvisorStack, plugin_id: str, **arguments: Any) -> None:
    stack.write_plugin(plugin_id, **arguments)
    assert plugin_id in stack.post("/plugins/refresh").json()["added"]


# -- the rules alone


def read_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOYED / "plugvisor.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_files_are_valid(tmp_path: Path) -> None:
    shutil.copytree(DEPLOYED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "plugvisor.token").write_text("a token")
    promtool("check", "config", "prometheus.yml", folder=tmp_path)
    assert f"{len(read_rules())} rules found" in promtool("check", "rules", "plugvisor.rules.yml", folder=tmp_path)


def test_each_alert_says_what_it_means() -> None:
    for rule in read_rules():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]


def test_the_rules_on_given_series(tmp_path: Path) -> None:
    """Which series fire which alert, and when; without the texts, which promtool compares too."""
    rules = yaml.safe_load((DEPLOYED / "plugvisor.rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        del rule["annotations"]
    (tmp_path / "plugvisor.rules.yml").write_text(yaml.safe_dump(rules))
    tests = ROOT / "tests" / "deploy" / "plugvisor.rules.test.yml"
    shutil.copy(tests, tmp_path)
    promtool("test", "rules", tests.name, folder=tmp_path)
    tested = {name for test in re.findall(r"alertname: (\w+)", tests.read_text()) for name in [test]}
    assert tested == {rule["alert"] for rule in read_rules()}


# -- a real Plugvisor


def test_a_failure_a_recovery_and_a_crash_loop(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    add(plugvisor, "failing", code=DIES, runtime="auto_start = false\nsupervisor.startretries = 0")
    add(plugvisor, "looping", code=DIES, runtime=f"{QUICK}\nsupervisor.autorestart = true\nrestart.delay = 0.0")
    add(plugvisor, "steady", runtime=QUICK)
    for plugin_id in ("failing", "looping", "steady"):
        plugvisor.post(f"/plugin/{plugin_id}/start")
    prometheus.wait_for_alert("PluginDown", "failing")
    prometheus.wait_for_alert("PluginCrashLooping", "looping")
    plugvisor.write_plugin("failing", runtime=QUICK)
    assert plugvisor.post("/plugin/failing/reload").status_code == 200
    plugvisor.post("/plugin/looping/stop")
    prometheus.wait_for_recovery("PluginDown", "failing")
    prometheus.wait_for_recovery("PluginCrashLooping", "looping")
    assert not [alert for alert in prometheus.list_firing() if alert[1] == "steady"]


def test_plugins_that_have_exited_and_that_were_stopped_and_disabled(
    plugvisor: PlugvisorStack, prometheus: Prometheus
) -> None:
    add(plugvisor, "exited", code="print('ready')\n", runtime=QUICK)
    add(plugvisor, "stopped", runtime=QUICK)
    add(plugvisor, "disabled", code=DIES, runtime="auto_start = false\nsupervisor.startretries = 0")
    plugvisor.post("/plugin/exited/start")
    plugvisor.post("/plugin/stopped/start")
    plugvisor.post("/plugin/disabled/start")
    prometheus.wait_for_alert("PluginDown", "disabled")
    plugvisor.post("/plugin/disabled/disable")
    prometheus.wait_for_recovery("PluginDown", "disabled")
    plugvisor.post("/plugin/stopped/stop")
    prometheus.wait_for_alert("PluginNotRunning", "exited")
    assert ("PluginNotRunning", "stopped") not in prometheus.list_firing()
    plugvisor.post("/plugin/exited/stop")
    prometheus.wait_for_recovery("PluginNotRunning", "exited")


def test_a_plugin_that_is_unhealthy_and_one_near_its_limit(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    add(plugvisor, "unhealthy", runtime=UNHEALTHY)
    add(plugvisor, "large", code=HOLDS_MEMORY, runtime=f'{QUICK}\n[plugin_runtime.limits]\nmemory = "105M"')
    for plugin_id in ("unhealthy", "large"):
        plugvisor.post(f"/plugin/{plugin_id}/start")
    prometheus.wait_for_alert("PluginUnhealthy", "unhealthy")
    prometheus.wait_for_alert("PluginNearMemoryLimit", "large")
    for plugin_id in ("unhealthy", "large"):
        plugvisor.post(f"/plugin/{plugin_id}/stop")
    prometheus.wait_for_recovery("PluginUnhealthy", "unhealthy")
    prometheus.wait_for_recovery("PluginNearMemoryLimit", "large")


def test_supervisord_and_the_service_are_gone(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.query('up{job="plugvisor"} == 1'), "a scrape")
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    prometheus.wait_for_alert("SupervisordUnreachable")
    os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    prometheus.wait_for_recovery("SupervisordUnreachable")
    plugvisor.down()
    prometheus.wait_for_alert("Down")
    plugvisor.up()
    prometheus.wait_for_recovery("Down")


def test_the_store_cannot_be_written(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    add(plugvisor, "steady", runtime=QUICK)
    database = Path(plugvisor.environ["PLUGVISOR_STATE_DIR"]) / "plugvisor.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        plugvisor.post("/plugin/steady/start")
        prometheus.wait_for_alert("StoreUnavailable")
        other.execute("ROLLBACK")
    prometheus.wait_for_recovery("StoreUnavailable")


def test_requests_that_fail_and_a_token_that_was_removed(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    def fires(name: str) -> bool:
        assert plugvisor.get("/journal", code="wrong-code-that-is-long").status_code == 401
        assert plugvisor.get("/available").status_code == 503
        return (name, "") in prometheus.list_firing()

    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    try:
        wait_for(lambda: plugvisor.get("/available").status_code == 503, "supervisord to be unreachable")
        wait_for(lambda: fires("Errors"), "Errors", 2 * DEADLINE_SECONDS)
        wait_for(lambda: fires("WrongTokens"), "WrongTokens", 2 * DEADLINE_SECONDS)
    finally:
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    prometheus.wait_for_recovery("Errors")
    prometheus.wait_for_recovery("WrongTokens")
