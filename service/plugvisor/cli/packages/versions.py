"""`plugvisor versions` and `operations`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import quote_part
from plugvisor.cli.moments import show_time
from plugvisor.cli.output import format_table, make_printable
from plugvisor.cli.packages.follow import finish, follow, path_of, print_last_lines
from plugvisor.cli.packages.install import describe
from plugvisor.cli.plugins.matching import make_filter
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

_DIGEST_CHARACTERS = 12


def run_versions(arguments: argparse.Namespace) -> int:
    """List the versions of a plugin that are installed."""
    answer = Client.from_env(os.environ).call("GET", f"/plugin/{quote_part(arguments.plugin_id)}/versions")
    if arguments.json:
        print(json.dumps(answer))
        return 0
    if not answer["installed"]:
        print(f"{arguments.plugin_id!r} was put there by hand: it has no versions")
        return 0
    rows: list[tuple[str, ...]] = [("VERSION", "", "INSTALLED", "BY", "FROM", "SHA-256", "PYTHON")]
    rows += [_make_row(version) for version in answer["versions"]]
    print(format_table(rows))
    return 0


def _make_row(version: Mapping[str, Any]) -> tuple[str, ...]:
    place = "current" if version.get("current") else "previous" if version.get("previous") else ""
    python = version.get("python") or "yes" if version.get("environment") else "-"
    return (
        make_printable(version["version"] or "-"),
        place,
        show_time(version["installed_at"]),
        make_printable(version["installed_by"]),
        make_printable(version["source"] or "-"),
        version["sha256"][:_DIGEST_CHARACTERS],
        make_printable(python),
    )


def run_operations(arguments: argparse.Namespace) -> int:
    """List the operations, or show, follow or cancel one."""
    client = Client.from_env(os.environ)
    if arguments.operation_id is not None:
        return _run_one(client, arguments)
    if arguments.follow or arguments.cancel:
        raise ConfigurationError("cannot follow or cancel: name the operation; without an ID they are listed")
    answer = client.call("GET", "/operations")
    is_wanted = make_filter(arguments.plugin or ())
    chosen = [operation for operation in answer["operations"] if is_wanted(operation.get("plugin_id", ""))]
    if arguments.json:
        print(json.dumps({**answer, "operations": chosen}))
        return 0
    rows: list[tuple[str, ...]] = [("ID", "BEGUN", "VERB", "PLUGIN", "VERSION", "BY", "STATE")]
    rows += [_make_operation_row(operation) for operation in chosen]
    print(format_table(rows))
    return 0


def _make_operation_row(operation: Mapping[str, Any]) -> tuple[str, ...]:
    state = operation["state"]
    if state == "running":
        state = f"{operation['phase']}, {operation['percent']} %"
    elif operation.get("problem", {}).get("code", state) != state:
        state += f": {operation['problem']['code']}"
    return (
        operation["id"],
        show_time(operation["begun_at"]),
        operation["verb"],
        make_printable(operation.get("plugin_id", "-")),
        make_printable(operation.get("version") or "-"),
        make_printable(operation["by"]),
        make_printable(state),
    )


def _run_one(client: Client, arguments: argparse.Namespace) -> int:
    path = path_of(arguments.operation_id)
    if arguments.cancel:
        client.call("DELETE", path)
    operation = client.call("GET", path)
    if arguments.follow and operation["state"] == "running":
        operation = follow(client, operation, quiet=arguments.json)
        return finish(operation, describe(operation), as_json=arguments.json)
    if arguments.json:
        print(json.dumps(operation))
        return 0
    detail = operation.get("problem", {}).get("detail", "")
    for line in operation["log"]:
        if line != detail:
            print(f"  {make_printable(line)}")
    print_last_lines(operation.get("problem", {}), sys.stdout)
    if detail:
        print(make_printable(detail))
    print(make_printable("  ".join(_make_operation_row(operation))))
    return 0
