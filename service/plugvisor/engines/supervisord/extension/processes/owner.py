"""What a plugin's process needs of the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.patches.clock import SteadyClock
    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch


class Owner(Protocol):
    """The extension, as a plugin's process sees it; `process` is a `PluginProcess`, which imports this."""

    clock: SteadyClock
    run_dir: str
    boot_id: str

    def read_launch(self, name: str) -> Launch:
        """A program's launch file; raises `LaunchFileError`."""

    def has_orphans(self, name: str) -> bool:
        """Whether something of an earlier process of a program is alive."""

    def prepare_spawn(self, process: Any) -> None:
        """Called before a process is started."""

    def process_spawned(self, process: Any) -> None:
        """Called when a process has been started."""

    def process_changed(self, process: Any) -> None:
        """Called when something other than the state has changed."""

    def process_written_to(self, process: Any) -> None:
        """Called when something may wait for a process to read it."""

    def process_stopping(self, process: Any) -> None:
        """Called before a process is sent the signal that is to end it."""

    def process_ending(self, process: Any) -> None:
        """Called while a process is being reaped, before its pipes are closed."""
