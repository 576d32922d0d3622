"""Requests that the service suggests in an error, as commands."""

from __future__ import annotations

import re

_COMMANDS = (
    (r"GET /plugins lists", "`plugvisor ls` lists"),
    (r"POST /plugins/refresh finds", "`plugvisor refresh` finds"),
    (r"GET /identities lists", "`plugvisor identity list` lists"),
    (r"GET /operations lists", "`plugvisor operations` (or with `--plugin ID`) lists"),
    (r"POST /identities/(\S+)/rotate makes", r"`plugvisor identity rotate \1` makes"),
    (r"POST /plugin/(\S+)/enable lifts", r"`plugvisor enable \1` lifts"),
)


def name_commands(words: str) -> str:
    """Replace the requests in an error's words by the commands that send them."""
    for request, command in _COMMANDS:
        words = re.sub(f"(?<=; ){request}|(?<=, ){request}", command, words)
    return words
