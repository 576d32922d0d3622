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
)
