"""`plugvisor refresh`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from plugvisor.cli.client import Client
from plugvisor.cli.output import make_printable, print_error

if TYPE_CHECKING:
    import argparse

LONGEST_REFRESH_SECONDS = 330.0
"""Plugins whose folders are gone are stopped meanwhile."""


def run_refresh(arguments: argparse.Namespace) -> int:
    """Have the service read the plugins folder again, and say what has changed."""
    client = Client.from_env(os.environ)
    answer = client.call("POST", "/plugins/refresh", timeout_seconds=LONGEST_REFRESH_SECONDS)
    if arguments.json:
        print(json.dumps(answer))
        return 1 if answer["invalid"] else 0
    if not any(answer.values()):
        print("nothing has changed")
        return 0
    plugins = {plugin["id"]: plugin for plugin in client.call("GET", "/plugins")["plugins"]}
    for plugin_id in answer["added"]:  # what supervisorctl has started runs already
        status = plugins.get(plugin_id, {}).get("status", "stopped")
        print(make_printable(f"{plugin_id}: added, {'not started' if status == 'stopped' else status}"))
    for plugin_id in answer["changed"]:
        print(make_printable(f"{plugin_id}: changed; its next start or reload applies it"))
    for plugin_id in answer["removed"]:
        print(make_printable(f"{plugin_id}: removed"))
    for plugin_id in answer["invalid"]:
        detail = plugins.get(plugin_id, {}).get("detail", "its manifest is invalid")
        print_error(make_printable(f"{plugin_id}: {detail}", sys.stderr.encoding))
    return 1 if answer["invalid"] else 0
