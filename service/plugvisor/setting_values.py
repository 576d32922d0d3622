"""The values of the settings: each function validates the text of one variable, or makes a default.

Each raises `ConfigurationError`, whose message names the variable, what is wrong with it, and what is valid.
"""

from __future__ import annotations

import os
import re
import shlex
import string
from urllib.parse import urlsplit

from plugvisor.errors import ConfigurationError
from plugvisor.setting_folders import LONGEST_SOCKET_PATH_BYTES, UNSAFE_IN_CONFIGURATION
from plugvisor.users import Users, find_users

UNIX = "unix://"
_LONGEST_OWN_SOCKET_PATH_BYTES = 103


def read_users(service: str, plugins: str) -> Users | None:
    """The two users; None if neither is set."""
    if not service and not plugins:
        return None
    if not service or not plugins:
        raise ConfigurationError(
            "cannot use one of PLUGVISOR_SERVICE_USER and PLUGVISOR_PLUGIN_USER without the other: set both or neither"
        )
    return find_users(service, plugins)


def read_boolean(name: str, value: str) -> bool:
    """`true` or `false`."""
    if value not in ("true", "false"):
        raise ConfigurationError(f"cannot use {name} {value!r}: it must be true or false")
    return value == "true"


def read_host(value: str) -> str:
    """An address, a host's name, or `unix:///path`."""
    if not value.startswith(UNIX):
        return value
    path = value.removeprefix(UNIX)
    if not path.startswith("/") or path.endswith("/"):
        raise ConfigurationError(
            f"cannot use PLUGVISOR_HOST {value!r}: after unix:// there must be the absolute path of a socket"
        )
    unsafe = UNSAFE_IN_CONFIGURATION.search(path)
    if unsafe:
        raise ConfigurationError(
            f"cannot use PLUGVISOR_HOST {value!r}: the path of a socket must not contain {unsafe.group()!r}"
        )
    if len(os.fsencode(path)) > _LONGEST_OWN_SOCKET_PATH_BYTES:
        raise ConfigurationError(
            f"cannot use PLUGVISOR_HOST {value!r}: a Unix socket's path can have at most "
            f"{_LONGEST_OWN_SOCKET_PATH_BYTES} bytes"
        )
    return value


def make_url(host: str, port: int) -> str:
    """The address of a service on this machine; loopback if it listens on all addresses."""
    if host.startswith(UNIX):
        return host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def read_port(value: str) -> int:
    """A port number."""
    if not re.fullmatch("[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ConfigurationError(f"cannot use PLUGVISOR_PORT {value!r}: it must be a number from 1 to 65535")
    return int(value)


def read_hosts(value: str) -> tuple[str, ...]:
    """Patterns of hosts, comma-separated."""
    hosts = tuple(host.strip().lower() for host in value.split(",") if host.strip())
    for host in hosts:
        if not _HOST_PATTERN.fullmatch(host):
            raise ConfigurationError(
                f"cannot use PLUGVISOR_HOSTS: {host!r} is not a host; write it like plugvisor.example.com, "
                "plugvisor.example.com:8443, *.example.com, [2001:db8::1] or *"
            )
    return hosts


_HOST_PATTERN = re.compile(r"\*|((\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def read_origins(value: str) -> tuple[str, ...]:
    """Origins as browsers send them, comma-separated, or `*`."""
    origins = tuple(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"cannot use PLUGVISOR_CORS_ORIGINS: {origin!r} is not an origin; write it like http://localhost:5173"
            )
    return origins


# Browsers send an origin in lower case, and it is compared as it is.
_ORIGIN = re.compile(r"https?://([^\s/?#@:\[\]A-Z]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


def read_public_url(value: str) -> str | None:
    """The address that clients use, without a path; None if it is not set, or a Unix socket, which is for commands."""
    if not value or value.startswith(UNIX):
        return None
    url = value.removesuffix("/").lower()
    try:
        urlsplit(url).port  # noqa: B018 - raises if it is too large; 0 is a container's, published on any port
        is_usable = bool(_ORIGIN.fullmatch(url)) and url.isprintable()
    except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
        is_usable = False
    if not is_usable:
        # the value is not repeated: it can contain a password
        raise ConfigurationError(
            "cannot use PLUGVISOR_URL: it must look like http://localhost:8080 or https://plugvisor.example.com, "
            "without a path, because the page is served at the root of its host"
        )
    return url


def read_metrics_auth(value: str) -> bool:
    """Whether `GET /metrics` needs a token; `admin` is the word of earlier versions."""
    if value not in ("viewer", "admin", "none"):
        raise ConfigurationError(f"cannot use PLUGVISOR_METRICS_AUTH {value!r}: it must be `viewer` or `none`")
    return value != "none"


def read_read_auth(value: str) -> bool:
    """Whether public reads need a token."""
    if value not in ("open", "viewer"):
        raise ConfigurationError(f"cannot use PLUGVISOR_READ_AUTH {value!r}: it must be `open` or `viewer`")
    return value == "viewer"


def read_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of some words; empty for `none`."""
    if value not in choices:
        words = " or ".join(f"`{choice}`" for choice in choices)
        raise ConfigurationError(f"cannot use {name} {value!r}: it must be {words}")
    return "" if value == "none" else value


def read_count(name: str, value: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    if not re.fullmatch("[0-9]{1,9}", value) or not 1 <= int(value) <= most:
        raise ConfigurationError(f"cannot use {name} {value!r}: it must be a number from 1 to {most}")
    return int(value)


def read_webhooks(value: str) -> tuple[str, ...]:
    """URLs, comma-separated; they are not repeated in errors: they can contain a password."""
    urls = tuple(url.strip() for url in value.split(",") if url.strip())
    for number, url in enumerate(urls, 1):
        try:
            parts = urlsplit(url)
            is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
        except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
            is_usable = False
        if not is_usable or " " in url:
            raise ConfigurationError(
                f"cannot use PLUGVISOR_WEBHOOKS: URL {number} must look like https://example.com/hook"
            )
    return urls


def read_runner(value: str) -> tuple[str, ...] | None:
    """The words of the runner's command; None for the built-in one."""
    if not value:
        return None
    try:
        words = tuple(shlex.split(value))
        placeholders = [rest for word in words for _, *rest in string.Formatter().parse(word) if rest[0] is not None]
    except ValueError as error:
        raise ConfigurationError(f"cannot use PLUGVISOR_RUNNER {value!r}: {error}") from error
    plain = (["entry", "", None], ["id", "", None], ["dir", "", None])  # without a format or conversion
    if plain[0] not in placeholders or not all(placeholder in plain for placeholder in placeholders):
        raise ConfigurationError(
            f"cannot use PLUGVISOR_RUNNER {value!r}: it must be a command with {{entry}} in it, "
            "and can have {id} and {dir}, as in: python -m myhost.run {entry}"
        )
    return words


def read_supervisor_url(value: str) -> str:
    """The address of supervisord's XML-RPC server."""
    if value.startswith("unix://"):
        path = value.removeprefix("unix://")
        if not path.startswith("/"):
            raise ConfigurationError(
                f"cannot use PLUGVISOR_SUPERVISOR_URL {value!r}: after unix:// there must be an absolute path"
            )
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
            raise ConfigurationError(
                f"cannot use the socket {path!r}: a Unix socket's path can have at most "
                f"{LONGEST_SOCKET_PATH_BYTES} bytes; choose a shorter PLUGVISOR_RUN_DIR"
            )
        return value
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
        is_usable = False
    if not is_usable:
        # the value is not repeated: it can contain a password
        raise ConfigurationError(
            "cannot use PLUGVISOR_SUPERVISOR_URL: it must look like unix:///path or http://user:password@host:9001"
        )
    return value
