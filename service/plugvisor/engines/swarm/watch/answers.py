"""The fields of the Engine's answers that the watch reads; all others are skipped without being decoded."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads it
from typing import Any

import msgspec
from msgspec import field

_LATEST_SECONDS = 1e11


class ContainerStatus(msgspec.Struct, frozen=True):
    """The container of a task."""

    id: str = field(name="ContainerID", default="")
    pid: int = field(name="PID", default=0)
    exit_code: int = field(name="ExitCode", default=0)


class TaskStatus(msgspec.Struct, frozen=True, rename="pascal"):
    """A task's status, as its node has reported it."""

    timestamp: datetime
    state: str = ""
    message: str = ""
    err: str = ""
    container_status: ContainerStatus | None = None

    @property
    def at(self) -> float:
        """The time in seconds since 1970, within what a float can be turned into a date again."""
        return min(max(0.0, self.timestamp.timestamp()), _LATEST_SECONDS)


class ContainerSpec(msgspec.Struct, frozen=True, rename="pascal"):
    """The spec of a task's container."""

    labels: dict[str, str] | None = None
    stop_grace_period: int | None = None


class TaskSpec(msgspec.Struct, frozen=True, rename="pascal"):
    """The spec of a task."""

    force_update: int = 0
    container_spec: ContainerSpec = ContainerSpec()


class NetworkSpec(msgspec.Struct, frozen=True, rename="pascal"):
    """The spec of a network."""

    name: str = ""


class Network(msgspec.Struct, frozen=True, rename="pascal"):
    """The network of an attachment."""

    spec: NetworkSpec = NetworkSpec()


class Attachment(msgspec.Struct, frozen=True, rename="pascal"):
    """A network that a task is attached to."""

    network: Network = Network()
    addresses: list[str] | None = None


class SwarmTask(msgspec.Struct, frozen=True):
    """A task, as `GET /tasks` describes it."""

    id: str = field(name="ID")
    created: datetime = field(name="CreatedAt")
    status: TaskStatus = field(name="Status")
    service_id: str = field(name="ServiceID", default="")
    slot: int = field(name="Slot", default=0)
    node_id: str = field(name="NodeID", default="")
    desired: str = field(name="DesiredState", default="")
    spec: TaskSpec = field(name="Spec", default=TaskSpec())
    networks: list[Attachment] | None = field(name="NetworksAttachments", default=None)

    @property
    def pid(self) -> int:
        """Its process, as its node numbers it; 0 if none is alive."""
        return self.status.container_status.pid if self.status.container_status else 0


class NodeSpec(msgspec.Struct, frozen=True, rename="pascal"):
    """The spec of a node."""

    role: str = "worker"
    availability: str = "active"


class NodeResources(msgspec.Struct, frozen=True):
    """The resources of a node."""

    nano_cpus: int = field(name="NanoCPUs", default=0)
    memory_bytes: int = field(name="MemoryBytes", default=0)


class NodeEngine(msgspec.Struct, frozen=True, rename="pascal"):
    """The Docker Engine of a node."""

    engine_version: str = ""


class NodeDescription(msgspec.Struct, frozen=True, rename="pascal"):
    """A node, as it describes itself."""

    hostname: str = ""
    resources: NodeResources = NodeResources()
    engine: NodeEngine = NodeEngine()


class NodeStatus(msgspec.Struct, frozen=True, rename="pascal"):
    """Whether the managers hear from a node."""

    state: str = "unknown"
    addr: str = ""


class ManagerStatus(msgspec.Struct, frozen=True, rename="pascal"):
    """A manager's status."""

    leader: bool = False
    addr: str = ""
    reachability: str = ""


class SwarmNode(msgspec.Struct, frozen=True):
    """A node, as `GET /nodes` describes it."""

    id: str = field(name="ID")
    spec: NodeSpec = field(name="Spec", default=NodeSpec())
    description: NodeDescription = field(name="Description", default=NodeDescription())
    status: NodeStatus = field(name="Status", default=NodeStatus())
    manager: ManagerStatus | None = field(name="ManagerStatus", default=None)

    @property
    def name(self) -> str:
        """The name of the machine; its id before it has reported one."""
        return self.description.hostname or self.id

    @property
    def is_lost(self) -> bool:
        """Whether the managers hear nothing of it.

        `unknown` is what a new leader says of every node until it has heard from it: that is not lost.
        """
        return self.status.state in ("down", "disconnected")

    @property
    def is_unheard(self) -> bool:
        """Whether the leader will hear from it in a moment.

        On a busy machine a new leader takes even its own node for `down` until then; as managers they answer.
        """
        answers = self.manager is not None and self.manager.reachability == "reachable"
        return self.status.state == "unknown" or (answers and self.is_lost)

    @property
    def is_available(self) -> bool:
        """Whether it can be given tasks."""
        return self.status.state == "ready" and self.spec.availability == "active"


decode_tasks = msgspec.json.Decoder(list[SwarmTask]).decode
decode_nodes = msgspec.json.Decoder(list[SwarmNode]).decode
decode_services = msgspec.json.Decoder(list[dict[str, Any]]).decode
