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
_WORDS = {
    "added": "added, not started",
    "changed": "changed; its next start or reload applies it",
    "removed": "removed",
}


def run_refresh(arguments: argparse.Namespace) -> int:
    """Have the service read the plugins folder again, and say what has changed."""
    client = Client.from_env(os.environ)
    answer = client.call("POST", "/plugins/refresh", timeout_seconds=LONGEST_REFRESH_SECONDS)
    if arguments.json:
        print(json.dumps(answer))
        return 1 if answer["invalid"] else 0
    for key, words in _WORDS.items():
        for plugin_id in answer[key]:
            print(f"{make_printable(plugin_id)}: {words}")
    if answer["invalid"]:
        details = {plugin["id"]: plugin.get("detail", "") for plugin in client.call("GET", "/plugins")["plugins"]}
        for plugin_id in answer["invalid"]:
            print_error(make_printable(f"{plugin_id}: {details.get(plugin_id, '')}", sys.stderr.encoding))
        return 1
    if not any(answer.values()):
        print("nothing has changed")
    return 0
