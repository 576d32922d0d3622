"""The verbs that list plugins, and start and stop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.cli.verbs.verb import ASK, JSON, Verb

if TYPE_CHECKING:
    from plugvisor.cli.verbs.verb import Argument

_IDS: Argument = ("plugin_ids", {"metavar": "ID", "nargs": "*", "help": "an id, or a pattern such as 'web-*'"})
_WATCH: Argument = (
    "-w --watch",
    {"action": "store_true", "help": "keep it current until Ctrl-C; if the output is no terminal, a line a change"},
)

VERBS = (
    Verb(
        "ls",
        "plugins.listing:run_ls",
        "list the plugins",
        """\
List the plugins with their status, health, uptime and restarts, and what they use: 100 % CPU is one core. On a swarm
with the nodes that they run on. What the token may not read is a hyphen.""",
        ASK,
        [_IDS, _WATCH, JSON],
    ),
    Verb(
        "status",
        "plugins.listing:run_status",
        "show the status of plugins",
        """\
Show the status of a plugin, of several, or of all, and why it is so; on a swarm with their tasks: replica, node,
state, and why they do not run.""",
        ASK,
        [_IDS, _WATCH, JSON],
    ),
    Verb(
        "nodes",
        "plugins.nodes:run_nodes",
        "list the machines that plugins run on",
        "List the nodes of the swarm with their state, their role and the plugins that run there; without a swarm, "
        "this machine.",
        ASK,
        [JSON],
    ),
)
