"""Bodies as the front end knows them: those of the API, with other words and more members."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Amount, Body, Count, OptionalText, Time
from plugvisor.models.log import LogFile, LogFileList
from plugvisor.models.outcome import BulkItem, BulkResult, Outcome
from plugvisor.models.plugin import AllStatuses, ListedPlugin, PluginList, PluginStatus, ProcessStatus

Word = Literal["running", "stopped", "crashed", "loading", "disabled"]
Tree = Annotated[dict[str, Any], Meta(description="every table of the manifest")]
Path = Annotated[str, Meta(description="the name of the plugin's folder, and of the file in it")]


class NekoPlugin(ListedPlugin, frozen=True, kw_only=True):
    """An item of `GET /plugins`."""

    status: Word  # type: ignore[assignment] # another word
    input_schema: Annotated[dict[str, Any], Meta(description="always empty")]


class NekoPluginList(PluginList, frozen=True, kw_only=True):
    """`GET /plugins`."""

    plugins: tuple[NekoPlugin, ...]


class NekoProcessStatus(ProcessStatus, frozen=True, kw_only=True):
    """One plugin's status among all of them."""

    status: Word  # type: ignore[assignment] # another word
    source: str
    updated_at: Time


class NekoPluginStatus(PluginStatus, frozen=True, kw_only=True):
    """One plugin's status by itself."""

    status: Word  # type: ignore[assignment] # another word
    source: str
    updated_at: Time


class NekoAllStatuses(AllStatuses, frozen=True, kw_only=True):
    """Every plugin's status by its id."""

    plugins: dict[str, NekoProcessStatus]  # type: ignore[assignment] # never written to


class NekoOutcome(Outcome, frozen=True, kw_only=True):
    """The outcome of a start, stop, reload or disable."""

    success: bool
    status: Word  # type: ignore[assignment] # another word


class NekoBulkItem(BulkItem, frozen=True, kw_only=True):
    """The outcome of one plugin in a bulk operation."""

    status: Word | UnsetType = UNSET  # type: ignore[assignment] # another word


class Failure(Body, frozen=True, kw_only=True):
    """A plugin that could not be reloaded."""

    plugin_id: str
    error: str


class NekoBulkResult(BulkResult, frozen=True, kw_only=True):
    """The outcome of a bulk operation; only a reload has the members after `results`."""

    results: list[NekoBulkItem]  # type: ignore[assignment] # never written to
    success: bool | UnsetType = UNSET
    reloaded: list[str] | UnsetType = UNSET
    failed: list[Failure] | UnsetType = UNSET
    skipped: list[str] | UnsetType = UNSET
    message: OptionalText = UNSET


class NekoLogFile(LogFile, frozen=True, kw_only=True):
    """A file that holds a part of a log."""

    modified: Annotated[  # type: ignore[assignment] # a number
        Amount, Meta(description="in seconds since 1970")
    ]


class NekoLogFileList(LogFileList, frozen=True, kw_only=True):
    """`GET /plugin/{plugin_id}/logs/files`."""

    log_files: list[NekoLogFile]  # type: ignore[assignment] # never written to


class NekoConfig(Body, frozen=True, kw_only=True):
    """A plugin's manifest, parsed."""

    plugin_id: str
    config: Tree
    last_modified: Time
    config_path: Path


class NekoConfigText(Body, frozen=True, kw_only=True):
    """A plugin's manifest as text."""

    plugin_id: str
    toml: str
    last_modified: Time
    config_path: Path


class NekoConfigWritten(Body, frozen=True, kw_only=True):
    """The outcome of replacing a manifest."""

    success: Literal[True]
    plugin_id: str
    config: Tree
    requires_reload: bool
    message: str


class NekoTree(Body, frozen=True, kw_only=True):
    """A new manifest, parsed."""

    config: Tree


class NekoParsed(Body, frozen=True, kw_only=True):
    """A text, parsed."""

    plugin_id: str
    config: Tree


class NekoRendered(Body, frozen=True, kw_only=True):
    """A parsed manifest, as text."""

    plugin_id: str
    toml: str


class NekoProfiles(Body, frozen=True, kw_only=True):
    """`GET …/config/profiles`: there are none."""

    plugin_id: str
    profiles_path: str
    profiles_exists: Literal[False]
    config_profiles: None


class NekoProfileBody(Body, frozen=True, kw_only=True):
    """A profile, which is ignored."""

    config: dict[str, Any] | UnsetType = UNSET
    make_active: bool | UnsetType | None = UNSET


class NekoMessages(Body, frozen=True, kw_only=True):
    """`GET /plugin/messages`: there are none."""

    plugin_id: str | None
    messages: Annotated[list[str], Meta(max_length=0)]
    count: Count
    time: Time
