"""What clients see of a cluster: its nodes, the tasks of plugins, and what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator
from plugvisor.api.openapi import make_document
from plugvisor.api.routes import ROUTES
from plugvisor.models.process import ProcessState

from tests.helpers.fake_cluster import NO_METRICS, FakeCluster, make_node, make_task, run_cluster_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from tests.helpers.fake_cluster import ClusterService
    from tests.helpers.stack import PlugvisorStack

SCHEMAS = make_document(ROUTES)["components"]
LOST = "it does not answer"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(
        make_node("node1", role="manager"), make_node("node2", "web"), make_node("node3", state="down", detail=LOST)
    )


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterService]:
    folder = tmp_path / "plugins" / "web"
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text(
        '[plugin]\nid = "web"\ncommand = "true"\n[plugin_runtime]\nreplicas = 3\nauto_start = false\n'
        "[plugin_runtime.placement]\nmax_per_node = 1\n"
    )
    with run_cluster_service(cluster, tmp_path, monkeypatch) as service:
        yield service


def validate(name: str, body: Any) -> None:
    """Hold a body against the schema of this name."""
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": SCHEMAS}).validate(body)


def test_the_nodes_of_a_cluster(api: ClusterService, cluster: FakeCluster) -> None:
    body = api.get("/nodes").json()
    validate("NodeList", body)
    assert [(node["name"], node["state"], node.get("detail")) for node in body["nodes"]] == [
        ("node1", "ready", None),
        ("node2", "ready", None),
        ("node3", "down", LOST),
    ]
    assert body["nodes"][1]["plugins"] == ["web"]
    cluster.is_live = False
    response = api.get("/nodes")
    assert (response.status_code, response.json()["detail"]) == (503, "no manager of the swarm answers")
    assert "Retry-After" in response.headers


def test_one_machine_is_one_node(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    shared.start_running(plugin_id)
    [node] = shared.get("/nodes").json()["nodes"]
    assert plugin_id in node["plugins"]
    assert node["tasks"] == len(node["plugins"])
    assert (node["state"], node["role"], node["availability"]) == ("ready", "manager", "active")
    listed = {plugin["id"]: plugin for plugin in shared.get("/plugins").json()["plugins"]}[plugin_id]
    assert not {"node", "tasks"} & {*listed, *shared.status(plugin_id)}


def test_a_plugin_says_where_its_tasks_are(api: ClusterService, cluster: FakeCluster) -> None:
    tasks = (
        make_task(1, "node2"),
        make_task(2, "node3", is_lost=True),
        make_task(3, "node1", "failed", error="it ended with exit code 3"),
    )
    api.do(lambda: cluster.set("web", ProcessState.RUNNING, node="node2", tasks=tasks, explanation="1 of 3 run"))
    status = api.get("/plugin/status", plugin_id="web").json()
    validate("PluginStatus", status)
    [item] = api.get("/plugins").json()["plugins"]
    validate("PluginList", api.get("/plugins").json())
    everything = api.get("/plugin/status").json()["plugins"]["web"]
    assert status["node"] == item["node"] == everything["node"] == "node2"
    assert status["tasks"] == item["tasks"] == everything["tasks"]
    assert [(task["slot"], task["node"], task["state"], task["lost"]) for task in status["tasks"]] == [
        (1, "node2", "running", False),
        (2, "node3", "running", True),
        (3, "node1", "failed", False),
    ]
    assert status["tasks"][0]["pid"] == 4001
    assert status["tasks"][2].keys() >= {"exit_code", "error"}
    assert status["detail"] == "1 of 3 run"
    before = api.get("/plugins").headers["ETag"]
    api.do(lambda: cluster.set("web", ProcessState.RUNNING, tasks=tasks[:1]))
    assert api.get("/plugins").headers["ETag"] != before


def test_what_a_cluster_lacks_is_said_and_not_supported(api: ClusterService) -> None:
    info = api.get("/server/info").json()
    validate("ServerInfo", info)
    assert info["engine"] == {"name": "swarm", "version": "1", "state": "RUNNING", "lacks": {"metrics": NO_METRICS}}
    for path in ("/plugin/metrics", "/plugin/metrics/web", "/plugin/metrics/web/history"):
        response = api.get(path)
        assert (response.status_code, response.json()["code"]) == (501, "not_supported")
        assert response.json()["detail"] == f"cannot measure what plugins use: {NO_METRICS}"
    assert api.get("/plugin/metrics/gone").json()["code"] == "plugin_not_found"
    exported = api.get("/metrics").text
    assert 'plugvisor_plugin_status{plugin_id="web",status="stopped"} 1.0' in exported
    assert "plugvisor_plugin_memory_bytes{" not in exported


def test_one_machine_ignores_replicas_and_says_so(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime='auto_start = false\nreplicas = 3\nplacement.constraints = ["node.role == worker"]')
    warnings = shared.get(f"/plugin/{plugin_id}/manifest").json()["warnings"]
    assert warnings == [
        "`replicas` = 3 has no effect: one machine runs one process",
        "[plugin_runtime.placement] has no effect: there is one machine",
    ]
    checked = shared.command("check").stdout
    assert all(f"{plugin_id}: warning: {warning}\n" in checked for warning in warnings)
    on_swarm = shared.command("check", PLUGVISOR_ENGINE="swarm").stdout
    assert "has no effect" not in on_swarm
