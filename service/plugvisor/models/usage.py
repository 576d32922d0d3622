"""The usage of plugins, as the API shows it."""

from typing import Annotated

from msgspec import Meta, field

from plugvisor.models.body import Amount, Body, Count, Pid, Time


class PluginUsage(Body, frozen=True, kw_only=True):
    """One sample of one plugin, all of its processes together."""

    plugin_id: str
    timestamp: Time
    pid: Pid
    cpu_percent: Annotated[Amount, Meta(description="100 is one core")]
    memory_mb: Amount
    memory_percent: Amount
    num_threads: Count


class TotalUsage(Body, frozen=True, kw_only=True):
    """All plugins together."""

    total_cpu_percent: Amount
    total_memory_mb: Amount
    total_memory_percent: Amount
    total_threads: Count
    active_plugins: Count


class AllUsage(Body, frozen=True, kw_only=True):
    """`GET /plugin/metrics`."""

    metrics: list[PluginUsage]
    count: Count
    total: TotalUsage = field(name="global")
    time: Time


class CurrentUsage(Body, frozen=True, kw_only=True):
    """`GET /plugin/metrics/{plugin_id}`."""

    plugin_id: str
    metrics: PluginUsage | None
    time: Time
    plugin_running: bool
    process_alive: bool
    message: str


class UsageHistory(Body, frozen=True, kw_only=True):
    """`GET /plugin/metrics/{plugin_id}/history`: the oldest sample first."""

    plugin_id: str
    history: list[PluginUsage]
    count: Count
    time: Time
