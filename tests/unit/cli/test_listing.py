"""`plugvisor ls`, `status` and `nodes`, of a cluster that a real service serves."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.cli.main import main
from plugvisor.cli.plugins.nodes import describe_places
from plugvisor.cli.plugins.table import format_plugins
from plugvisor.models.process import ProcessState

from tests.helpers.fake_cluster import FakeCluster, make_node, make_task, run_cluster_service
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.helpers.fake_cluster import ClusterService
    from tests.helpers.scripted_server import Request, ScriptedServer

    Run = Callable[..., str]

LOST = "it does not answer: \x1b[31mwhat ran there may still run"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterService]:
    for name in ("web", "idle"):
        folder = tmp_path / "plugins" / name
        folder.mkdir(parents=True)
        (folder / "plugin.toml").write_text(
            f'[plugin]\nid = "{name}"\ncommand = "true"\n[plugin_runtime]\nauto_start = false\n'
        )
    nodes = make_node("node1", role="manager"), make_node("node2", "web"), make_node("node3", state="down", detail=LOST)
    with run_cluster_service(FakeCluster(*nodes), tmp_path, monkeypatch) as service:
        yield service


@pytest.fixture
def run(service: ClusterService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command against the service; returns what it prints."""
    monkeypatch.setenv("PLUGVISOR_PORT", service.url.rpartition(":")[2])
    monkeypatch.setenv("PLUGVISOR_TOKEN", ADMIN_CODE)

    def run(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(arguments) == status
        printed = capsys.readouterr()
        return printed.err if status else printed.out

    return run


def test_usage_is_asked_for_beside_the_list(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Its first sample after a pause takes a while."""
    is_asked = threading.Event()
    usage = {"plugin_id": "web", "cpu_percent": 7.5, "memory_mb": 12.0}
    web = {"id": "web", "status": "running", "version": "1.0.0", "enabled": True}

    def respond(request: Request) -> tuple[int, bytes]:
        if request.path == "/plugin/metrics":
            is_asked.set()
            return 200, json.dumps({"metrics": [usage]}).encode()
        assert is_asked.wait(DEADLINE_SECONDS)
        return 200, json.dumps({"plugins": [web] if request.path == "/plugins" else {}, "message": ""}).encode()

    server.respond = respond
    for command in ("ls", "status"):
        is_asked.clear()
        assert main([command]) == 0
        assert "7.5" in capsys.readouterr().out


def read_rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_plugins_and_where_they_run(service: ClusterService, run: Run) -> None:
    known = ["ID", "VERSION", "STATUS", "HEALTH", "UPTIME", "RESTARTS", "CPU", "MEMORY"]
    assert read_rows(run("ls"))[0] == [*known, "DETAIL"], "nothing has been started yet"
    tasks = (make_task(1, "node2"), make_task(2, "node3", is_lost=True), make_task(3, "", "preparing"))
    service.do(
        lambda: service.cluster.set(
            "web", ProcessState.RUNNING, node="node2", tasks=tasks, explanation="1 of 3 run\x1b[2J"
        )
    )
    heading, idle, web = run("ls").splitlines()
    assert heading.split() == [*known, "NODES", "DETAIL"]
    assert idle.split() == ["idle", "0.1.0", "stopped", "-", "-", "0", "-", "-", "-"], "a swarm does not measure them"
    assert "node2, node3 (1 of 3 lost, 1 of 3 starting)" in web
    assert web.endswith("1 of 3 run\\x1b[2J")
    listed = json.loads(run("ls", "--json"))["plugins"]
    assert [len(plugin.get("tasks", ())) for plugin in listed] == [0, 3]


def test_the_tasks_of_a_plugin(service: ClusterService, run: Run) -> None:
    tasks = (make_task(1, "node3", is_lost=True), make_task(2, "node1", "failed", error="no \x1bmemory"))
    service.do(lambda: service.cluster.set("web", ProcessState.RUNNING, node="node3", tasks=tasks, pid=4001))
    first, heading, lost, failed = run("status", "web").splitlines()
    assert first.startswith("web: running, pid 4001 on node3, up ")
    assert heading.split() == ["REPLICA", "NODE", "STATE", "PID", "SINCE"]
    assert lost.split()[:4] == ["1", "node3", "running", "4001"]
    assert lost.endswith("its node is lost: it may still run there")
    assert failed.split()[:4] == ["2", "node1", "failed", "-"]
    assert failed.endswith("exit code 3; no \\x1bmemory")
    assert json.loads(run("status", "web", "--json"))["tasks"][1]["exit_code"] == 3
    assert run("status", "idle") == "idle: stopped\n"
    assert "there is no plugin 'a/b c'" in run("status", "a/b c", status=1)
    assert "no plugin fits 'a/b?c'" in run("status", "a/b?c", status=1)


def test_nodes(service: ClusterService, run: Run) -> None:
    heading, *rows, detail = run("nodes").splitlines()
    assert heading.split() == ["NODE", "STATE", "ROLE", "AVAILABILITY", "CPUS", "MEMORY", "TASKS", "PLUGINS"]
    assert [row.split()[:2] for row in rows] == [["node1", "ready"], ["node2", "ready"], ["node3", "lost"]]
    assert "manager, leader" in rows[0]
    assert rows[1].split()[-2:] == ["1", "web"]
    assert detail == "node3: it does not answer: \\x1b[31mwhat ran there may still run"
    assert [node["state"] for node in json.loads(run("nodes", "--json"))["nodes"]] == ["ready", "ready", "down"]
    service.do(lambda: setattr(service.cluster, "is_live", False))
    assert run("nodes", status=1) == "plugvisor: no manager of the swarm answers\n"


PLUGINS = (
    {"id": "web", "version": "1.0.0", "status": "running", "health": "healthy", "uptime": 60, "detail": "words"},
    {"id": "网", "version": "2.0.0", "status": "error"},
)


@pytest.mark.parametrize(
    ("columns", "heading"),
    [
        (0, "ID VERSION STATUS HEALTH UPTIME RESTARTS CPU MEMORY DETAIL"),
        (68, "ID VERSION STATUS HEALTH UPTIME RESTARTS CPU MEMORY DETAIL"),
        (67, "ID VERSION STATUS HEALTH UPTIME RESTARTS CPU MEMORY"),
        (58, "ID STATUS HEALTH UPTIME RESTARTS CPU MEMORY"),
        (36, "ID STATUS UPTIME CPU MEMORY"),
        (5, "ID STATUS"),
    ],
)
def test_what_a_narrow_terminal_shows(columns: int, heading: str) -> None:
    first, web, broken, *below = format_plugins(PLUGINS, {}, is_colored=False, most_columns=columns).splitlines()
    assert first.split() == heading.split()
    assert web.startswith("web ")
    assert broken.startswith("网 ")
    assert below == ([] if "DETAIL" in heading else ["web: words"])


def test_colours_follow_their_columns() -> None:
    _, web, broken, *_ = format_plugins(PLUGINS, {}, is_colored=True, most_columns=48).splitlines()
    assert web.split()[1:3] == ["\x1b[32mrunning\x1b[0m", "\x1b[32mhealthy\x1b[0m"]
    assert broken.split()[1] == "\x1b[31merror\x1b[0m"


def make_info(slot: int, node: str, state: str, *, lost: bool = False) -> dict[str, Any]:
    return {"slot": slot, "node": node, "state": state, "lost": lost} | ({"pid": 7} if state == "running" else {})


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([], ""),
        ([("node2", "running")], "node2"),
        ([("node2", "running"), ("node2", "running")], "node2"),
        ([("node2", "running"), ("node3", "starting"), ("node1", "running")], "node1, node2 (1 of 3 starting)"),
        ([("", "pending")], ""),
        ([("node1", "running"), ("", "pending")], "node1 (1 of 2 waiting for a node)"),
        ([("node1", "rejected"), ("node2", "failed"), ("node3", "running")], "node3 (2 of 3 failed)"),
        ([("node1", "complete")], ""),
    ],
)
def test_places_in_words(tasks: list[tuple[str, str]], words: str) -> None:
    infos = [make_info(slot, node, state) for slot, (node, state) in enumerate(tasks, 1)]
    assert describe_places(infos) == words


def test_of_a_replica_the_task_counts_that_has_not_ended() -> None:
    ended, running = make_info(1, "node1", "failed"), make_info(1, "node2", "running")
    assert describe_places([ended, running]) == describe_places([running, ended]) == "node2"
