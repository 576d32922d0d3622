"""The verbs that build images of plugins, for a swarm."""

from __future__ import annotations

from plugvisor.cli.verbs.verb import JSON, Verb

VERBS = (
    Verb(
        "image build",
        "swarm.image:run_build",
        "build images that hold plugins",
        """\
Have the Docker Engine build an image of each plugin, from PLUGVISOR_IMAGE and the plugin's folder; with IDs, of these
alone. With --all, build one image that holds the plugins of a folder, default the plugins folder, and no others:
Plugvisor is run in it, and its plugins too. Prints each image's name and digest. Exit status 1 if a plugin cannot be
used, or an image not be built or pushed.""",
        (
            "PLUGVISOR_DOCKER_HOST", "PLUGVISOR_DOCKER_CERTS", "PLUGVISOR_REGISTRY", "PLUGVISOR_REGISTRY_AUTH_FILE",
            "PLUGVISOR_IMAGE", "PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_INSTALL_DIR", "PLUGVISOR_BUILD_SECONDS",
        ),
        [
            ("names", {"metavar": "ID|FOLDER", "nargs": "*", "help": "ids of plugins; with --all, their folder"}),
            ("--all", {"action": "store_true", "help": "one image for all plugins"}),
            ("--tag", {"metavar": "NAME", "help": "with --all: the image's name, such as plugvisor:1.0"}),
            ("--push", {"action": "store_true", "help": "push what was built"}),
            JSON,
        ],
    ),
)  # fmt: skip
