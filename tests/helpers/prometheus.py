"""A real Prometheus that scrapes a Plugvisor under test, with the configuration and the rules of `deploy/`."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.helpers.ports import find_free_port
from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.stack import QUICK, ROOT
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

DEPLOYED = ROOT / "deploy" / "prometheus"
UNHEALTHY = f"""{QUICK}
[plugin_runtime.checks.never]
tcp = "127.0.0.1:1"
period = 0.5
threshold = 1
"""


class Prometheus:
    """A server that scrapes and evaluates every second.

    Every `for` of the rules is 2 seconds, and every range 6.
    """

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
        rules = re.sub(r"\bfor: \w+", "for: 2s", re.sub(r"\[\w+\]", "[6s]", rules))
        (self.folder / "plugvisor.rules.yml").write_text(rules)
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

    def find_series(self, selector: str) -> list[dict[str, str]]:
        """The labels of the series that a selector finds."""
        answer = self.http.get("/api/v1/series", params={"match[]": selector}).json()
        assert answer["status"] == "success", answer
        series: list[dict[str, str]] = answer["data"]
        return series

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
    """A Prometheus that scrapes a Plugvisor which is up."""
    prometheus = Prometheus(stack)
    try:
        yield prometheus
    finally:
        prometheus.close()


def promtool(*arguments: str, folder: Path) -> str:
    """What promtool prints; it must succeed."""
    command = [find_program("promtool", DEPLOY), *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
