"""The verbs for the authors of plugins, and for setting a machine up."""

from __future__ import annotations

from plugvisor.cli.verbs.verb import JSON, Verb
from plugvisor.variables import VARIABLES

VERBS: tuple[Verb, ...] = (
    Verb(
        "doctor",
        "doctor.doctor:run_doctor",
        "find out what is wrong with this machine",
        """\
Check the installation, the folders, the address, the versions, the limits, the manifests and, on a swarm, Docker, and
say what to do. Nothing is changed and nothing started; a service that runs is asked. Exit status 1 if there is a
problem; warnings alone are no problem.""",
        tuple(variable.name for variable in VARIABLES),
        [JSON],
    ),
    Verb(
        "schema",
        "authors.schema:run_schema",
        "print the JSON Schema of plugin.toml",
        """\
Print the JSON Schema (draft-07) of plugin.toml, with which editors complete and check it. A running service has the
same at GET /schemas/plugin.toml.json.""",
    ),
    Verb(
        "dev",
        "dev.dev:run_dev",
        "run one plugin in this terminal, and reload it at each save",
        """\
Run the plugin in a folder, with a Plugvisor of its own in temporary folders and at a free port of this machine alone.
Its log is printed here, and it is reloaded when one of its files changes, whatever its manifest says of that. Keys: r
reloads it, b asks and puts the files back as they were when the plugin was ready last, q or Ctrl-C ends everything.""",
        ("PLUGVISOR_RUNNER",),
        [
            ("folder", {"metavar": "FOLDER", "help": "the plugin's folder"}),
            ("--with", {"dest": "others", "metavar": "DIR", "help": "a folder of plugins that it may depend on"}),
            ("--port", {"type": int, "default": 0, "metavar": "N", "help": "the service's port; default: a free one"}),
        ],
    ),
)
