"""`plugvisor top`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from plugvisor.cli.client import Client
from plugvisor.cli.output import can_redraw, format_table
from plugvisor.cli.plugins.matching import match_ids
from plugvisor.cli.streams.usage import COLUMNS, read_usage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def run_top(arguments: argparse.Namespace) -> int:
    """Show what plugins use: on a terminal again and again, else once."""
    client = Client.from_env(os.environ)

    def choose(known: Sequence[str]) -> Sequence[str]:
        return match_ids(arguments.plugin_ids, known) if arguments.plugin_ids else known

    if not (arguments.once or arguments.json) and sys.stdin.isatty() and can_redraw():
        from plugvisor.cli.streams.screen import show_live  # noqa: PLC0415 - it imports rich

        return show_live(client, choose, arguments.sort)
    reading = read_usage(client, choose, arguments.sort)
    if arguments.json:
        print(json.dumps(reading.answer))
        return 0
    print(format_table([COLUMNS, *(row.show() for row in reading.rows)]))
    return 0
