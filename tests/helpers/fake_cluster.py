"""A cluster in memory, and its API: what a real swarm cannot be made to say at a given moment."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import uvicorn
from plugvisor.admin_code import AdminCode
from plugvisor.api.app import create_app
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.cluster.node import Node
from plugvisor.models.cluster.task import Task
from plugvisor.settings import Settings

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.ports import find_free_port
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pytest
    from plugvisor.models.manifest import Manifest

AT = 1_800_000_000.0
NO_METRICS = "they run on other nodes, which a manager cannot measure"


def make_node(name: str, *plugins: str, state: str = "ready", role: str = "worker", detail: str = "") -> Node:
    """A node, with one task of each of these plugins."""
    more = {"detail": detail} if detail else {}
    return Node(
        id=f"id-of-{name}",
        name=name,
        state=state,  # type: ignore[arg-type]
        availability="active",
        role=role,  # type: ignore[arg-type]
        leader=role == "manager",
        cpus=2,
        memory=2**30,
        tasks=len(plugins),
        plugins=plugins,
        **more,
    )


def make_task(slot: int, node: str, state: str = "running", *, is_lost: bool = False, error: str = "") -> Task:
    """A task of a replica."""
    return Task(
        id=f"task-{slot}-{state}",
        node_id=f"id-of-{node}",
        node=node,
        state=state,
        desired="running",
        at=AT,
        slot=slot,
        pid=4000 + slot if state == "running" else 0,
        exit_code=3 if state == "failed" else None,
        error=error,
        is_lost=is_lost,
    )


class FakeCluster(FakeEngine):
    """Has the processes and nodes that the test says."""

    name = "swarm"
    is_cluster = True
    lacks = {"metrics": NO_METRICS}  # noqa: RUF012 - it is read only

    def __init__(self, *nodes: Node) -> None:
        super().__init__(announces=True)
        self.nodes = list(nodes)
        self.on_call: list[Callable[[str, float, bool], object]] = []
        self._on_nodes: list[Callable[[], object]] = []

    @property
    def on_nodes(self) -> list[Callable[[], object]]:
        """Called by `change_nodes`."""
        return self._on_nodes

    def list_nodes(self) -> Sequence[Node]:
        """The nodes."""
        if not self.is_live:
            raise SupervisorUnavailable("no manager of the swarm answers")
        return self.nodes

    def list_ignored(self, _manifest: Manifest) -> Sequence[str]:
        """Nothing."""
        return ()

    def change_nodes(self, *nodes: Node) -> None:
        """Have other nodes."""
        self.nodes = list(nodes)
        for callback in self._on_nodes:
            callback()


class ClusterService:
    """The service over a cluster, which a thread of this process serves: a real socket, so that commands can ask it."""

    def __init__(self, cluster: FakeCluster, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.cluster = cluster
        self.url = url
        self._loop = loop

    def get(self, path: str, **query: str) -> httpx.Response:
        """Ask as an admin."""
        headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
        return httpx.get(f"{self.url}{path}", params=query, headers=headers, timeout=DEADLINE_SECONDS, trust_env=False)

    def do(self, change: Callable[[], object]) -> None:
        """Change something of the cluster, where its callbacks can be called."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (change(), done.set()))
        assert done.wait(DEADLINE_SECONDS)


@contextmanager
def run_cluster_service(
    cluster: FakeCluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClusterService]:
    """Serve a cluster; the plugins are those in `<folder>/plugins`."""
    for name in ("plugins", "run", "state", "log"):
        (folder / name).mkdir(exist_ok=True)
    port = find_free_port()
    settings = Settings.from_env(
        {f"PLUGVISOR_{name.upper()}_DIR": str(folder / name) for name in ("plugins", "run", "state", "log")}
    )
    monkeypatch.setattr("plugvisor.api.app.make_engine", lambda _: cluster)
    app = create_app(settings, AdminCode(ADMIN_CODE))
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        assert thread.is_alive()
        yield ClusterService(cluster, loop, f"http://127.0.0.1:{port}")
    finally:
        for endless in server.lifespan.state.get("endless", ()):
            loop.call_soon_threadsafe(endless.close)
        server.should_exit = True
        thread.join()
        loop.close()
