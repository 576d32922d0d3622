"""The manifest's tables about a plugin's life: its checks, dependencies, restarts and limits."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
PositiveSeconds = Annotated[float, Meta(ge=0.05, le=86_400)]
Condition = Literal["started", "ready", "completed"]
Level = Literal["ready", "alive"]
Action = Literal["none", "restart", "stop"]


# In Python, `$` alone also matches before a final line break.
_END = r"$(?!\n)"
_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])"
_PORT = "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_LONGEST_STRING = 4096
_Word = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=_LONGEST_STRING)]

_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}"
_PRE_RELEASE = "(?:(?:a|b|rc)[0-9]{1,4})?"
_CLAUSE = (
    rf" *(?:(?:==|!=) *{_NUMBER}(?:\.\*|{_PRE_RELEASE})|(?:<=|>=|<|>) *{_NUMBER}{_PRE_RELEASE}"
    rf"|~= *[0-9]{{1,4}}(?:\.[0-9]{{1,4}}){{1,3}}{_PRE_RELEASE}) *"
)
"""A part of a range of versions by PEP 440, in the forms that versions of Python have."""

_Constraint = Annotated[
    str,
    Meta(
        pattern=rf"^ *(?:node|engine)\.[A-Za-z0-9_.-]{{1,200}} *(?:==|!=) *"
        rf"[A-Za-z0-9:_.*()?+\[\]\\^$|/-][A-Za-z0-9:_.*()?+\[\]\\^$|/ -]{{0,199}}{_END}"
    ),
]

MEMORY_PATTERN = f"^[1-9][0-9]{{0,15}}[KMG]?{_END}"
"""An amount of memory as a file may have it: K, M and G are powers of 1024."""


class Check(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.checks.<name>]`: one of `http`, `tcp` and `exec`."""

    http: Annotated[
        str,
        Meta(
            pattern=rf"^https?://{_HOST}(?::{_PORT})?(?:[/?][!\"$-~]*)?{_END}",
            max_length=_LONGEST_STRING,
            description="A URL; the check passes if it answers with a status from 200 to 299.",
            extra={
                "rule": "must be an http:// or https:// URL with a host, a port from 1 to 65535 if any, "
                "and no user and password"
            },
        ),
    ] = ""
    tcp: Annotated[
        str,
        Meta(
            pattern=f"^{_HOST}:{_PORT}{_END}",
            description="`host:port`; the check passes if it accepts a connection.",
            extra={"rule": "must look like host:port, or [address]:port for IPv6, with a port from 1 to 65535"},
        ),
    ] = ""
    exec: Annotated[
        tuple[_Word, ...],
        Meta(
            min_length=1,
            extra={
                "rule": "must be a list of strings, or one string, not empty, without NUL characters "
                f"and with at most {_LONGEST_STRING} characters each"
            },
            description="A command, run as the plugin's user in its folder and with its environment; the check passes "
            "if it exits with 0.",
        ),
    ] = ()
    level: Annotated[
        Level, Meta(description="`ready`: whether the plugin can do its work. `alive`: whether it is worth keeping.")
    ] = "ready"
    period: Annotated[PositiveSeconds, Meta(description="Time from one attempt to the next, in seconds.")] = 10.0
    timeout: Annotated[PositiveSeconds, Meta(description="How long an attempt may take, in seconds.")] = 3.0
    threshold: Annotated[
        int, Meta(ge=1, le=1_000_000, description="After how many failures in a row the check is down.")
    ] = 3
    startup: Annotated[
        Seconds,
        Meta(description="How long after a start failures do not count, until the first success, in seconds."),
    ] = 30.0
    on_failure: Annotated[
        Action | None,
        Meta(description="What happens when the check goes down. Default: `restart` of `alive`, `none` of `ready`."),
    ] = None

    @property
    def action(self) -> Action:
        """The action when the check goes down."""
        return self.on_failure or ("restart" if self.level == "alive" else "none")


class Requirement(Struct, frozen=True, forbid_unknown_fields=True):
    """`[plugin_runtime.depends_on.<id>]`: another plugin, and what must be true of it before this one starts."""

    condition: Annotated[
        Condition,
        Meta(
            description="`started`: it has a process. `ready`: its `ready` checks pass, or it is RUNNING if it has "
            "none. `completed`: it has exited with an expected code."
        ),
    ] = "ready"
    required: Annotated[
        bool, Meta(description="false: only an order; this plugin starts without the other one if that is not there.")
    ] = True


class Restart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.restart]`: the time before a process that has ended is started again."""

    delay: Annotated[Seconds, Meta(description="Time before the first restart, in seconds.")] = 0.5
    factor: Annotated[
        float, Meta(ge=1, le=100, description="By what the delay is multiplied from one restart to the next.")
    ] = 2.0
    max_delay: Annotated[Seconds, Meta(description="The longest delay, in seconds.")] = 30.0
    reset_after: Annotated[
        Seconds, Meta(description="A process that has run this long is restarted after `delay` again, in seconds.")
    ] = 60.0
    max_restarts: Annotated[
        int, Meta(ge=0, le=1_000_000, description="How many restarts within `window` are made; 0: any number.")
    ] = 0
    window: Annotated[Seconds, Meta(description="The time in which restarts are counted, in seconds.")] = 600.0


class PythonRequirement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.python]`: the Python that the plugin needs."""

    version: Annotated[
        str,
        Meta(
            pattern=f"^{_CLAUSE}(?:,{_CLAUSE}){{0,9}}{_END}",
            max_length=200,
            description="A range of versions by PEP 440, such as `>=3.12`.",
            extra={"rule": "must be a range of versions by PEP 440, such as >=3.12"},
        ),
    ] = ""


class Placement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.placement]`: on which nodes of a swarm the plugin runs; one machine ignores it."""

    constraints: Annotated[
        tuple[_Constraint, ...],
        Meta(
            max_length=50,
            description="What must be true of a node, in Docker's words, such as `node.labels.gpu == true`.",
            extra={"rule": "must be a list of constraints such as node.role == worker, with `==` or `!=`"},
        ),
    ] = ()
    max_per_node: Annotated[
        int, Meta(ge=0, le=10_000, description="How many replicas a node may run; 0: any number.")
    ] = 0


class Limits(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.limits]`: of the whole process tree; 0 is no limit."""

    memory: Annotated[
        int,
        Meta(
            ge=1,
            le=2**53,
            description="Bytes, or a string such as `512M`.",
            extra={"rule": "must be a whole number of bytes greater than 0, or a string such as 512M, with K, M or G"},
        ),
    ] = 0
    cpus: Annotated[float, Meta(ge=0.01, le=10_000, description="CPUs; 1.5 is the time of one and a half.")] = 0.0
    processes: Annotated[int, Meta(ge=1, le=1_000_000, description="Processes and threads.")] = 0
    open_files: Annotated[int, Meta(ge=1, le=1_000_000_000, description="Open files of each process.")] = 0


VariableFile = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00]+$",
        max_length=_LONGEST_STRING,
        extra={
            "rule": f"must be a path, not empty, without NUL characters and of at most {_LONGEST_STRING} characters"
        },
    ),
]


MOST_BACKUPS = 100


class LogOptions(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.logs]`: how much of the plugin's log is kept."""

    max_size: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            le=2**40,
            description="The size at which the log file is rotated: bytes, or a string such as `10M`.",
            extra={"rule": "must be a whole number of bytes from 64K to 1024G, or a string such as 10M"},
        ),
    ] = 10 * 1024 * 1024
    backups: Annotated[int, Meta(ge=0, le=MOST_BACKUPS, description="How many earlier log files are kept.")] = 3


_PathBelow = Annotated[
    str,
    Meta(
        pattern=r"^(?!/)(?!(?:[^\x00]*/)?\.\.(?:/|" + _END + r"))[^\x00]+" + _END,
        max_length=_LONGEST_STRING,
    ),
]
"""A relative path without `..`."""


WatchState = Literal["active", "incomplete", "suspended"]


class Watch(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[plugin_runtime.watch]`: reload the plugin when its files change; nothing is watched without `paths`."""

    paths: Annotated[
        tuple[_PathBelow, ...],
        Meta(
            max_length=100,
            description="The files and folders that are watched, relative to the plugin's folder.",
            extra={"rule": 'must be a list of paths below the plugin\'s folder, such as ["."]'},
        ),
    ] = ()
    ignore: Annotated[
        tuple[_Word, ...],
        Meta(
            max_length=100,
            description="What is not watched, as in .gitignore. Logs, `data/`, `.git` and caches never are.",
            extra={"rule": "must be a list of patterns as in .gitignore"},
        ),
    ] = ()
    debounce: Annotated[
        float, Meta(ge=0.05, le=60, description="How long nothing must have changed before the reload, in seconds.")
    ] = 0.3
