"""`plugvisor schema`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from plugvisor.models.manifest_schema import render_schema

if TYPE_CHECKING:
    import argparse


def run_schema(_arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of `plugin.toml`."""
    sys.stdout.write(render_schema().decode())
    return 0
