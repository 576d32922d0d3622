"""Gives every program that is a plugin a `PluginProcess`, however it is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.options import ProcessConfig

from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.extension.processes.plugin_process import Owner

_MAKE_PROCESS = ProcessConfig.make_process


def adopt_programs(
    groups: dict[str, Any],
    launch_dir: str,
    owner: Owner,
    find_start: Callable[[str], bool | None],
    has_dependencies: Callable[[str], bool],
) -> None:
    """Replace the processes of the plugins among supervisord's programs, and of all that are added from now on.

    One that supervisord would start by itself, and that depends on others, is queued.

    Args:
        find_start: whether a plugin is started by itself; None if its section decides.
    """

    def make_process(config: Any, group: Any = None) -> Any:
        if config.command != f"/bin/sh {launch_dir}/{config.name}.sh":
            return _MAKE_PROCESS(config, group)
        process = PluginProcess(config, owner)
        process.group = group
        start = find_start(config.name)
        process.starts_by_itself = config.autostart if start is None else start
        if process.starts_by_itself and has_dependencies(config.name):
            process.queued.begin("boot")
        return process

    ProcessConfig.make_process = make_process
    for name, group in groups.items():
        commands = [process.config.command for process in group.processes.values()]
        if commands == [f"/bin/sh {launch_dir}/{name}.sh"]:
            groups[name] = group.config.make_group()
