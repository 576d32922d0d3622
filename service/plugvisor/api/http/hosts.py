"""The names by which a client may address the service: the check of the header `Host` (RFC 9112, 3.2).

A web page whose own name an attacker's DNS server points at this machine is, to its browser, of one origin with the
service (DNS rebinding). Only the `Host` that the browser sends reveals it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from plugvisor.errors import MalformedRequest, MisdirectedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.errors import PlugvisorError

_HOST = re.compile(rb"([A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_MOST_CACHED = 64
_LONGEST_CACHED = 128


class HostCheck:
    """Accepts loopback names, and others by patterns: `name`, `name:port`, `*.domain` or `*`."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._accepts_any = "*" in patterns
        self._patterns = [_split_pattern(pattern) for pattern in patterns]
        self.cache: set[bytes] = set()
        """Values of the header that are accepted; all others need `find_error`."""

    def find_error(self, values: Sequence[bytes], http_version: str) -> PlugvisorError | None:
        """Why a request with these `Host` headers is rejected; None if it is not."""
        if not values and http_version == "1.0":
            return None
        if len(values) != 1:
            return MalformedRequest("a request of HTTP/1.1 must have exactly one header `Host`")
        [value] = values
        match = _HOST.fullmatch(value)
        if match is None:
            return MalformedRequest("the header `Host` must be a name or an address, and optionally a port")
        name, port = match[1].decode(), (match[2] or b"").decode()
        if not self._accepts(_normalize(name), port):
            return MisdirectedRequest(
                "the service does not answer to the name in the header `Host`; use one that it knows, or add this one "
                "to PLUGVISOR_HOSTS"
            )
        if len(self.cache) < _MOST_CACHED and len(value) <= _LONGEST_CACHED:
            self.cache.add(value)
        return None

    def _accepts(self, name: str, port: str) -> bool:
        return (
            self._accepts_any
            or _is_loopback(name)
            or any(
                wanted_port in ("", port) and (name.endswith(wanted[1:]) if wanted[0] == "*" else name == wanted)
                for wanted, wanted_port in self._patterns
            )
        )


def is_own_origin(origin: str | None, host: str, allowed: Sequence[str]) -> bool:
    """Whether a page may open a WebSocket: browsers do so without asking the server, as they do for CORS.

    Args:
        origin: the page's; None for a client that is no browser.
        host: the `Host` of the request.
        allowed: origins of front ends elsewhere, or `*`.
    """
    if origin is None or origin in allowed or "*" in allowed:
        return True
    scheme, _, page_host = origin.partition("://")
    default_port = {"http": ":80", "https": ":443"}.get(scheme)
    if default_port is None:
        return False
    # the service's own scheme is unknown: a proxy may serve HTTPS
    return page_host.removesuffix(default_port).lower() == host.removesuffix(default_port).lower() != ""


def _is_loopback(name: str) -> bool:
    """Whether a name or an address is always of this machine."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _split_pattern(pattern: str) -> tuple[str, str]:
    if pattern.startswith("["):
        name, _, rest = pattern.partition("]")
        return _normalize(name), rest.removeprefix(":")
    name, _, port = pattern.partition(":")
    return _normalize(name), port


def _normalize(name: str) -> str:
    """Names in lower case without the root's dot, addresses in their canonical form, without brackets."""
    name = name.lower().strip("[]")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.removesuffix(".")
