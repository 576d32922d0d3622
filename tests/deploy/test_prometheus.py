"""Prometheus with the rules and the dashboard of `deploy/`: the real server, which scrapes a real Plugvisor."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.helpers.ports import find_free_port
from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.stack import QUICK, ROOT, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

DEPLOYED = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "plugvisor.json"
CONSTANT = {"$__rate_interval": "10s", "$instance": ".*", "$plugin": ".*"}
DIES = "import sys, time\ntime.sleep(0.2)\nsys.exit(1)\n"
HOLDS_MEMORY = "import time\nkept = bytearray(b'x' * (90 << 20))\ntime.sleep(1000)\n"
UNHEALTHY = f"""{QUICK}
[plugin_runtime.checks.never]
tcp = "127.0.0.1:1"
period = 0.5
threshold = 1
"""


class Prometheus:
    """A server that scrapes and evaluates every second, with every `for` of the rules being 2 seconds."""

    def __init__(self, stack: PlugvisorStack) -> None:
        self.folder = stack.root / "prometheus"
        self.folder.mkdir()
        self.port = find_free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE_SECONDS, trust_env=False)
        configuration = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        [scrape] = configuration["scrape_configs"]
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{stack.port}"]}]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        rules = (DEPLOYED / "plugvisor.rules.yml").read_text()
        (self.folder / "plugvisor.rules.yml").write_text(re.sub(r"\bfor: \w+", "for: 2s", rules))
        token = self.folder / scrape["authorization"]["credentials_file"]
        # a disk that many tests use may be too slow for an answer; then nothing has changed
        identity = {"name": "prometheus", "role": "viewer"}
        added = wait_for(lambda: (answer := stack.post("/identities", json=identity)).is_success and answer, "a token")
        token.write_text(added.json()["token"] + "\n")
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    find_program("prometheus", DEPLOY),
                    f"--config.file={self.folder}/prometheus.yml",
                    f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._is_ready, f"Prometheus; see {self.folder}/output")

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, (self.folder / "output").read_text()
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/-/ready").status_code == 200
        return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression finds now."""
        answer = self.http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def list_firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, with the plugin that each is about."""
        alerts = self.http.get("/api/v1/alerts").json()["data"]["alerts"]
        firing = [alert["labels"] for alert in alerts if alert["state"] == "firing"]
        return {(labels["alertname"].removeprefix("Plugvisor"), labels.get("plugin_id", "")) for labels in firing}

    def wait_for_alert(self, name: str, plugin_id: str = "") -> None:
        """Wait until an alert fires."""
        wait_for(lambda: (name, plugin_id) in self.list_firing(), f"{name} of {plugin_id}", 2 * DEADLINE_SECONDS)

    def wait_for_recovery(self, name: str, plugin_id: str = "") -> None:
        """Wait until an alert fires no more."""
        wait_for(lambda: (name, plugin_id) not in self.list_firing(), f"the end of {name}", 2 * DEADLINE_SECONDS)

    def close(self) -> None:
        """End it."""
        self.http.close()
        self._process.terminate()
        self._process.wait(DEADLINE_SECONDS)


@contextlib.contextmanager
def run_prometheus(stack: PlugvisorStack) -> Iterator[Prometheus]:
    prometheus = Prometheus(stack)
    try:
        yield prometheus
    finally:
        prometheus.close()


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


def promtool(*arguments: str, folder: Path) -> str:
    """What promtool prints; it must succeed."""
    command = [find_program("promtool", DEPLOY), *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


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


def test_a_plugin_that_is_unhealthy_and_one_near_its_limit(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    add(plugvisor, "unhealthy", runtime=UNHEALTHY)
    add(plugvisor, "large", code=HOLDS_MEMORY, runtime=f'{QUICK}\n[plugin_runtime.limits]\nmemory = "105M"')
    for plugin_id in ("unhealthy", "large"):
        plugvisor.post(f"/plugin/{plugin_id}/start")
    prometheus.wait_for_alert("PluginUnhealthy", "unhealthy")
    prometheus.wait_for_alert("PluginNearMemoryLimit", "large")


def test_supervisord_and_the_service_are_gone(plugvisor: PlugvisorStack, prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.query('up{job="plugvisor"} == 1'), "a scrape")
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    prometheus.wait_for_alert("SupervisordUnreachable")
    os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    prometheus.wait_for_recovery("SupervisordUnreachable")
    plugvisor.down()
    prometheus.wait_for_alert("Down")


# -- the dashboard


def list_queries() -> list[tuple[str, str]]:
    """The title of each panel, with each of its queries."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


def test_every_query_of_the_dashboard_finds_something() -> None:
    find_program("prometheus", DEPLOY)
    with run_stack() as stack:
        stack.write_plugin("unhealthy", runtime=f'{UNHEALTHY}[plugin_runtime.limits]\nmemory = "200M"')
        stack.write_plugin("reloaded", runtime=QUICK)
        stack.up()
        with run_prometheus(stack) as prometheus:
            assert stack.post("/plugin/unhealthy/start").status_code == 200
            for _, query in list_queries():
                for variable, value in CONSTANT.items():
                    query = query.replace(variable, value)  # noqa: PLW2901 - one after the other
                assert "$" not in query
                # what some of them count
                wait_for(
                    lambda query=query: (
                        stack.get("/plugins/journal", code="wrong-code-that-is-long"),
                        stack.post("/plugin/reloaded/reload"),
                        stack.get("/plugins"),
                        prometheus.query(query),
                    )[-1],
                    query,
                )


def test_the_dashboard_is_for_grafana_10() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["schemaVersion"] >= 38
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "instance", "plugin"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
