"""Making a supervisord's programs that are plugins the extension's: those whose command is their launch file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.options import ProcessConfig

from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.processes.plugin_process import Owner

_MAKE_PROCESS = ProcessConfig.make_process


def adopt_programs(supervisord: Any, launch_dir: str, owner: Owner) -> None:
    """Have every plugin be a `PluginProcess` of `owner`, before anything is started."""

    def is_launched(config: Any, name: str) -> bool:
        return bool(config.command == f"/bin/sh {launch_dir}/{name}.sh")

    def make_process(config: Any, group: Any = None) -> Any:
        if not is_launched(config, config.name):
            return _MAKE_PROCESS(config, group)
        process = PluginProcess(config, owner)
        process.group = group
        return process

    ProcessConfig.make_process = make_process
    groups = supervisord.process_groups
    for name, group in groups.items():
        processes = list(group.processes.values())
        if len(processes) == 1 and is_launched(processes[0].config, name):
            groups[name] = group.config.make_group()
