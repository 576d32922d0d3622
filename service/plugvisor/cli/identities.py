"""`plugvisor identity …` and `whoami`."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import quote_part
from plugvisor.cli.moments import read_future, show_time
from plugvisor.cli.output import format_table, make_printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def run_add(arguments: argparse.Namespace) -> int:
    """Add an identity; its token is all that standard output gets."""
    body: dict[str, object] = {"name": arguments.name, "role": arguments.role}
    if arguments.plugins:
        body["plugins"] = [pattern for given in arguments.plugins for pattern in given.split(",")]
    if arguments.expires:
        body["expires_at"] = read_future("--expires", arguments.expires)
    _show_token(Client.from_env(os.environ).call("POST", "/identities", body), "is added; its token is shown this once")
    return 0


def run_rotate(arguments: argparse.Namespace) -> int:
    """Replace a token; the new one is all that standard output gets."""
    answer = Client.from_env(os.environ).call("POST", f"{_path_of(arguments.name)}/rotate")
    what = "code" if arguments.name == "admin" else "token"
    _show_token(answer, f"has a new {what}, shown this once")
    if arguments.name == "admin":
        print("it applies until another one is configured; commands need it as PLUGVISOR_TOKEN", file=sys.stderr)
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Remove an identity."""
    Client.from_env(os.environ).call("DELETE", _path_of(arguments.name))
    print(f"{arguments.name!r} is removed; its token is no longer valid", file=sys.stderr)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """List the identities, without their tokens."""
    answer = Client.from_env(os.environ).call("GET", "/identities")
    if arguments.json:
        print(json.dumps(answer))
        return 0
    rows = [("NAME", "ROLE", "PLUGINS", "EXPIRES", "ADDED", "BY")]
    rows += [
        (
            identity["name"],
            identity["role"],
            _show_plugins(identity),
            _show_expiry(identity),
            _show_optional_time(identity, "created_at", "-"),
            make_printable(identity.get("created_by", "-")),
        )
        for identity in answer["identities"]
    ]
    print(format_table(rows))
    return 0


def run_whoami(arguments: argparse.Namespace) -> int:
    """Show whose token this is."""
    identity = Client.from_env(os.environ).call("GET", "/whoami")
    print(json.dumps(identity) if arguments.json else _describe(identity))
    return 0


def _path_of(name: str) -> str:
    return f"/identities/{quote_part(name)}"


def _show_token(issued: Mapping[str, Any], what_happened: str) -> None:
    """Print a token that was just issued."""
    print(f"{issued['name']!r} {what_happened}", file=sys.stderr)
    print(_describe(issued), file=sys.stderr, flush=True)
    print(make_printable(issued["token"]), flush=True)


def _describe(identity: Mapping[str, Any]) -> str:
    """An identity, and what it may change, in one line."""
    plugins = f", plugins {_show_plugins(identity)}" if identity["plugins"] != ["*"] else ""
    until = _show_optional_time(identity, "expires_at", "")
    words = f"{identity['name']}: role {identity['role']}{plugins}{f', until {until}' if until else ''}"
    return make_printable(words)


def _show_expiry(identity: Mapping[str, Any]) -> str:
    if "expires_at" not in identity:
        return "never"
    has_expired = datetime.fromisoformat(identity["expires_at"]).timestamp() <= time.time()
    return show_time(identity["expires_at"]) + (", expired" if has_expired else "")


def _show_plugins(identity: Mapping[str, Any]) -> str:
    return make_printable(" ".join(identity["plugins"]))


def _show_optional_time(identity: Mapping[str, Any], name: str, absent: str) -> str:
    return show_time(identity[name]) if name in identity else absent
