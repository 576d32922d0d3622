"""A plugin that somebody stops while what it needs is brought to the nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.changes import Services
from plugvisor.engines.swarm.services.deployment import Deployment
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.services.spec import get_replicas, set_replicas
from plugvisor.errors import StartFailed
from plugvisor.models.process import Process, ProcessState

from tests.helpers.swarm_services import FakeServiceClient, change_service

NAME = "plugvisor-echo"


class Table:
    """Shows what the services were at the last poll."""

    def __init__(self, client: FakeServiceClient) -> None:
        self._client = client
        self.process = Process(ProcessState.RUNNING, pid=7)
        self.service: Any = None

    async def poll(self) -> None:
        self.service = self._client.services.get(NAME)

    def get_service(self, _plugin_id: str) -> Any:
        return self.service

    def get(self, _plugin_id: str) -> Process:
        return self.process


class Published:
    """The service's own program remains."""

    def get(self, _plugin_id: str) -> None:
        return None


def test_a_plugin_that_is_stopped_meanwhile_is_not_started_beside_what_still_ends() -> None:
    async def run() -> None:
        client = FakeServiceClient()
        spec = {
            "Name": NAME,
            "Labels": {labels.ID: "echo"},
            "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": {},
        }
        await Services(client, Names()).create("echo", spec)  # type: ignore[arg-type]
        deployment = Deployment(
            Services(client, Names()),  # type: ignore[arg-type]
            Table(client),  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            Published(),  # type: ignore[arg-type]
        )

        def stop_too(service: dict[str, Any]) -> None:
            client.before_update = lambda _service: None
            change_service(service, {**service["Spec"], "Mode": {"Replicated": {"Replicas": 0}}})

        client.before_update = stop_too
        with pytest.raises(StartFailed, match="it was stopped while it was starting"):
            await deployment.put("echo", lambda spec: set_replicas(spec, 1))
        assert get_replicas(client.services[NAME]["Spec"]) == 0
        await deployment.close()

    asyncio.run(run())
