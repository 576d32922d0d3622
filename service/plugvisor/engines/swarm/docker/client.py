"""Calls to a Docker Engine that manages the swarm: any of several, whichever answers."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from plugvisor.engines.swarm.docker.call_names import name_call
from plugvisor.engines.swarm.docker.errors import (
    DockerError,
    HostFailed,
    Problem,
    judge_answer,
    judge_transport_error,
)
from plugvisor.engines.swarm.docker.hosts import DockerHost
from plugvisor.errors import SupervisorConfused, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from plugvisor.swarm_settings import SwarmSettings

__all__ = ["CALL_SECONDS", "DockerClient", "DockerError"]

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every call

CALL_SECONDS = 2.0
"""How long a call may take: without a quorum the first hangs for 20 s and more."""
_MAYBE_DONE = "the swarm did not answer in time: whether the change was made is not known"
_LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    content: AsyncIterator[bytes] | bytes | None
    url: str = ""

    @property
    def name(self) -> str:
        return name_call(self.method, self.path)

    @property
    def is_change(self) -> bool:
        return self.method not in ("GET", "HEAD")


class DockerClient:
    """Made once; connects when it is first used. Every call may raise `SupervisorUnavailable` and `DockerError`.

    A call goes to the manager that answered last. If that one cannot do it, a read is repeated with the others, and a
    change only if it was certainly not made: after `SupervisorUnavailable` a change may have been made.
    """

    def __init__(self, settings: SwarmSettings) -> None:
        self.on_call: list[Callable[[str, float, bool], object]] = []
        """Called with the call's name, its seconds, and whether it was answered."""
        self._hosts = [DockerHost(url, settings.docker_certs) for url in settings.docker_hosts]
        """The one that answered last is the first."""

    @property
    def urls(self) -> list[str]:
        """Of the managers; the one that answered last is the first."""
        return [host.url for host in self._hosts]

    async def close(self) -> None:
        """Close every connection."""
        for host in self._hosts:
            await host.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        content: AsyncIterator[bytes] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = CALL_SECONDS,
    ) -> Any:
        """Make a call; returns the answer's JSON, or None if it has no body.

        Args:
            path: such as `/services/create`; the API's version is put before it.
            query: a value that is a dict or a list is sent as JSON, as `filters` are.
            body: sent as JSON.
            timeout_seconds: of the whole call, whatever number of managers it takes.
        """
        if body is not None:
            content, headers = msgspec.json.encode(body), {"Content-Type": "application/json", **(headers or {})}
        request = _Request(method, path, query, headers, content)
        answer = await self._fetch(request, timeout_seconds)
        try:
            return msgspec.json.decode(answer) if answer.strip() else None
        except (msgspec.DecodeError, RecursionError) as error:
            logger.error("the Docker Engine answers %s with what is not JSON", request.name)
            raise SupervisorConfused("the Docker Engine's answer is not understood; the log says more") from error

    async def fetch(
        self, path: str, *, query: Mapping[str, Any] | None = None, timeout_seconds: float = CALL_SECONDS, url: str = ""
    ) -> bytes:
        """GET; returns the answer's body as it is.

        Args:
            url: of the only manager to ask, one of `urls`; empty: any.
        """
        return await self._fetch(_Request("GET", path, query, None, None, url), timeout_seconds)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: AsyncIterator[bytes] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds: float | None = None,
        timeout_seconds: float = CALL_SECONDS,
        url: str = "",
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make a call whose answer is read as it arrives.

        Args:
            silence_seconds: how long nothing may arrive before `SupervisorUnavailable` is raised; None: for ever.
            timeout_seconds: how long it may take until the answer begins.
            url: of the only manager to ask, one of `urls`; empty: any.
        """
        request = _Request(method, path, query, headers, content, url)
        response = await self._send(request, timeout_seconds, is_streamed=True)
        try:
            yield _read_chunks(response, silence_seconds)
        finally:
            await response.aclose()

    async def _fetch(self, request: _Request, timeout_seconds: float) -> bytes:
        return (await self._send(request, timeout_seconds)).content

    async def _send(self, request: _Request, timeout_seconds: float, *, is_streamed: bool = False) -> httpx.Response:
        started = time.monotonic()
        is_answered = False
        try:
            response = await self._try_hosts(request, started + timeout_seconds, is_streamed=is_streamed)
            is_answered = True
        except DockerError:
            is_answered = True
            raise
        finally:
            for callback in self.on_call:
                callback(request.name, time.monotonic() - started, is_answered)
        return response

    async def _try_hosts(self, request: _Request, deadline: float, *, is_streamed: bool) -> httpx.Response:
        problems: list[Problem] = []
        hosts = [host for host in self._hosts if request.url in ("", host.url)]
        for number, host in enumerate(hosts):
            share = max(0.0, deadline - time.monotonic()) / (len(hosts) - number)
            try:
                response = await _try_host(host, request, share, deadline, is_streamed=is_streamed)
            except HostFailed as failure:
                host.forget(failure.problem)
                if not request.url:
                    self._note_failure(host, failure)
                if request.is_change and failure.is_done_maybe:
                    raise SupervisorUnavailable(_MAYBE_DONE) from failure
                problems.append(failure.problem)
            else:
                if not request.url:  # that it has events does not mean that it can do more
                    self._note_answer(host)
                if response.status_code >= 400:
                    raise DockerError(response.status_code, _read_message(response.content))
                return response
        raise SupervisorUnavailable(min(problems, key=list(Problem).index))

    def _note_answer(self, host: DockerHost) -> None:
        if host.problem is not None:
            logger.info("the Docker Engine at %s answers again", host.url)
            host.problem = None
        if self._hosts[0] is not host:
            self._hosts.remove(host)
            self._hosts.insert(0, host)

    def _note_failure(self, host: DockerHost, failure: HostFailed) -> None:
        if host.problem is not failure.problem:
            logger.warning("cannot use the Docker Engine at %s: %s", host.url, failure)
            host.problem = failure.problem
        self._hosts.remove(host)
        self._hosts.append(host)


async def _try_host(
    host: DockerHost, request: _Request, share: float, deadline: float, *, is_streamed: bool
) -> httpx.Response:
    """Make a call with one manager; the body of an error, and of what is not streamed, has been read.

    Args:
        share: the seconds for this manager, unless it may be executing a change.

    Raises:
        HostFailed
    """
    is_sent = False
    try:
        async with asyncio.timeout(share) as bound:
            client, prefix = await host.connect()
            if request.is_change:  # only the time to connect is shared
                bound.reschedule(asyncio.get_running_loop().time() + max(0.0, deadline - time.monotonic()))
            is_sent = True
            response = await client.send(_build(client, prefix, request, connect_seconds=share), stream=True)
            try:
                if not is_streamed or response.status_code >= 400:
                    await response.aread()
                    await response.aclose()
            except BaseException:
                await response.aclose()
                raise
    except TimeoutError as error:
        raise HostFailed(Problem.SILENT, "it does not answer in time", is_done_maybe=is_sent) from error
    except httpx.HTTPError as error:
        broken = judge_transport_error(error)
        broken.is_done_maybe &= is_sent
        raise broken from error
    if 300 <= response.status_code < 400:  # the Engine never sends anybody elsewhere, and where that leads is unknown
        await response.aclose()
        raise HostFailed(Problem.NOT_DOCKER, f"it answers with a redirect, {response.status_code}")
    if response.status_code >= 400 and (failure := judge_answer(response.status_code, _read_message(response.content))):
        raise failure
    return response


def _build(client: httpx.AsyncClient, prefix: str, request: _Request, *, connect_seconds: float) -> httpx.Request:
    query = {
        name: msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
        for name, value in (request.query or {}).items()
    }
    return client.build_request(
        request.method,
        f"{prefix}{request.path}",
        params=query or None,
        headers=request.headers,
        content=request.content,
        timeout=httpx.Timeout(None, connect=connect_seconds),
    )


def _read_message(content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content, type=dict[str, object]).get("message", ""))
    except msgspec.DecodeError:
        return content[:_LONGEST_MESSAGE].decode(errors="replace")


async def _read_chunks(response: httpx.Response, silence_seconds: float | None) -> AsyncIterator[bytes]:
    chunks = response.aiter_raw()
    while True:
        try:
            async with asyncio.timeout(silence_seconds):
                chunk = await anext(chunks, None)
        except (TimeoutError, httpx.HTTPError) as error:
            raise SupervisorUnavailable("the Docker Engine has ended an answer before its end") from error
        if chunk is None:
            return
        yield chunk
