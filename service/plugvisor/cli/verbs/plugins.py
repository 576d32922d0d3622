"""The verbs that list and find plugins, and start and stop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.cli.verbs.verb import ASK, JSON, PATTERN, Verb

if TYPE_CHECKING:
    from plugvisor.cli.verbs.verb import Argument

_IDS: Argument = ("plugin_ids", {"metavar": "ID", "nargs": "*", "help": PATTERN})
_WATCH: Argument = (
    "-w --watch",
    {"action": "store_true", "help": "keep it current until Ctrl-C; if the output is no terminal, a line a change"},
)
_ALL: Argument = ("--all", {"action": "store_true", "help": "all plugins with which it can be done"})
_NO_WAIT: Argument = ("--no-wait", {"action": "store_true", "help": "do not wait for the end of it"})
_TIMEOUT: Argument = (
    "--timeout",
    {
        "metavar": "SECONDS",
        "type": float,
        "default": 300.0,
        "help": "how long to wait, at most and by default 300; it goes on after that",
    },
)
_ANSWERS = """\
Several are one request, in the order of their dependencies and priorities. Exit status 1 if one fails, with its reason
and the end of its log. Ctrl-C ends the waiting alone."""

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
    Verb(
        "start",
        "plugins.change:run_start",
        "start plugins",
        f"""\
Start plugins, and what they depend on, and wait until they are running, and healthy if they have ready checks.
{_ANSWERS}""",
        ASK,
        [_IDS, _ALL, _NO_WAIT, _TIMEOUT, JSON],
    ),
    Verb(
        "stop",
        "plugins.change:run_stop",
        "stop plugins",
        f"""\
Stop plugins, and wait until their processes are gone. {_ANSWERS}""",
        ASK,
        [
            _IDS,
            _ALL,
            ("--dependents", {"action": "store_true", "help": "first stop the plugins that require them"}),
            _NO_WAIT,
            _TIMEOUT,
            JSON,
        ],
    ),
    Verb(
        "reload",
        "plugins.change:run_reload",
        "read the manifests of plugins again, and restart them",
        f"""\
Read the manifests of plugins again, restart them, and wait until they are running. One that does not run is started.
{_ANSWERS}""",
        ASK,
        [_IDS, _ALL, _NO_WAIT, _TIMEOUT, JSON],
    ),
    Verb(
        "refresh",
        "plugins.refresh:run_refresh",
        "find new, changed and removed plugins",
        """\
Have the service read the plugins folder again, and say what has changed. New plugins are not started; a change of a
manifest counts at the plugin's next start or reload; a plugin whose folder is gone is stopped. Exit status 1 if a
manifest is invalid.""",
        ASK,
        [JSON],
    ),
    Verb(
        "enable",
        "plugins.change:run_enable",
        "allow that plugins are started",
        "Allow that plugins are started which were disabled. Nothing is started.",
        ASK,
        [_IDS, _ALL, JSON],
    ),
    Verb(
        "disable",
        "plugins.change:run_disable",
        "stop plugins, and keep them from being started",
        """\
Stop plugins, one after the other, and keep them from being started, at boot too. Exit status 1 if one fails. Ctrl-C
ends the waiting alone; those whose turn has not come are not changed.""",
        ASK,
        [_IDS, _ALL, _NO_WAIT, _TIMEOUT, JSON],
    ),
)
