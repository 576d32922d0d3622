"""`GET /metrics`: everything that is counted, as text for Prometheus.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import asyncio
import time
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector
from starlette.responses import Response

from plugvisor import VERSION
from plugvisor.errors import SupervisorUnavailable
from plugvisor.manager.intents.boot_starts import is_held, is_wanted
from plugvisor.manager.status import report
from plugvisor.metrics.traffic import BUCKETS_SECONDS
from plugvisor.models.enforced_limits import LIMIT_KEYS
from plugvisor.models.health import Health
from plugvisor.models.process import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.core import Metric

    from plugvisor.api.auth.gate import Gate
    from plugvisor.api.state import State
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.manager.installation.registry import Registry
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.webhooks.webhooks import Webhooks
    from plugvisor.metrics.sampler import UsageSample
    from plugvisor.metrics.traffic import Durations, Traffic
    from plugvisor.models.process import Process
    from plugvisor.store.store import Store


async def make_metrics(state: State) -> Response:
    """The response to `GET /metrics`."""
    metrics = [*describe_traffic(state["traffic"]), describe_failures(state["gate"])]
    metrics += describe_store(state["store"], state["recorder"])
    metrics += describe_webhooks(state["webhooks"])
    metrics += describe_operations(state["installations"].registry)
    try:
        processes, sample = state["engine"].read(), await state["sampler"].read()
    except SupervisorUnavailable:
        is_up = 0
    else:
        is_up = 1
        metrics += describe_plugins(state["manager"], processes, sample)
        metrics += describe_checks(state["monitor"])
    metrics.append(
        GaugeMetricFamily("plugvisor_supervisord_up", "Whether supervisord, or the swarm, can be reached.", is_up)
    )
    # thousands of lines take a while: not on the event loop
    text = await asyncio.to_thread(_make_text, metrics)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Kept(Collector):
    """Metrics that are known already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """The metrics, as a registry asks for them."""
        return self._metrics


def _make_text(metrics: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Kept(metrics))
    ProcessCollector(registry=registry)  # the service's own CPU, memory and open files
    return generate_latest(registry)


def describe_plugins(manager: Manager, processes: Mapping[str, Process], sample: UsageSample) -> list[Metric]:
    """The metrics of the plugins; of one without a process only its status and restarts."""
    label = ["plugin_id"]
    status = GaugeMetricFamily(
        "plugvisor_plugin_status", "1 for the plugin's status, 0 for the others.", labels=[*label, "status"]
    )
    wanted = GaugeMetricFamily("plugvisor_plugin_wanted", "Whether the plugin is to run.", labels=label)
    held = GaugeMetricFamily(
        "plugvisor_plugin_stopped_by_operator", "Whether an operator has stopped or disabled the plugin.", labels=label
    )
    flapping = GaugeMetricFamily(
        "plugvisor_plugin_flapping", "Whether the plugin is restarted again and again.", labels=label
    )
    restarts = CounterMetricFamily(
        "plugvisor_plugin_restarts", "Restarts of the plugin by the engine itself.", labels=label
    )
    uptime = GaugeMetricFamily(
        "plugvisor_plugin_uptime_seconds", "Time since the plugin's process was started.", labels=label
    )
    cpu = CounterMetricFamily(
        "plugvisor_plugin_cpu_seconds", "CPU time of the plugin's processes, as sampled.", labels=label
    )
    memory = GaugeMetricFamily(
        "plugvisor_plugin_memory_bytes", "Resident memory of the plugin's processes.", labels=label
    )
    threads = GaugeMetricFamily("plugvisor_plugin_threads", "Threads of the plugin's processes.", labels=label)
    limits = [
        GaugeMetricFamily("plugvisor_plugin_memory_limit_bytes", "Limit of the plugin's memory.", labels=label),
        GaugeMetricFamily("plugvisor_plugin_cpu_limit", "Limit of the CPUs that the plugin uses.", labels=label),
        GaugeMetricFamily(
            "plugvisor_plugin_processes_limit", "Limit of the plugin's processes and threads.", labels=label
        ),
        GaugeMetricFamily(
            "plugvisor_plugin_open_files_limit", "Limit of the open files of each process.", labels=label
        ),
    ]
    now = time.monotonic()
    for plugin in manager.catalog.values():
        current = report(plugin, processes.get(plugin.id), now)
        for one in Status:
            status.add_metric([plugin.id, one], current.status is one)
        wanted.add_metric([plugin.id], is_wanted(plugin, manager.intents))
        held.add_metric([plugin.id], is_held(plugin, manager.intents))
        is_restarted = current.process.is_alive or current.process.retry_at is not None
        flapping.add_metric([plugin.id], current.process.flapping and is_restarted)
        restarts.add_metric([plugin.id], current.process.restarts)
        if current.uptime_seconds is not None:
            uptime.add_metric([plugin.id], current.uptime_seconds)
        if plugin.id in sample.cpu_seconds:
            cpu.add_metric([plugin.id], sample.cpu_seconds[plugin.id])
        if current.process.limits is not None:
            for family, key in zip(limits, LIMIT_KEYS, strict=True):
                if limit := getattr(current.process.limits, key):
                    family.add_metric([plugin.id], limit)
        usage = sample.usages.get(plugin.id)
        if usage is not None:
            memory.add_metric([plugin.id], usage.memory_bytes)
            threads.add_metric([plugin.id], usage.threads)
    return [status, wanted, held, flapping, restarts, uptime, cpu, memory, threads, *limits]


def describe_checks(monitor: HealthMonitor) -> list[Metric]:
    """The metrics of the plugins that have checks."""
    healths = GaugeMetricFamily(
        "plugvisor_plugin_health", "1 for the plugin's health, 0 for the others.", labels=["plugin_id", "health"]
    )
    failures = CounterMetricFamily(
        "plugvisor_plugin_check_failures", "Failures of a check that have counted.", labels=["plugin_id", "check"]
    )
    for plugin_id, health in monitor.healths.items():
        for one in Health:
            healths.add_metric([plugin_id, one], health is one)
    for labels, count in monitor.failures.items():
        failures.add_metric(labels, count)
    return [healths, failures]


def describe_traffic(traffic: Traffic) -> list[Metric]:
    """The metrics of the service."""
    requests = CounterMetricFamily(
        "plugvisor_http_requests", "Requests answered.", labels=["route", "method", "status"]
    )
    latencies = HistogramMetricFamily(
        "plugvisor_http_request_duration_seconds",
        "Time until the answer to a request is known.",
        labels=["route", "method"],
    )
    by_route: dict[tuple[str, str], list[Durations]] = {}
    for (route, method, code), count in traffic.refused.items():
        requests.add_metric([route, method, str(code)], count)
    for (route, method, code), durations in traffic.requests.items():
        requests.add_metric([route, method, str(code)], sum(durations.counts))
        by_route.setdefault((route, method), []).append(durations)
    for labels, parts in by_route.items():
        _add_histogram(latencies, labels, parts)
    calls = HistogramMetricFamily(
        "plugvisor_supervisord_call_duration_seconds",
        "Duration of the calls to supervisord, or to the Docker Engine.",
        labels=["method"],
    )
    failures = CounterMetricFamily(
        "plugvisor_supervisord_call_failures",
        "Calls to supervisord, or to the Docker Engine, without a valid answer.",
        labels=["method"],
    )
    for method, durations in traffic.calls.items():
        _add_histogram(calls, (method,), [durations])
        failures.add_metric([method], traffic.failed_calls.get(method, 0))
    info = InfoMetricFamily("plugvisor", "The service.", {"version": VERSION})
    return [info, requests, latencies, calls, failures]


def describe_failures(gate: Gate) -> Metric:
    """The metric of the requests without the right admin code."""
    failures = CounterMetricFamily(
        "plugvisor_auth_failures", "Requests without a valid token or admin code.", labels=["reason"]
    )
    for reason, count in gate.failures.items():
        failures.add_metric([reason], count)
    return failures


def describe_store(store: Store, recorder: Recorder) -> list[Metric]:
    """The store's metrics."""
    return [
        GaugeMetricFamily("plugvisor_store_up", "Whether what happens is remembered.", store.is_available),
        CounterMetricFamily("plugvisor_store_errors", "Transactions of the store that have failed.", store.errors),
        GaugeMetricFamily("plugvisor_journal_entries", "Entries of the journal.", recorder.entries),
        GaugeMetricFamily("plugvisor_journal_bytes", "Size of the database that holds it.", recorder.size_bytes),
    ]


def describe_webhooks(webhooks: Webhooks) -> list[Metric]:
    """The metrics of the webhooks; a receiver is named by its place in the setting: its URL may be a secret."""
    label = ["receiver"]
    queued = GaugeMetricFamily("plugvisor_webhooks_queued", "Messages that are not delivered yet.", labels=label)
    sent = CounterMetricFamily("plugvisor_webhooks_sent", "Messages that were delivered.", labels=label)
    failed = CounterMetricFamily("plugvisor_webhooks_failed", "Attempts to deliver that have failed.", labels=label)
    dropped = CounterMetricFamily("plugvisor_webhooks_dropped", "Messages that were never delivered.", labels=label)
    for queue in webhooks.queues:
        labels = [str(queue.number)]
        queued.add_metric(labels, len(queue.deliveries))
        sent.add_metric(labels, queue.sent)
        failed.add_metric(labels, queue.failed)
        dropped.add_metric(labels, queue.dropped)
    return [queued, sent, failed, dropped] if webhooks.queues else []


def describe_operations(registry: Registry) -> list[Metric]:
    """The metrics of installation."""
    running = sum(operation.state == "running" for operation in registry.list_all())
    ended = CounterMetricFamily(
        "plugvisor_operations",
        "Installations, updates, rollbacks and removals that have ended.",
        labels=["verb", "state"],
    )
    for labels, count in registry.ended.items():
        ended.add_metric(labels, count)
    return [GaugeMetricFamily("plugvisor_operations_running", "Operations that are under way.", running), ended]


def _add_histogram(family: HistogramMetricFamily, labels: tuple[str, ...], parts: list[Durations]) -> None:
    counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)]
    bounds = [*map(str, BUCKETS_SECONDS), "+Inf"]
    buckets = [(bound, float(count)) for bound, count in zip(bounds, accumulate(counts), strict=True)]
    family.add_metric(labels, buckets, sum(part.total_seconds for part in parts))
