"""One manager of the swarm, and how its Engine API is reached."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio._backends._asyncio  # noqa: F401 - the first call would import it, and might take its time for that
import httpx

from plugvisor import VERSION
from plugvisor.engines.swarm.docker.errors import HostFailed, Problem

if TYPE_CHECKING:
    from pathlib import Path

OLDEST_API = (1, 41)
NEWEST_API = (1, 47)
"""The newest version that this client was written for; a newer Engine still speaks it."""
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})")
# A stream of events or of a log holds a connection as long as it is followed.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30.0)


class DockerHost:
    """A manager's Engine API. Connects when it is first used.

    Args:
        url: `unix:///path` or `tcp://host:port`.
        certs: folder with `ca.pem`, `cert.pem` and `key.pem`, for `tcp://`.
    """

    def __init__(self, url: str, certs: Path | None) -> None:
        parts = urlsplit(url)
        self._socket_path = parts.path if parts.scheme == "unix" else None
        self._certs = certs if self._socket_path is None else None
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        scheme = "https" if self._certs else "http"
        self._base_url = "http://docker" if self._socket_path is not None else f"{scheme}://{host}:{parts.port}"
        self.url = url
        self._client: httpx.AsyncClient | None = None
        self._prefix = ""
        self._connecting = asyncio.Lock()
        self.problem: Problem | None = None
        """Why it did not answer last; the log says it once."""

    async def connect(self) -> tuple[httpx.AsyncClient, str]:
        """Connect and negotiate the API's version, if that has not been done; returns what each path begins with.

        Raises:
            HostFailed, httpx.HTTPError
        """
        client, prefix = self._client, self._prefix
        if client is None or not prefix:
            async with self._connecting:
                client = self._client = self._client or await self._make_client()
                prefix = self._prefix = self._prefix or await self._negotiate(client)
        return client, prefix

    def forget(self, problem: Problem) -> None:
        """Negotiate again before the next call; after a problem with certificates, load them again."""
        self._prefix = ""
        if problem is Problem.CERTIFICATES:
            self._client = None  # it has no connections: other calls are about to fail in the same way

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _make_client(self) -> httpx.AsyncClient:
        verify: ssl.SSLContext | bool = False  # which loads no certificates
        if self._certs is not None:
            try:
                verify = await asyncio.to_thread(_load_certificates, self._certs)
            except (OSError, ssl.SSLError) as error:
                raise HostFailed(Problem.CERTIFICATES, f"cannot load the certificates: {error}") from error
        return httpx.AsyncClient(
            base_url=self._base_url,
            transport=httpx.AsyncHTTPTransport(verify=verify, uds=self._socket_path, limits=_LIMITS, trust_env=False),
            headers={"User-Agent": f"plugvisor/{VERSION}"},
            timeout=None,  # noqa: S113 - the caller bounds the whole call
            trust_env=False,
        )

    async def _negotiate(self, client: httpx.AsyncClient) -> str:
        try:
            response = await client.get("/_ping")
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            if self._certs is None:
                raise
            # with TLS 1.3 a client that is rejected learns it after it is connected, by a closed connection
            raise HostFailed(Problem.CERTIFICATES, "it closes the connection before the first answer") from error
        found = _VERSION.fullmatch(response.headers.get("Api-Version", ""))
        if found is None:
            raise HostFailed(Problem.NOT_DOCKER, f"/_ping is answered by {response.status_code} without a version")
        version = min((int(found[1]), int(found[2])), NEWEST_API)
        if version < OLDEST_API:
            raise HostFailed(Problem.TOO_OLD, f"its API is {found[0]}")
        return f"/v{version[0]}.{version[1]}"


def _load_certificates(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
