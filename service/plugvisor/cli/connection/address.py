"""Where the service is: the address that was named, or that this user's own Plugvisor has left in its run folder."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from plugvisor.errors import ConfigurationError
from plugvisor.setting_folders import ADDRESS_FILE, ROOTS_RUN_DIR, find_run_dir
from plugvisor.setting_values import UNIX, make_url, read_host, read_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST_FILE_BYTES = 4096
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"http": 80, "https": 443}


class OwnPlugvisor(NamedTuple):
    """This user's own Plugvisor, which need not run."""

    url: str
    public_url: str
    """The address that its other clients use, perhaps a proxy's; empty if there is no other."""
    run_dir: Path

    def is_at(self, url: str) -> bool:
        """Whether a URL is one of its addresses."""
        return any(own and _simplify(own) == _simplify(url) for own in (self.url, self.public_url))


def find_own(environ: Mapping[str, str]) -> OwnPlugvisor:
    """This user's own Plugvisor: by `PLUGVISOR_HOST` and `PLUGVISOR_PORT`, else by what it has left, else the default.

    For root it can be the one that runs with two users, such as a unit of systemd's, whose variables root's shell
    lacks.

    Raises:
        ConfigurationError
    """
    run_dir = find_run_dir(environ)
    host, port = environ.get("PLUGVISOR_HOST", ""), environ.get("PLUGVISOR_PORT", "")
    is_named = bool(environ.get("PLUGVISOR_RUN_DIR"))
    url, public_url = _read_file(run_dir, is_named=is_named)
    if not url and not is_named and os.geteuid() == 0:
        url, public_url = _read_file(ROOTS_RUN_DIR, is_named=False)
        run_dir = ROOTS_RUN_DIR if url else run_dir
    if host or port or not url:
        url = make_url(read_host(host or "127.0.0.1"), read_port(port or "48916"))
    return OwnPlugvisor(url, public_url, run_dir)


def read_url(url: str) -> str:
    """Check an address: `http://host:port`, `https://…` or `unix:///path`; raises `ConfigurationError`."""
    if url.startswith(UNIX):
        if not url.removeprefix(UNIX).startswith("/"):
            raise ConfigurationError(
                "cannot use the address: after unix:// there must be the absolute path of a socket"
            )
        return url
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
        is_usable = False
    # the value is not repeated: it can contain a password
    if not is_usable or " " in url:
        raise ConfigurationError(
            "cannot use the address in --url or PLUGVISOR_URL: it must look like http://localhost:48916, "
            "https://plugvisor.example.com or unix:///path"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("cannot use an address with a user or a password in it: set PLUGVISOR_TOKEN instead")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(
            "cannot use an address with a path: the service is at the root of its host, as in https://plugvisor.example.com"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _read_file(run_dir: Path, *, is_named: bool) -> tuple[str, str]:
    """Both addresses; empty if there is no file, or if another user may have written it.

    Args:
        is_named: the operator has named the run folder, and so trusts it.
    """
    try:
        folder = run_dir.stat()
        if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or not (is_named or folder.st_uid in (os.geteuid(), 0)):
            return "", ""
        with (run_dir / ADDRESS_FILE).open(encoding="utf-8") as file:
            url, public_url, *_ = [*file.read(_LARGEST_FILE_BYTES).splitlines(), "", ""]
        return read_url(url), public_url
    except (OSError, ValueError, ConfigurationError):
        return "", ""


def _simplify(url: str) -> tuple[str, str, int]:
    """The part that two addresses of one service have in common."""
    if url.startswith(UNIX):
        return "unix", os.path.normpath(url.removeprefix(UNIX)), 0
    try:
        parts = urlsplit(url)
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            return "", url, 0  # which is no address of a Plugvisor
        host = parts.hostname or ""
        return parts.scheme, "localhost" if host in _LOOPBACK else host, parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", url, 0
