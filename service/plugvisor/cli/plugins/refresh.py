"""`plugvisor refresh`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from plugvisor.cli.client import Client
from plugvisor.cli.output import make_printable

if TYPE_CHECKING:
    import argparse

TIMEOUT_SECONDS = 300.0
"""A plugin that is gone is stopped first."""


def run_refresh(arguments: argparse.Namespace) -> int:
    """Look for new, changed and removed plugins."""
    client = Client.from_env(os.environ)
    found = client.call("POST", "/plugins/refresh", timeout_seconds=TIMEOUT_SECONDS)
    if arguments.json:
        print(json.dumps(found))
        return 0
    kinds = [kind for kind in ("added", "changed", "removed", "invalid") if found[kind]]
    for kind in kinds:
        print(f"{kind}: {', '.join(map(make_printable, found[kind]))}")
    if not kinds:
        print("nothing has changed")
    if invalid := set(found["invalid"]):
        for plugin in client.call("GET", "/plugins")["plugins"]:
            if plugin["id"] in invalid and "detail" in plugin:
                print(f"{make_printable(plugin['id'])}: {make_printable(plugin['detail'])}")
    return 0
