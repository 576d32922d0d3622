"""The verbs that run Plugvisor, and those that ask it what happens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.verbs.verb import ASK, JSON, Verb
from plugvisor.variables import VARIABLES

if TYPE_CHECKING:
    from plugvisor.cli.verbs.verb import Argument

_SERVICE = tuple(variable.name for variable in VARIABLES if not variable.meaning.startswith("for commands:"))
_RENDER = (
    "PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_RUN_DIR", "PLUGVISOR_LOG_DIR", "PLUGVISOR_RUNNER", "PLUGVISOR_SERVICE_USER",
    "PLUGVISOR_PLUGIN_USER", "PLUGVISOR_INSTALL_DIR", "PLUGVISOR_LOG_TO_STDOUT", "PLUGVISOR_STATE_DIR",
    "PLUGVISOR_REMEMBER", "PLUGVISOR_ENGINE",
)  # fmt: skip

_IDENTITY: Argument = ("name", {"metavar": "NAME", "help": "the identity's name"})

VERBS = (
    Verb(
        "up",
        "supervised:run_up",
        "start supervisord, the plugins and the service",
        """\
Write the program of every plugin, then become supervisord, in the foreground, which starts the plugins
and runs the service as one more program. Ctrl-C or SIGTERM stops all of it.

On a swarm (PLUGVISOR_ENGINE=swarm) there is no supervisord: this process is the service, and the plugins,
which are services of the swarm, run on when it ends.""",
        _SERVICE,
    ),
    Verb(
        "serve",
        "service:run_serve",
        "run the service alone",
        """\
Run the HTTP service in this process, against a supervisord that is there already. `plugvisor up` has
supervisord run this; by hand it is for a supervisord of your own that has Plugvisor's extension and includes
<run_dir>/conf.d/*.conf (`plugvisor render` writes them). It recovers when that supervisord is restarted.
On a swarm it is the service as `plugvisor up` runs it, and prints less.""",
        _SERVICE,
    ),
    Verb(
        "render",
        "manifests:run_render",
        "only write the program files",
        """\
Write the supervisord program of every plugin into <run_dir>/conf.d and <run_dir>/launch, and which of
them supervisord is to start, and nothing else. A running supervisord takes them over with `plugvisor
ctl update`. Exit status 1 if a manifest is invalid.""",
        _RENDER,
    ),
    Verb(
        "check",
        "manifests:run_check",
        "check the manifests in a folder",
        """\
Say of each plugin whether its manifest is valid, and if not why, with file and line. Exit status 1
if any is invalid.""",
        ("PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_INSTALL_DIR", "PLUGVISOR_RUNNER"),
        [("dir", {"nargs": "?", "help": "the folder of a plugin, or of plugins; default: the plugins folder"})],
    ),
    Verb(
        "health",
        "health:run_health",
        "ask whether the service answers",
        """\
Ask the service whether it is available. Exit status 0 if it is, 1 if it does not answer, or cannot
reach supervisord. On a swarm an answer is enough: a service that reaches no manager would be no better elsewhere.""",
        ("PLUGVISOR_HOST", "PLUGVISOR_PORT", "PLUGVISOR_ENGINE"),
    ),
    Verb(
        "run",
        "supervised:run_plugin",
        "run one plugin in this terminal",
        """\
Run one plugin in this terminal, with the directory, the arguments and the environment that supervisord
gives it. supervisord does not know of it. As root, if two users are set, it runs as the plugins' user.
Not on a swarm.""",
        ("PLUGVISOR_RUN_DIR", "PLUGVISOR_SERVICE_USER", "PLUGVISOR_PLUGIN_USER", "PLUGVISOR_ENGINE"),
        [
            ("plugin_id", {"metavar": "ID", "nargs": "?", "help": "the plugin's id"}),
            ("--file", {"type": Path, "help": "its launch file, instead of the id"}),
        ],
    ),
    Verb(
        "ctl",
        "supervised:run_ctl",
        "run supervisorctl",
        """\
Run supervisorctl against the right socket, with the arguments given: status, start, stop, restart,
tail -f, reread, update, help …; without any, its shell opens. On a swarm use `docker service`.""",
        ("PLUGVISOR_RUN_DIR", "PLUGVISOR_SUPERVISOR_URL", "PLUGVISOR_ENGINE"),
        [("arguments", {"nargs": argparse.REMAINDER, "help": "supervisorctl's own, such as: status"})],
    ),
    Verb(
        "identity add",
        "identities:run_add",
        "add an identity and print its token",
        """\
Add an identity to the running service. Its token is printed on standard output, this once, and all else on
standard error: TOKEN=$(plugvisor identity add NAME --role viewer).""",
        ASK,
        [
            _IDENTITY,
            ("--role", {"required": True, "choices": ("viewer", "operator", "admin"), "help": "what it may do"}),
            (
                "--plugins",
                {
                    "action": "append",
                    "metavar": "PATTERN",
                    "help": "of the plugins that it may change, such as 'web-*'; can be repeated",
                },
            ),
            ("--expires", {"metavar": "WHEN", "help": "90d, 12h, or the beginning of a day: 2026-12-31"}),
        ],
    ),
    Verb(
        "identity list",
        "identities:run_list",
        "list the identities",
        "List the identities of the running service, without their tokens.",
        ASK,
        [JSON],
    ),
    Verb(
        "identity remove",
        "identities:run_remove",
        "remove an identity",
        "Remove an identity from the running service. Its token is invalid at once, and its streams end.",
        ASK,
        [_IDENTITY],
    ),
    Verb(
        "identity rotate",
        "identities:run_rotate",
        "give an identity a new token",
        """\
Replace the token of an identity by a new one, which is printed on standard output, this once. NAME `admin`
is the admin code, until another one is configured.""",
        ASK,
        [_IDENTITY],
    ),
    Verb(
        "whoami",
        "identities:run_whoami",
        "show whose token the command uses",
        "Ask the running service whose token this is, and what it may do.",
        ASK,
        [JSON],
    ),
    Verb(
        "completion",
        "parsing.completion:run_completion",
        "complete the command in a shell",
        """\
Print what has a shell complete commands, options and the ids of plugins. In bash: eval "$(plugvisor completion bash)";
in zsh the same after compinit; in fish: plugvisor completion fish | source.""",
        (),
        [("shell", {"metavar": "SHELL", "choices": ("bash", "zsh", "fish"), "help": "bash, zsh or fish"})],
    ),
)
