"""The verbs for packages: made by authors, installed by operators, and configured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.packages.templates import TEMPLATES
from plugvisor.cli.verbs.verb import ASK, FOLLOW, JSON, PATTERN, Verb

if TYPE_CHECKING:
    from plugvisor.cli.verbs.verb import Argument

_ID: Argument = ("plugin_id", {"metavar": "ID", "help": "the plugin's id"})
_PACKAGE: Argument = (
    "package",
    {
        "metavar": "PACKAGE",
        "type": Path,
        "help": "a .zip or .tar.gz, - for standard input, or a plugin's folder, which is packed first",
    },
)
_SHA256: Argument = (
    "--sha256",
    {"metavar": "DIGEST", "help": "what the file must have, else nothing is installed"},
)
_NO_WAIT: Argument = ("--no-wait", {"action": "store_true", "help": "print the operation's id, and do not follow it"})
_RELOAD: Argument = ("--reload", {"action": "store_true", "help": "then reload the plugin, so that it applies"})
_FOLLOWS = """\
It is followed until it has ended; the first Ctrl-C cancels it. Exit status 1 if it fails."""

VERBS = (
    Verb(
        "install",
        "packages.install:run_install",
        "install a plugin",
        f"""\
Send a package to the running service, which unpacks and checks it, makes the environment of its requirements
and installs it. {_FOLLOWS}""",
        ASK,
        [
            _PACKAGE,
            ("--start", {"action": "store_true", "help": "start it, and wait until it is running"}),
            ("--replace", {"action": "store_true", "help": "if it is installed, update it"}),
            _SHA256,
            _NO_WAIT,
            JSON,
        ],
    ),
    Verb(
        "update",
        "packages.install:run_update",
        "update a plugin that is installed",
        f"""\
Send another version of a plugin to the running service. If it runs, it is restarted with the new version; if
that does not start, the version before takes its place again, and the exit status is 1. {_FOLLOWS}""",
        ASK,
        [
            _ID,
            _PACKAGE,
            ("--start", {"action": "store_true", "help": "start it if it does not run"}),
            _SHA256,
            _NO_WAIT,
            JSON,
        ],
    ),
    Verb(
        "rollback",
        "packages.install:run_rollback",
        "go back to a plugin's previous version",
        f"""\
Make the version before the current one current; a plugin that runs is restarted. A second rollback leads to
where the first one began. {_FOLLOWS}""",
        ASK,
        [_ID, _NO_WAIT, JSON],
    ),
    Verb(
        "uninstall",
        "packages.uninstall:run_uninstall",
        "remove a plugin that was installed",
        f"""\
Say what will be done, ask, then stop the plugin and remove its versions. What it has written into its data folder
is kept. {_FOLLOWS}""",
        ASK,
        [
            _ID,
            ("--purge", {"action": "store_true", "help": "remove its data, too"}),
            ("--dependents", {"action": "store_true", "help": "stop the plugins that require it first"}),
            ("--yes", {"action": "store_true", "help": "do not ask"}),
            _NO_WAIT,
            JSON,
        ],
    ),
    Verb(
        "versions",
        "packages.versions:run_versions",
        "list the versions of a plugin that are installed",
        "List the versions of a plugin that are installed: which is current, and where each has come from.",
        ASK,
        [_ID, JSON],
    ),
    Verb(
        "operations",
        "packages.versions:run_operations",
        "list what is and was installed, updated and removed",
        """\
List the operations that are under way or were done, the newest first. With an ID, show one with its log; with
--follow, until it has ended.""",
        ASK,
        [
            ("operation_id", {"metavar": "ID", "nargs": "?", "help": "of an operation"}),
            (
                "--plugin",
                {
                    "metavar": "ID",
                    "action": "append",
                    "help": f"list those of this plugin only: {PATTERN}; can be repeated",
                },
            ),
            (FOLLOW, {"action": "store_true", "help": "show it until it has ended"}),
            ("--cancel", {"action": "store_true", "help": "cancel it first"}),
            JSON,
        ],
    ),
    Verb(
        "new",
        "packages.new:run_new",
        "make the folder of a new plugin",
        """\
Make a folder with a plugin that works, to begin with, and a test of it. Its plugin.toml names a JSON Schema beside it,
by which editors complete and check it; neither that file nor the test is packed.""",
        (),
        [
            _ID,
            ("--template", {"choices": tuple(TEMPLATES), "default": "python", "help": "what it is; default: python"}),
            ("--into", {"metavar": "FOLDER", "type": Path, "default": Path(), "help": "where; default: here"}),
        ],
    ),
    Verb(
        "pack",
        "packages.pack:run_pack",
        "make a package of a plugin's folder",
        """\
Make a .zip of a plugin's folder, the same each time, byte for byte. Version control, caches, environments and what
the file .plugvisorignore names are left out. What could not be installed is not packed.""",
        (),
        [
            ("folder", {"metavar": "FOLDER", "type": Path, "help": "the folder with the plugin.toml"}),
            ("-o --output", {"metavar": "FILE", "type": Path, "help": "the package; default: ID-VERSION.zip, here"}),
            JSON,
        ],
    ),
    Verb(
        "config get",
        "packages.config:run_get",
        "print a plugin's manifest",
        "Print the manifest of a plugin as it is on the service's machine.",
        ASK,
        [
            _ID,
            ("--earlier", {"metavar": "N", "type": int, "help": "the text that was replaced, 1 being the last one"}),
            ("--json", {"action": "store_true", "help": "print JSON: the manifest parsed, with its etag"}),
        ],
    ),
    Verb(
        "config set",
        "packages.config:run_set",
        "replace a plugin's manifest",
        """\
Replace the manifest of a plugin by a file. The whole is validated first; if it is invalid, nothing changes. The
ten manifests before are kept.""",
        ASK,
        [
            _ID,
            ("file", {"metavar": "FILE", "type": Path, "help": "the new text; - is standard input"}),
            ("--if-match", {"metavar": "ETAG", "help": "only if the manifest is still this one"}),
            _RELOAD,
            JSON,
        ],
    ),
    Verb(
        "config edit",
        "packages.edit:run_edit",
        "edit a plugin's manifest",
        """\
Open the manifest of a plugin in $VISUAL or $EDITOR, and replace it by what you save. If that is invalid, the editor
opens again with the reason at the top, until it is valid; empty the file, or save it as it is, to give up. If somebody
else has replaced the manifest meanwhile, their change is shown, and you decide. A text that was not used is kept.""",
        ASK,
        [_ID, _RELOAD, JSON],
    ),
)
