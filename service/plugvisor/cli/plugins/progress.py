"""Shows on a terminal how plugins start and stop, if it takes long enough to be seen."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from plugvisor.cli.output import has_color, make_console, make_printable, paint
from plugvisor.cli.plugins.actions import perform
from plugvisor.cli.plugins.words import STATUS_COLORS
from plugvisor.errors import PlugvisorError

if TYPE_CHECKING:
    from plugvisor.cli.client import Client
    from plugvisor.cli.plugins.actions import Order, Result
    from plugvisor.cli.plugins.live import Feed

PATIENCE_SECONDS = 0.3
"""An operation that takes no longer is not shown."""
REFRESH_SECONDS = 0.5


class _Request:
    """The request, in a thread: the first one shows what becomes of it, and has Ctrl-C."""

    def __init__(self, client: Client, order: Order) -> None:
        self.ended = threading.Event()
        self._client = client
        self._order = order
        self._results: list[Result] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def get(self) -> list[Result]:
        """Its result; raises its error."""
        if self._error is not None:
            raise self._error
        return self._results

    def _run(self) -> None:
        try:
            self._results = perform(self._client, self._order)
        except BaseException as error:  # noqa: BLE001 - the first thread raises it
            self._error = error
        finally:
            self.ended.set()


def perform_on_terminal(client: Client, order: Order) -> list[Result]:
    """As `perform`; meanwhile a line for each plugin, which changes in place."""
    request = _Request(client, order)
    if not request.ended.wait(PATIENCE_SECONDS):
        _show(client, order, request.ended)
    request.ended.wait()
    return request.get()


def _show(client: Client, order: Order, ended: threading.Event) -> None:
    from rich.live import Live  # noqa: PLC0415 - it takes as long as most starts
    from rich.text import Text  # noqa: PLC0415

    from plugvisor.cli.plugins.live import Feed  # noqa: PLC0415

    began = time.monotonic()
    console = make_console()
    with ExitStack() as stack:
        try:
            feed = stack.enter_context(Feed(client))
        except PlugvisorError:  # there is no stream left: what comes of it is shown at the end
            return
        live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False))
        while not ended.is_set():
            try:
                feed.wait(REFRESH_SECONDS)
            except PlugvisorError:
                return
            lines = _describe(order, feed, time.monotonic() - began, console.size.height - 2)
            live.update(Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)


def _describe(order: Order, feed: Feed, seconds: float, most_lines: int) -> list[str]:
    """A line for each plugin; of many those that are not as they are wanted."""
    plugins = {plugin_id: feed.states.get(plugin_id) for plugin_id in order.plugin_ids}
    waiting = [name for name, plugin in plugins.items() if plugin is None or plugin["status"] != order.action.goal]
    heading = f"{len(plugins) - len(waiting)} of {len(plugins)} {order.action.goal}, {seconds:.0f} s"
    shown = list(plugins) if len(plugins) < most_lines else waiting[: max(1, most_lines - 1)]
    is_colored = has_color(sys.stdout)
    width = max(map(len, shown), default=0)
    lines = []
    for name in shown:
        plugin = plugins[name] or {}
        status = plugin.get("status", "")
        color = STATUS_COLORS.get(status, "") if is_colored else ""
        shown_status = paint(make_printable(f"{status:<8}"), color)
        more = make_printable(plugin.get("detail", plugin.get("health", "")))
        lines.append(f"{make_printable(name):<{width}}  {shown_status}  {more}".rstrip())
    return [*lines, heading] if len(plugins) > 1 else [f"{lines[0]}  {seconds:.0f} s"]
