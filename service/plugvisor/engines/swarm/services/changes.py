"""Changes of services: each a function of the service's spec as it is, so that nobody else's change is lost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.errors import InvalidManifest, StartFailed, SupervisorConfused, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.services.names import Names

    Spec = dict[str, Any]
    Change = Callable[[Spec], Spec | None]
    """Makes another spec of one, which it may change; None: nothing is to be changed."""

logger = logging.getLogger(__name__)

MOST_TRIES = 5
FOREIGN_SERVICE = "the swarm has a service of this name that is no plugin; choose another id"
FOREIGN_SECONDS = 5.0
_OUT_OF_SEQUENCE = "update out of sequence"


class Services:
    """Reads, creates, changes and deletes the services of plugins. Every method may raise `SupervisorUnavailable`.

    A service of a plugin's name that is none is somebody else's: it is left alone, and `InvalidManifest` raised.
    """

    def __init__(self, client: DockerClient, names: Names) -> None:
        self._client = client
        self._names = names
        self._foreign: dict[str, float] = {}  # by plugin, when somebody else's service was found in its place

    def is_foreign(self, plugin_id: str) -> bool:
        """Whether a plugin's name was taken by somebody else's service a moment ago; it may be free by now."""
        return time.monotonic() - self._foreign.get(plugin_id, -FOREIGN_SECONDS) < FOREIGN_SECONDS

    async def read(self, plugin_id: str) -> Mapping[str, Any] | None:
        """A plugin's service as it is now; None if there is none."""
        try:
            service: Mapping[str, Any] = await self._client.call(
                "GET", f"/services/{self._names.name_service(plugin_id)}"
            )
        except DockerError as error:
            if error.status == 404:
                return None
            raise _reject(plugin_id, error) from error
        if not _is_service(service):
            logger.error("the Docker Engine describes the service of %r as none is", plugin_id)
            raise SupervisorConfused("the Docker Engine's answer is not understood; the log says more")
        if self._names.find_service_plugin(service) != plugin_id:
            self._foreign[plugin_id] = time.monotonic()
            raise InvalidManifest(FOREIGN_SERVICE)
        return service

    async def create(self, plugin_id: str, spec: Spec, headers: Mapping[str, str] | None = None) -> bool:
        """Create a plugin's service; returns False if there is one already.

        Args:
            headers: with which its nodes pull its image.

        Raises:
            StartFailed: the swarm rejects it.
        """
        try:
            await self._client.call("POST", "/services/create", body=spec, headers=headers)
        except DockerError as error:
            if error.status == 409 and await self.read(plugin_id) is not None:
                return False
            raise _reject(plugin_id, error) from error
        except SupervisorUnavailable:
            if not await self._was_done(plugin_id, spec):
                raise
        return True

    async def change(self, plugin_id: str, change: Change, headers: Mapping[str, str] | None = None) -> bool | None:
        """Change a service; returns whether anything was to be changed, or None if there is no service.

        Args:
            change: called again with the spec as it is then, if somebody else has changed it meanwhile.
            headers: with which its nodes pull its image; None: those that it has.

        Raises:
            StartFailed: the swarm rejects it, or others change it without end.
        """
        for _ in range(MOST_TRIES):
            service = await self.read(plugin_id)
            if service is None:
                return None
            spec = change(service["Spec"])
            if spec is None:
                return False
            version = service["Version"]["Index"]
            try:
                await self._client.call(
                    "POST",
                    f"/services/{service['ID']}/update",
                    query={"version": version},
                    body=spec,
                    headers=headers,
                )
            except DockerError as error:
                if _OUT_OF_SEQUENCE in str(error):
                    continue
                if error.status == 404 and await self.read(plugin_id) is None:
                    return None
                raise _reject(plugin_id, error) from error
            except SupervisorUnavailable:
                if not await self._was_done(plugin_id, spec):
                    raise
            return True
        raise StartFailed("others change its service at the same time, again and again; try once more")

    async def delete(self, plugin_id: str) -> None:
        """Delete a plugin's service, if there is one."""
        service = await self.read(plugin_id)
        if service is not None:
            try:
                await self._client.call("DELETE", f"/services/{service['ID']}")
            except DockerError as error:
                if error.status != 404:
                    raise _reject(plugin_id, error) from error

    async def _was_done(self, plugin_id: str, spec: Spec) -> bool:
        """Whether a change was made whose answer was lost: labels tell one from another."""
        try:
            service = await self.read(plugin_id)
        except SupervisorUnavailable:
            return False  # the error of the change is raised
        return service is not None and service["Spec"].get("Labels") == spec["Labels"]


def _is_service(answer: object) -> bool:
    """Whether an answer has what each service has."""
    if not isinstance(answer, dict) or not isinstance(answer.get("ID"), str):
        return False
    spec, version = answer.get("Spec"), answer.get("Version")
    return (
        isinstance(version, dict)
        and isinstance(version.get("Index"), int)
        and isinstance(spec, dict)
        and isinstance(spec.get("Labels") or {}, dict)
        and isinstance(spec.get("Mode"), dict)
        and isinstance(spec.get("TaskTemplate"), dict)
    )


def _reject(plugin_id: str, error: DockerError) -> Exception:
    logger.error("the swarm rejects the service of %r: %s", plugin_id, error)
    if error.status == 409:
        return InvalidManifest(FOREIGN_SERVICE)
    return StartFailed("the swarm rejects its service; the service's log has its words")
