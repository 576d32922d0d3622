"""The services of a swarm in memory, for what a real one does not do at a given moment."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.docker.client import DockerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OUT_OF_SEQUENCE = "rpc error: code = Unknown desc = update out of sequence"


class FakeServiceClient:
    """Answers as an Engine does to calls about services.

    `before_update` is called with the service before each update, as somebody else who is faster; `after_update` after
    each, and may raise what the answer becomes.
    """

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.before_update: Callable[[dict[str, Any]], object] = lambda _service: None
        self.after_update: Callable[[], object] = lambda: None
        self.read: Callable[[str], object] | None = None
        """Answers instead of the services."""
        self.calls: list[str] = []
        self.headers: Mapping[str, str] = {}

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        self.headers = headers or {}
        self.calls.append(f"{method} {path}")
        name = path.split("/")[2]
        if name == "create":
            return self._create(copy.deepcopy(body))
        if method == "GET" and self.read is not None:
            return self.read(name)
        service = self.services.get(name)
        if service is None:
            raise DockerError(404, f"service {name} not found")
        if method == "GET":
            return copy.deepcopy(service)
        if method == "DELETE":
            del self.services[name]
            return None
        assert query is not None
        self.before_update(service)
        if query["version"] != service["Version"]["Index"]:
            raise DockerError(500, OUT_OF_SEQUENCE)
        change_service(service, copy.deepcopy(body))
        self.after_update()
        return {"Warnings": None}

    def _create(self, spec: dict[str, Any]) -> dict[str, Any]:
        name = spec["Name"]
        if name in self.services:
            raise DockerError(409, f"rpc error: code = AlreadyExists desc = service {name} already exists")
        self.services[name] = {"ID": name, "Version": {"Index": 1}, "Spec": spec}
        self.after_update()
        return {"ID": name}


def change_service(service: dict[str, Any], spec: dict[str, Any]) -> None:
    """Change a service as an update does."""
    service["Spec"] = spec
    service["Version"] = {"Index": service["Version"]["Index"] + 1}
