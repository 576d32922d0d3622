"""`plugvisor uninstall`."""

from __future__ import annotations

import os
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import make_query, quote_part
from plugvisor.cli.output import make_printable, print_notice
from plugvisor.cli.packages.install import report
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence


def run_uninstall(arguments: argparse.Namespace) -> int:
    """Remove a plugin, after it was said what that means."""
    client = Client.from_env(os.environ)
    plugin_id = arguments.plugin_id
    plan = _make_plan(client, arguments)
    if not arguments.yes and not _ask(plugin_id, plan):
        print_notice("nothing was removed")
        return 1
    query = {name: "true" for name in ("purge", "dependents") if getattr(arguments, name)}
    operation = client.call("DELETE", f"/plugin/{quote_part(plugin_id)}{make_query({**query, 'wait': '0'})}")
    return report(client, operation, arguments, ", with its data" if arguments.purge else "; its data is kept")


def _make_plan(client: Client, arguments: argparse.Namespace) -> Sequence[str]:
    """The steps of a removal, in clauses without a subject."""
    plugin_id = arguments.plugin_id
    try:
        versions = client.call("GET", f"/plugin/{quote_part(plugin_id)}/versions")
    except CommandRejected as error:
        if error.status == HTTPStatus.NOT_FOUND and arguments.purge:
            return ["removes the data that it has left, if there is any"]
        raise
    if not versions["installed"]:
        raise CommandRejected(
            f"cannot remove {plugin_id!r}: it was put there by hand; stop it, and remove its folder",
            HTTPStatus.CONFLICT,
        )
    requiring = _find_requiring(client.call("GET", "/plugins")["plugins"], plugin_id)
    plan = []
    names_and_verb = f"{_join(requiring)}, which {'requires' if len(requiring) == 1 else 'require'} it"
    if requiring and arguments.dependents:
        plan.append(f"first stops {names_and_verb}")
    elif requiring:
        plan.append(f"does not stop {names_and_verb}, without --dependents")
    plan.append(f"stops {plugin_id}, if it runs")
    names = [version["version"] or version["sha256"][:12] for version in versions["versions"]]
    plan.append(f"removes {'its version' if len(names) == 1 else 'its versions'} {_join(names)}")
    plan.append("removes its data" if arguments.purge else "keeps its data; --purge removes it too")
    return plan


def _find_requiring(plugins: Sequence[Mapping[str, Any]], plugin_id: str) -> list[str]:
    """The ids of the plugins with a process that require this one, directly or not."""
    found = {plugin_id}
    while True:
        more = {plugin["id"] for plugin in plugins if found & set(_list_required(plugin))} - found
        if not more:
            break
        found |= more
    return sorted(
        plugin["id"]
        for plugin in plugins
        if plugin["id"] in found - {plugin_id} and plugin["status"] in ("starting", "running", "stopping")
    )


def _list_required(plugin: Mapping[str, Any]) -> Iterator[str]:
    return (dependency["id"] for dependency in plugin["depends_on"] if dependency["required"])


def _join(names: Sequence[str]) -> str:
    printable = [make_printable(name, sys.stderr.encoding) for name in names]
    return " and ".join(filter(None, [", ".join(printable[:-1]), *printable[-1:]]))


def _ask(plugin_id: str, plan: Sequence[str]) -> bool:
    """Say what will be done, and ask whether that is meant."""
    print(f"This {'; '.join(plan)}.", file=sys.stderr)
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError("cannot ask, because standard input is no terminal: add --yes")
    print(f"Remove {plugin_id!r}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
