"""The verbs that follow what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.cli.verbs.verb import ASK, FOLLOW, JSON_LINES, PATTERN, Verb

if TYPE_CHECKING:
    from plugvisor.cli.verbs.verb import Argument

LEVELS = ("TRACE", "DEBUG", "INFO", "NOTICE", "SUCCESS", "WARNING", "ERROR", "CRITICAL", "FATAL")
_IDS: Argument = (
    "plugin_ids",
    {"metavar": "ID", "nargs": "*", "help": f"{PATTERN}; default: all plugins"},
)

VERBS = (
    Verb(
        "logs",
        "streams.logs:run_logs",
        "show what plugins print",
        """\
Print the newest lines of the logs of plugins, of several by time, each line with its plugin's id. With --follow,
also print each new line until Ctrl-C, across restarts of the plugins and of the service. The id _server is the
service's own log. On a terminal the colours of plugins are kept; all else that could control it is escaped.""",
        ASK,
        [
            _IDS,
            (FOLLOW, {"action": "store_true", "help": "then print new lines as they come"}),
            (
                "-n --lines",
                {"metavar": "N", "type": int, "default": 100, "help": "the newest N lines of each log; default: 100"},
            ),
            (
                "--level",
                {
                    "metavar": "LEVEL",
                    "type": str.upper,
                    "choices": LEVELS,
                    "help": f"lines of this level only: {', '.join(map(str.lower, LEVELS))}",
                },
            ),
            ("--search", {"metavar": "TEXT", "help": "lines that contain this only, in any case"}),
            (
                "--since",
                {"metavar": "WHEN", "help": "of what is there already, not older than this: 10m, or 2026-12-31T18:00"},
            ),
            JSON_LINES,
        ],
    ),
    Verb(
        "top",
        "streams.top:run_top",
        "show what plugins use",
        """\
Show the CPU and memory of plugins, refreshed every two seconds, until q or Ctrl-C; c, m and i sort it. 100 % CPU is
one core. If the output is no terminal, or with --once or --json, show it once. Not on a swarm.""",
        ASK,
        [
            _IDS,
            ("--sort", {"choices": ("cpu", "memory", "id"), "default": "cpu", "help": "default: cpu"}),
            ("--once", {"action": "store_true", "help": "print it once"}),
            ("--json", {"action": "store_true", "help": "print JSON, once"}),
        ],
    ),
    Verb(
        "events",
        "streams.events:run_events",
        "show each change as it happens",
        """\
Print each change of a plugin as a line: the time, the plugin, its status before and after, and why. Follows until
Ctrl-C, across restarts of the service. `plugvisor journal` prints what happened before.""",
        ASK,
        [_IDS, JSON_LINES],
    ),
    Verb(
        "journal",
        "streams.journal:run_journal",
        "show what has happened, and who did it",
        """\
Print the newest entries of the journal, oldest first. With --follow, also print each new one until Ctrl-C,
across restarts of the service.""",
        ASK,
        [
            (
                "--plugin",
                {
                    "metavar": "ID",
                    "action": "append",
                    "help": f"about this plugin only: {PATTERN}; can be repeated",
                },
            ),
            (
                "--kind",
                {"metavar": "KIND", "action": "append", "help": "of one kind only, such as operation; can be repeated"},
            ),
            ("--since", {"metavar": "WHEN", "help": "not older than this: 1h, 2d, or 2026-12-31T18:00"}),
            (
                "-n --lines --limit",
                {"metavar": "N", "type": int, "default": 100, "help": "the newest N only; default: 100"},
            ),
            (FOLLOW, {"action": "store_true", "help": "then print new entries as they come"}),
            JSON_LINES,
        ],
    ),
)
