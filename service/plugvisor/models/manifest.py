"""A plugin's manifest, as typed values.

The fields declare the types, limits, defaults and descriptions of the keys of `plugin.toml` once. The reader
(`plugins/manifest.py`) validates against these declarations and words its errors from them; the JSON Schema
(`models/manifest_schema.py`) is made from them.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Literal, Self, TypedDict

from msgspec import Meta, Struct, field, json
from msgspec.structs import force_setattr

from plugvisor.models.lifecycle import (
    Check,
    Limits,
    LogOptions,
    Placement,
    PythonRequirement,
    Requirement,
    Restart,
    VariableFile,
    Watch,
)

FILE_NAME = "plugin.toml"
RESERVED_IDS = {"plugvisor": "the service's own program", "all": "supervisorctl, to which it means every program"}
"""Ids that no plugin may have, in lower case, and what they are reserved for."""

LONGEST_STRING_BYTES = 128 * 1024 - 1
"""Linux passes no longer argument or variable to a process, its final NUL included (MAX_ARG_STRLEN)."""

# A Python name. Beyond ASCII it only excludes white space, since the classes of characters differ between languages.
_NAME = r"[^\s\x00-@\[-^`{-\x7f][^\s\x00-/:-@\[-^`{-\x7f]*"

# In Python, `$` alone also matches before a final line break.
_END = r"$(?!\n)"


# `rule` is how an error words a declaration, after the key. Without it, it is worded from the type and its limits.
Text = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00]*$",
        max_length=LONGEST_STRING_BYTES,
        extra={"rule": f"must have no NUL character and at most {LONGEST_STRING_BYTES} bytes"},
    ),
]
VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[^=\x00]+$", extra={"rule": "must have a name that is not empty and has no `=` and no NUL character"}
    ),
]
CommandLine = Annotated[str, Meta(pattern=r"^[ \t\r\n]*[^ \t\r\n\x00][^\x00]*$")]
"""A command in one string, as a file may have it instead of a list."""
DurationSeconds = Annotated[int, Meta(ge=0, le=3600)]
# supervisord takes any number. This is wide enough for any use, and finite.
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
ExitCode = Annotated[int, Meta(ge=0, le=255)]


class ManifestError(Exception):
    """A manifest cannot be used; compared by value.

    Attributes:
        problem: what is wrong, without the file and the line.
        line: counted from 1; None if no line is meant.
        column: of the line, counted from 1; None if it is not known.
    """

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(problem, line, column)
        self.problem = problem
        self.line = line
        self.column = column

    def __str__(self) -> str:
        where = FILE_NAME if self.line is None else f"{FILE_NAME} line {self.line}"
        return f"{where}: {self.problem}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ManifestError) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    def without_traceback(self) -> Self:
        """A copy to keep: a traceback keeps every value of its functions alive, and grows with each `raise`."""
        return type(self)(self.problem, self.line, self.column)


class SupervisorOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of supervisord, by its own names and with its own defaults."""

    startsecs: Annotated[
        DurationSeconds,
        Meta(description="How long the process must run until its start counts as successful, in seconds."),
    ] = 1
    startretries: Annotated[Count, Meta(description="How many failed starts are tried again.")] = 3
    autorestart: Annotated[
        Literal["true", "false", "unexpected"],
        Meta(
            description="Whether a process that ends by itself is started again: always, never, "
            "or if its exit code is not one of `exitcodes`."
        ),
    ] = "unexpected"
    exitcodes: Annotated[
        tuple[ExitCode, ...],
        Meta(min_length=1, max_length=256, description="The exit codes that are expected."),
    ] = (0,)
    stopsignal: Annotated[
        Literal["TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2"],
        Meta(description="The signal that asks the process to end."),
    ] = "TERM"
    stopwaitsecs: Annotated[
        DurationSeconds, Meta(description="How long a process may take to end before it is killed, in seconds.")
    ] = 10
    priority: Annotated[Count, Meta(description="Programs with a lower number are started earlier.")] = 999


class Author(TypedDict, total=False):
    """Who wrote the plugin."""

    name: Annotated[str, Meta(description="The author's name.")]
    email: Annotated[str, Meta(description="The author's e-mail address.")]
    url: Annotated[str, Meta(description="The author's web page.")]


class Sdk(TypedDict, total=False):
    """The versions of the plugin's own SDK that it works with."""

    version: Annotated[str, Meta(description="The SDK's version that the plugin was written for.")]
    recommended: Annotated[str, Meta(description="The range of recommended versions.")]
    supported: Annotated[str, Meta(description="The range of supported versions.")]
    untested: Annotated[str, Meta(description="The range of versions that may work.")]
    conflicts: Annotated[tuple[str, ...], Meta(description="The ranges of versions that do not work.")]


class Dependency(TypedDict, total=False):
    """Another plugin that this one needs."""

    id: Annotated[str, Meta(description="The id of the plugin that is needed.")]
    entry: Annotated[str, Meta(description="The entry point that is needed.")]
    custom_event: Annotated[str, Meta(description="The custom event that is needed.")]
    providers: Annotated[tuple[str, ...], Meta(description="The ids of the plugins that can provide it.")]
    recommended: Annotated[str, Meta(description="The range of recommended versions.")]
    supported: Annotated[str, Meta(description="The range of supported versions.")]
    untested: Annotated[str, Meta(description="The range of versions that may work.")]
    conflicts: Annotated[tuple[str, ...], Meta(description="The ranges of versions that do not work.")]


class Metadata(Struct, frozen=True):
    """The fields that clients show beside a plugin's name and description; none of them decides what runs."""

    author: Author | None = None
    dependencies: tuple[Dependency, ...] = ()
    sdk_version: str | None = None
    sdk_recommended: str | None = None
    sdk_supported: str | None = None
    sdk_untested: str | None = None
    sdk_conflicts: tuple[str, ...] = ()


_ID_META = Meta(
    pattern=rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}{_END}",
    extra={"rule": "must be 1 to 64 letters, digits, `_` or `-`, the first a letter or digit"},
)
PluginId = Annotated[str, _ID_META]
CheckName = Annotated[str, _ID_META]


class Manifest(Struct, frozen=True):
    """A manifest. A valid one has a `command` or an `entry`; `command` wins if a file has both."""

    id: Annotated[
        str,
        Meta(
            pattern=rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}{_END}",
            description="The plugin's id. It need not be the folder's name; `plugvisor` and `all` are reserved.",
            extra={"rule": "must be 1 to 64 letters, digits, `_` or `-`, the first a letter or digit"},
        ),
    ]
    name: Annotated[Text, Meta(description="The name that is shown. Default: the id.")] = ""
    version: Annotated[Text, Meta(description="The plugin's version.")] = "0.1.0"
    description: Annotated[Text, Meta(description="What the plugin does, in one sentence.")] = ""
    command: Annotated[
        tuple[Text, ...],
        Meta(
            min_length=1,
            description="The program and its arguments, run in the plugin's folder. "
            "One string is split into words as a shell does, but no shell runs it.",
            extra={"rule": "must be a list of strings, or one string, not empty and without NUL characters"},
        ),
    ] = ()
    entry: Annotated[
        str,
        Meta(
            pattern=rf"^{_NAME}(\.{_NAME})*:{_NAME}{_END}",
            max_length=LONGEST_STRING_BYTES,
            description="What the runner imports and runs, if there is no `command`: `module:attribute`.",
            extra={"rule": "must look like module:attribute"},
        ),
    ] = ""
    enabled: Annotated[bool, Meta(description="Whether the plugin may be started.")] = True
    auto_start: Annotated[bool, Meta(description="Whether the plugin is started together with supervisord.")] = True
    environment: Annotated[
        Mapping[VariableName, Text],
        Meta(description="The variables that the process receives beside PATH, HOME, LANG and the like."),
    ] = field(default_factory=dict)
    environment_files: Annotated[
        Mapping[VariableName, VariableFile],
        Meta(description="Variables whose values are read from files at each start, and never shown."),
    ] = field(default_factory=dict)
    supervisor: Annotated[SupervisorOptions, Meta(description="Options of supervisord, by its own names.")] = (
        SupervisorOptions()
    )
    checks: Annotated[
        Mapping[CheckName, Check], Meta(description="Checks of whether the plugin works, by their names.")
    ] = field(default_factory=dict)
    depends_on: Annotated[
        Mapping[PluginId, Requirement],
        Meta(description="The plugins that this one needs, by their ids; a `[[plugin.dependency]]` counts too."),
    ] = field(default_factory=dict)
    restart: Annotated[Restart, Meta(description="When a process that has ended is started again.")] = Restart()
    limits: Annotated[Limits, Meta(description="What the plugin's processes may use.")] = Limits()
    python: Annotated[
        PythonRequirement, Meta(description="The Python that runs the plugin, or that its environment is made with.")
    ] = PythonRequirement()
    replicas: Annotated[
        int, Meta(ge=1, le=10_000, description="How many processes of the plugin a swarm runs; one machine runs one.")
    ] = 1
    placement: Annotated[Placement, Meta(description="On which nodes of a swarm the plugin runs.")] = Placement()
    critical: Annotated[bool, Meta(description="Whether everything is shut down when the plugin becomes FATAL.")] = (
        False
    )
    logs: Annotated[LogOptions, Meta(description="How much of the plugin's log is kept.")] = LogOptions()
    watch: Annotated[Watch, Meta(description="Which changes of files reload the plugin.")] = Watch()
    metadata: Metadata = Metadata()
    warnings: tuple[str, ...] = ()
    """Keys that are probably misspelt, and dependencies that cannot be used."""

    def __post_init__(self) -> None:
        if not self.name:
            force_setattr(self, "name", self.id)

    @property
    def checks_digest(self) -> str:
        """A digest that differs between any two sets of checks; empty without checks."""
        return blake2b(json.encode(self.checks), digest_size=8).hexdigest() if self.checks else ""


TABLES = {
    "plugin": ("id", "name", "version", "description", "command", "entry"),
    "plugin_runtime": (
        "enabled",
        "auto_start",
        "environment",
        "environment_files",
        "supervisor",
        "checks",
        "depends_on",
        "restart",
        "limits",
        "python",
        "replicas",
        "placement",
        "critical",
        "logs",
        "watch",
    ),
}
"""The tables of a file, and the fields of `Manifest` that are keys of each."""
