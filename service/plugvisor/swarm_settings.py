"""The settings of the engine `swarm`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugvisor.errors import ConfigurationError
from plugvisor.setting_folders import read_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEFAULT_NAME = "plugvisor"
DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
_PLUGVISOR = re.compile(r"[a-z][a-z0-9]{0,19}")
_REGISTRY = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)*")
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}")
_NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


@dataclass(frozen=True)
class SwarmSettings:
    """How the swarm is reached, and how plugins get onto its nodes."""

    name: str = DEFAULT_NAME
    """Of this Plugvisor among those of the swarm, none of which sees what the others have."""
    docker_hosts: tuple[str, ...] = (DEFAULT_DOCKER_HOST,)
    """`unix:///path` or `tcp://host:port`, each of a manager: the first that answers is used."""
    docker_certs: Path | None = None
    """Folder with `ca.pem`, `cert.pem` and `key.pem` for `tcp://`; None: without TLS."""
    registry: str = ""
    """`host[:port][/path]` that images of plugins are pushed to; empty: their folders travel as configs."""
    registry_auth_file: Path | None = None
    """File with `user:password`."""
    image: str = ""
    """The image that plugins run in; empty: the service's own."""
    network: str = ""
    """The network that plugins join, so that the service can check them; `host` is the nodes' own; empty: none."""


def read_swarm_settings(get: Callable[[str, str], str]) -> SwarmSettings:
    """Validate the values of the variables.

    Args:
        get: returns a variable's value, or the default that it is given.

    Raises:
        ConfigurationError
    """
    docker_certs = get("PLUGVISOR_DOCKER_CERTS", "")
    auth_file = get("PLUGVISOR_REGISTRY_AUTH_FILE", "")
    return SwarmSettings(
        name=_match("PLUGVISOR_NAME", get("PLUGVISOR_NAME", DEFAULT_NAME), _PLUGVISOR, "plugvisor2"),
        docker_hosts=tuple(
            _read_docker_host(value.strip(), has_certs=bool(docker_certs))
            for value in get("PLUGVISOR_DOCKER_HOST", DEFAULT_DOCKER_HOST).split(",")
        ),
        docker_certs=read_path("PLUGVISOR_DOCKER_CERTS", docker_certs) if docker_certs else None,
        registry=_match(
            "PLUGVISOR_REGISTRY", get("PLUGVISOR_REGISTRY", ""), _REGISTRY, "registry.example.com:5000/plugins"
        ),
        registry_auth_file=read_path("PLUGVISOR_REGISTRY_AUTH_FILE", auth_file) if auth_file else None,
        image=_match("PLUGVISOR_IMAGE", get("PLUGVISOR_IMAGE", ""), _IMAGE, "registry.example.com/plugvisor:1.0"),
        network=_match("PLUGVISOR_NETWORK", get("PLUGVISOR_NETWORK", ""), _NETWORK, "plugins"),
    )


def read_engine(value: str) -> str:
    """The engine's name."""
    if value not in ("supervisord", "swarm"):
        raise ConfigurationError(f"cannot use PLUGVISOR_ENGINE {value!r}: it must be `supervisord` or `swarm`")
    return value


def _match(name: str, value: str, pattern: re.Pattern[str], example: str) -> str:
    if value and not pattern.fullmatch(value):
        raise ConfigurationError(f"cannot use {name} {value!r}: it must look like {example}")
    return value


def _read_docker_host(value: str, *, has_certs: bool) -> str:
    try:
        parts = urlsplit(value)
        is_socket = parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/")
        is_tcp = parts.scheme == "tcp" and bool(parts.hostname) and parts.port is not None and not parts.path
    except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
        is_socket = is_tcp = False
    if not (is_socket or is_tcp) or "@" in value:
        # the value is not repeated: it can contain a password
        raise ConfigurationError(
            "cannot use PLUGVISOR_DOCKER_HOST: it must look like unix:///var/run/docker.sock or tcp://10.0.0.1:2376; "
            "several are separated by commas"
        )
    if is_tcp and not has_certs and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigurationError(
            "cannot use PLUGVISOR_DOCKER_HOST with tcp:// and no PLUGVISOR_DOCKER_CERTS: whoever reaches that port "
            "is root on every node"
        )
    return value
