"""The environment variables that are settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Variable(NamedTuple):
    """An environment variable, as the documentation and `--help` show it."""

    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable("PLUGVISOR_HOST", "127.0.0.1", "address that HTTP listens on, or `unix:///path` for a Unix socket"),
    Variable("PLUGVISOR_PORT", "48916", "port that HTTP listens on"),
    Variable("PLUGVISOR_URL", "http://<host>:<port>", "address that clients use, commands too, shown at the start"),
    Variable(
        "PLUGVISOR_HOSTS", "none", "comma-separated hosts that clients can name: name[:port], *.domain, or * for any"
    ),
    Variable("PLUGVISOR_PLUGINS_DIR", "plugins", "folder with one folder per plugin"),
    Variable("PLUGVISOR_INSTALL_DIR", "the plugins folder, if it is writable", "folder that plugins are installed in"),
    Variable("PLUGVISOR_PACKAGE_MB", "200", "largest package that can be installed, in megabytes"),
    Variable("PLUGVISOR_BUILD_SECONDS", "600", "how long making the environment of a plugin may take"),
    Variable("PLUGVISOR_RUN_DIR", "a per-user runtime folder", "sockets, pid file and generated programs"),
    Variable("PLUGVISOR_LOG_DIR", "<run_dir>/log", "one log file per plugin, rotated"),
    Variable(
        "PLUGVISOR_STATE_DIR",
        "$XDG_STATE_HOME/plugvisor",
        "what is remembered: the file plugvisor.db; with two users /var/lib/plugvisor",
    ),
    Variable("PLUGVISOR_REMEMBER", "true", "whether starts and stops outlive a restart of supervisord"),
    Variable("PLUGVISOR_JOURNAL_DAYS", "30", "how long the journal is kept"),
    Variable("PLUGVISOR_JOURNAL_MB", "100", "how large the journal may be"),
    Variable("PLUGVISOR_ADMIN_CODE", "random", "code of the identity `admin`"),
    Variable("PLUGVISOR_ADMIN_CODE_FILE", "none", "file that contains the admin code"),
    Variable("PLUGVISOR_CORS_ORIGINS", "none", "comma-separated origins of front ends elsewhere"),
    Variable("PLUGVISOR_READ_AUTH", "open", "who can read what is public: `open` for everyone, or `viewer`"),
    Variable("PLUGVISOR_METRICS_AUTH", "viewer", "who can read `GET /metrics`: `viewer`, or `none` for everyone"),
    Variable("PLUGVISOR_WEBHOOKS", "none", "comma-separated URLs that get a message when a plugin is in trouble"),
    Variable("PLUGVISOR_WEBHOOK_SECRET_FILE", "none", "file that contains the secret that signs webhooks"),
    Variable("PLUGVISOR_TOKEN", "none", "for commands: the token of an identity; without it, the admin code"),
    Variable("PLUGVISOR_TOKEN_FILE", "none", "for commands: file that contains the token"),
    Variable("PLUGVISOR_DIALECT", "none", "what the API is adapted to: `neko`, an existing plugin host's front end"),
    Variable("PLUGVISOR_PAGE_DIR", "the built-in page", "folder of another front end, served at `/ui/`"),
    Variable("PLUGVISOR_RUNNER", "built in", "command that runs an `entry`; can use {entry}, {id} and {dir}"),
    Variable("PLUGVISOR_SUPERVISOR_URL", "unix://<run_dir>/supervisor.sock", "where supervisord listens"),
    Variable("PLUGVISOR_SERVICE_USER", "none", "as root: the user that runs the service"),
    Variable("PLUGVISOR_PLUGIN_USER", "none", "as root: the user that runs the plugins"),
    Variable("PLUGVISOR_ENGINE", "supervisord", "what runs the plugins: `supervisord` on this machine, or `swarm`"),
    Variable("PLUGVISOR_NAME", "plugvisor", "swarm: name of this Plugvisor; each of several in a swarm needs its own"),
    Variable(
        "PLUGVISOR_DOCKER_HOST", "unix:///var/run/docker.sock", "swarm: comma-separated managers, unix:// or tcp://"
    ),
    Variable("PLUGVISOR_DOCKER_CERTS", "none", "swarm: folder with ca.pem, cert.pem and key.pem for tcp://"),
    Variable("PLUGVISOR_REGISTRY", "none", "swarm: registry that images of plugins are pushed to"),
    Variable("PLUGVISOR_REGISTRY_AUTH_FILE", "none", "swarm: file that contains user:password for the registry"),
    Variable("PLUGVISOR_IMAGE", "the service's own", "swarm: image that plugins run in, or that theirs are made from"),
    Variable(
        "PLUGVISOR_NETWORK", "none", "swarm: network that plugins join, for their checks; `host` is the nodes' own"
    ),
    Variable("PLUGVISOR_LOG_TO_STDOUT", "false", "also write all logs to standard output"),
    Variable("PLUGVISOR_LOG_FORMAT", "text", "of the service's own log and of standard output: `text` or `json`"),
)

_PREFIX = "PLUGVISOR_"
INTERNAL_VARIABLES = {
    f"{_PREFIX}{name}"
    for name in (
        "PYTHON",
        "PROGRAMS",
        "MINFDS",
        "CTL_URL",
        "CTL_USERNAME",
        "CTL_PASSWORD",
        "PLUGIN",
        "DATA_DIR",
        "DEV_FOLDER",
    )
}
"""Variables that Plugvisor's own processes pass to each other."""


def find_unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting and is none; no value is repeated."""
    known = [variable.name for variable in VARIABLES]
    sentences = []
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known and name not in INTERNAL_VARIABLES:
            import difflib  # noqa: PLC0415 - only for what is misspelt

            near = difflib.get_close_matches(
                name.removeprefix(_PREFIX), [other.removeprefix(_PREFIX) for other in known], 1
            )
            hint = f"; did you mean {_PREFIX}{near[0]}?" if near else ""
            sentences.append(f"the variable {name} is unknown and ignored{hint}")
    return sentences
