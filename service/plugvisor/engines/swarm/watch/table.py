"""Every plugin's process in memory, kept current by polling: all that reads touch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.models.cluster.node import Node
    from plugvisor.models.process import Process


class SwarmTable:
    """Polls `/services`, `/tasks` and `/nodes` from `open` to `close`.

    While no manager answers there is nothing to read: an old state is never shown for a new one.
    """

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self.version = 0
        self.on_change: list[Callable[[str | None], object]] = []
        self.on_nodes: list[Callable[[], object]] = []
        """Called after a poll by which `list_nodes` returns something else."""
        self.problem = "no manager of the swarm has answered yet"
        """Why there is nothing to read, as `SupervisorUnavailable` says it."""

    @property
    def is_live(self) -> bool:
        """Whether `read` would answer."""
        raise NotImplementedError

    async def open(self, seconds: float) -> None:
        """Begin to poll; return when there is something to read, or the time is over."""
        raise NotImplementedError

    async def close(self) -> None:
        """Poll no more."""
        raise NotImplementedError

    def read(self) -> Mapping[str, Process]:
        """Every process by its plugin's id; raises `SupervisorUnavailable`."""
        raise NotImplementedError

    def get(self, plugin_id: str) -> Process:
        """One plugin's process; `NEVER_ADDED` if there is none."""
        raise NotImplementedError

    def list_nodes(self) -> Sequence[Node]:
        """The nodes by name; raises `SupervisorUnavailable`."""
        raise NotImplementedError

    def get_service(self, plugin_id: str) -> Mapping[str, Any] | None:
        """A plugin's service, as the Engine describes it; None if it has none. Thread-safe."""
        raise NotImplementedError

    def list_services(self) -> Mapping[str, Mapping[str, Any]]:
        """Every plugin's service by the plugin's id; callable from any thread, and empty before the first answer."""
        raise NotImplementedError

    async def poll(self) -> None:
        """Return when a poll that began after this call has been taken over, so that every read shows what is so now.

        Raises:
            SupervisorUnavailable
        """
        raise NotImplementedError

    async def wait_for(self, plugin_id: str, is_met: Callable[[Process], bool], seconds: float) -> Process:
        """Wait until a process meets a condition, or the time is over; raises `SupervisorUnavailable`."""
        raise NotImplementedError
