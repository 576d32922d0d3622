"""Keeps an operator's programs apart from the plugins in supervisord's configuration.

supervisord reads every file into one parser, in which two sections of one name become one: the file of a plugin `web`
would change an operator's `[program:web]`. Here the operator's wins, and the plugin's file is not read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.extension.generated import is_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KINDS = ("program", "group", "eventlistener", "fcgi-program")
"""Sections whose names are those of groups; a group's programs count too, for a plugin would be one of them."""

SERVICE = "plugvisor"
"""The service's own program."""

_folders: set[str] = set()
"""The folder for plugins' files, once the extension knows it."""


class Operators:
    """The names that an operator's configuration uses.

    supervisord has read its configuration before it knew which files are plugins': what they have done to an
    operator's programs is undone here.

    Args:
        programs_dir: the folder that holds `<name>.conf` for each plugin.
    """

    def __init__(self, supervisord: Any, programs_dir: str) -> None:
        self.names = {name for name in supervisord.process_groups if not _has_plugins_file(programs_dir, name)}
        self.on_change: Callable[[str], object] | None = None
        """Called with each name that is used now, or no longer, when the configuration was read again."""
        self._options = supervisord.options
        self._read_groups = self._options.process_groups_from_parser
        self._options.process_groups_from_parser = self._read_groups_and_names
        _folders.clear()
        _folders.add(os.path.realpath(programs_dir))
        # under `plugvisor up` there is the service alone: plugins' files are included later
        if not supervisord.process_groups.keys() <= {SERVICE}:
            try:
                self._restore(supervisord.process_groups)
            except ValueError as error:
                self._options.logger.critical(f"plugins: the configuration cannot be read again: {error}")  # noqa: G004

    def _restore(self, groups: dict[str, Any]) -> None:
        self._options.process_config(do_usage=False)
        for config in self._options.process_group_configs:
            group = groups.get(config.name)
            if group is None or config != group.config:
                config.after_setuid()
                groups[config.name] = config.make_group()
        for name in groups.keys() - {config.name for config in self._options.process_group_configs}:
            del groups[name]  # a plugin, whose name is that of a program in an operator's group

    def _read_groups_and_names(self, parser: Any) -> Any:
        groups = self._read_groups(parser)
        if parser.has_section("supervisord"):  # else it is one plugin's file
            before, self.names = self.names, {name for name, is_plugin in get_names(parser).items() if not is_plugin}
            if self.on_change is not None:
                for name in before ^ self.names:
                    self.on_change(name)
        return groups


def admit(parser: Any, sections: Iterable[str], filename: str) -> bool:
    """Whether a file's sections may be added to a parser; an operator's file removes plugins of the same names."""
    names = get_names(parser)
    here = set(filter(None, map(_find_name, sections)))
    is_plugin = _is_plugin(filename)
    if is_plugin and any(names.get(name) is False for name in here):
        return False
    if not is_plugin:
        for name in here:
            if names.get(name):
                parser.remove_section(f"program:{name}")
    names.update(dict.fromkeys(here, is_plugin))
    return True


def get_names(parser: Any) -> dict[str, bool]:
    """The names that a parser's sections use, and whether a plugin does."""
    if not hasattr(parser, "names"):
        # what was read so far is supervisord's main file
        parser.names = dict.fromkeys(filter(None, map(_find_name, parser.sections())), False)
    return parser.names  # type: ignore[no-any-return]


def _find_name(section: str) -> str:
    kind, _, name = section.partition(":")
    return name.strip() if kind in _KINDS else ""


def _has_plugins_file(programs_dir: str, name: str) -> bool:
    path = os.path.join(programs_dir, f"{name}.conf")
    return os.path.lexists(path) and not is_foreign(path)


def _is_plugin(filename: str) -> bool:
    return os.path.realpath(os.path.dirname(filename)) in _folders and not is_foreign(filename)
