"""The systems that a group of measurements uses, each started when it is first asked for."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING

from benchmarks.systems.plain_supervisord import run_plain_supervisord
from benchmarks.systems.plugvisor_stack import ApiClient, run_plugvisor
from benchmarks.systems.reference_server import run_reference_server
from benchmarks.systems.supervisord import DEFAULT_PLUGIN

if TYPE_CHECKING:
    from benchmarks.systems.plain_supervisord import PlainSupervisord
    from benchmarks.systems.plugvisor_stack import PlugvisorStack
    from benchmarks.systems.reference_server import ReferenceServer

READS = {"list": "/plugins", "status": "/plugin/status", "one": f"/plugin/status?plugin_id={DEFAULT_PLUGIN}"}
"""The reads that are measured, by the names that the reference server has for them."""


class Testbed(contextlib.ExitStack):
    """The systems with one number of plugins, from `with` to its end.

    Args:
        plugins: how many programs each of them runs.
    """

    def __init__(self, plugins: int) -> None:
        super().__init__()
        self.plugins = plugins

    @cached_property
    def plugvisor(self) -> PlugvisorStack:
        """Plugvisor; every plugin is running."""
        return self.enter_context(run_plugvisor(self.plugins))

    @cached_property
    def plain_supervisord(self) -> PlainSupervisord:
        """A supervisord without Plugvisor; every program is running."""
        return self.enter_context(run_plain_supervisord(self.plugins))

    @cached_property
    def reference_server(self) -> ReferenceServer:
        """The server to compare reads with; it serves what Plugvisor serves now."""
        client = ApiClient(self.plugvisor.port)
        bodies = {key: client.get(path) for key, path in READS.items()}
        return self.enter_context(run_reference_server(self.plugvisor.socket_path, bodies))
