"""The dashboard for Grafana: its queries by a real Prometheus, which scrapes a real Plugvisor."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.helpers.prometheus import UNHEALTHY, Prometheus, promtool, run_prometheus
from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.stack import QUICK, ROOT, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "plugvisor.json").read_text())
ALL = {"$__rate_interval": "10s", "$instance": ".*", "$plugin": ".*"}
UNITS = {"_bytes": "bytes", "_seconds_bucket": "s", "_requests_total": "reqps"}
"""The unit of a panel, by how the names of its metrics end."""
WITH_CHECKS = {"Failed checks per second", "Unhealthy"}


def list_queries(kind: str = "") -> list[tuple[str, str]]:
    """The title of each panel, or of those of one kind, with each of its queries."""
    panels = [panel for panel in DASHBOARD["panels"] if kind in ("", panel["type"])]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


def fill_in(query: str, variables: Mapping[str, str] = ALL) -> str:
    """A query as Grafana sends it."""
    for variable, value in variables.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query


def find_values(prometheus: Prometheus, variable: str) -> set[str]:
    """What Grafana offers for a variable."""
    [found] = [one for one in DASHBOARD["templating"]["list"] if one["name"] == variable]
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", found["query"]["query"])
    assert match
    assert found["definition"] == match[0]
    return {series[match[2]] for series in prometheus.find_series(fill_in(match[1]))}


def wait_for_series(prometheus: Prometheus, query: str, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wait_for(lambda: prometheus.query(query), what)
    return found


def test_every_query_finds_something() -> None:
    find_program("prometheus", DEPLOY)
    with run_stack() as stack:
        stack.write_plugin("unhealthy", runtime=f'{UNHEALTHY}[plugin_runtime.limits]\nmemory = "200M"')
        stack.write_plugin("other", runtime=QUICK)
        stack.up()
        with run_prometheus(stack) as prometheus:
            assert stack.post("/plugin/unhealthy/start").status_code == 200
            wait_for(lambda: find_values(prometheus, "plugin") == {"unhealthy", "other"}, "the plugins")
            assert find_values(prometheus, "instance") == {f"127.0.0.1:{stack.port}"}
            # as Grafana writes values that are chosen
            chosen = ALL | {"$instance": rf"127\\.0\\.0\\.1:{stack.port}", "$plugin": "unhealthy"}
            for title, query in list_queries():
                for variables in (ALL, chosen):
                    found = wait_for_series(prometheus, fill_in(query, variables), title)
                    plugins = {series["metric"].get("plugin_id", "unhealthy") for series in found}
                    assert variables is ALL or plugins == {"unhealthy"}, title


def test_no_panel_is_empty_while_nothing_is_wrong(plugvisor: PlugvisorStack) -> None:
    """Nothing has failed yet, and no plugin has a check."""
    find_program("prometheus", DEPLOY)
    plugvisor.write_plugin("steady", runtime=QUICK)
    plugvisor.up()
    plugvisor.start_running("steady")
    with run_prometheus(plugvisor) as prometheus:
        for title, query in list_queries():
            if title not in WITH_CHECKS and "limit" not in query:
                wait_for_series(prometheus, fill_in(query), title)


def test_no_plugin_at_all(plugvisor: PlugvisorStack) -> None:
    find_program("prometheus", DEPLOY)
    plugvisor.up()
    with run_prometheus(plugvisor) as prometheus:
        for panel in DASHBOARD["panels"]:
            if panel["type"] == "stat":
                [query] = [fill_in(target["expr"]) for target in panel["targets"]]
                wait_for(lambda query=query: prometheus.query(query), panel["title"])


def test_the_status_of_a_plugin_that_two_instances_have(tmp_path: Path) -> None:
    """It is one of the two, never their sum: `running` and `running` made `starting`, two steps further."""
    [query] = [query for title, query in list_queries() if title == "Status"]
    metric = "plugvisor_plugin_status{job='plugvisor', plugin_id='web'"
    statuses = ("running", "starting", "stopping", "error", "stopped")
    for first, second, shown in [
        ("running", "running", 1), ("running", "stopping", 3), ("stopped", "running", 1), ("error", "running", 4),
    ]:  # fmt: skip
        series = [
            {"series": f"{metric}, instance='{instance}', status='{one}'}}", "values": f"{int(one == status)}x4"}
            for instance, status in (("a", first), ("b", second))
            for one in statuses
        ]
        expected = {
            "expr": fill_in(query),
            "eval_time": "1m",
            "exp_samples": [{"labels": '{plugin_id="web"}', "value": shown}],
        }
        tests = {
            "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [expected]}],
        }
        (tmp_path / "test.yml").write_text(yaml.safe_dump(tests))
        promtool("test", "rules", "test.yml", folder=tmp_path)


def test_units() -> None:
    for panel in DASHBOARD["panels"]:
        queries = " ".join(target["expr"] for target in panel.get("targets", ()))
        for ending, unit in UNITS.items():
            if re.search(rf"{ending}\b", queries):
                assert panel["fieldConfig"]["defaults"]["unit"] == unit, panel["title"]


def test_the_dashboard_is_for_grafana_10() -> None:
    assert DASHBOARD["schemaVersion"] >= 38
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "instance", "plugin"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
