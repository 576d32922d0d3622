"""`plugvisor render` and `check`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.startup.stored_intents import read_stored_intents
from plugvisor.cli.supervised import require_supervisord
from plugvisor.engines.choice import list_ignored, make_engine
from plugvisor.engines.launching import find_missing_commands, find_missing_files
from plugvisor.engines.supervisord.boot import list_foreign_files, render_programs, write_starts
from plugvisor.engines.supervisord.program import render_program
from plugvisor.engines.supervisord.run_folder import prepare_folders
from plugvisor.errors import ConfigurationError
from plugvisor.models.manifest import FILE_NAME
from plugvisor.plugins.catalog import load_catalog, load_plugin
from plugvisor.plugins.dependencies import find_warnings, resolve
from plugvisor.plugins.watching import list_unwatched
from plugvisor.settings import Settings
from plugvisor.variables import find_unknown_variables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from plugvisor.plugins.catalog import Catalog, Render


def run_render(_arguments: argparse.Namespace) -> int:
    """Write the program files, and which plugins supervisord is to start."""
    settings = Settings.from_env(os.environ)
    require_supervisord(settings, "write program files", "POST /plugins/refresh takes over what has changed")
    prepare_folders(settings)
    catalog = render_programs(settings, keep_broken=True)
    status = _print_verdicts(catalog, find_warnings(catalog), settings)
    starts_warning = write_starts(settings, read_stored_intents(settings))
    warnings = [*list_foreign_files(settings), *find_unknown_variables(os.environ), starts_warning]
    for sentence in filter(None, warnings):
        print(f"warning: {sentence}", file=sys.stderr)
    return status


def run_check(arguments: argparse.Namespace) -> int:
    """Report on each plugin in a folder, or on the one that the folder is."""
    settings = Settings.from_env(os.environ | ({"PLUGVISOR_PLUGINS_DIR": arguments.dir} if arguments.dir else {}))
    if arguments.dir:
        settings = replace(settings, install_dir=None)
    try:
        if arguments.dir and (settings.plugins_dir / FILE_NAME).is_file():
            plugin = load_plugin(settings.plugins_dir, _make_render(settings))
            catalog, found = {plugin.id: plugin}, {}  # where those are that it depends on is not known
        else:
            catalog = read_catalog(settings)
            found = find_warnings(catalog)
    except OSError as error:
        raise ConfigurationError(f"cannot read the folder {str(error.filename)!r}: {error.strerror}") from error
    for sentence in find_unknown_variables(os.environ):
        print(f"warning: {sentence}", file=sys.stderr)
    return _print_verdicts(catalog, found, settings)


def read_catalog(settings: Settings) -> Catalog:
    """Read every plugin; nothing is written. Raises `OSError`."""
    return resolve(load_catalog(settings.plugins_dir, {}, _make_render(settings), None, settings.install_dir))


def _make_render(settings: Settings) -> Render:
    # an author may check manifests without any run folder: the programs are rendered, but never written
    settings = replace(settings, run_dir=Path("/"), log_dir=Path("/"))
    if settings.engine == "swarm":
        return make_engine(settings).render
    return partial(render_program, settings=settings)


def _print_verdicts(catalog: Catalog, found: Mapping[str, Sequence[str]], settings: Settings) -> int:
    """Print whether each plugin is valid; returns the exit status.

    Args:
        found: of `find_warnings`.
    """
    count = invalid = 0
    for plugin in catalog.values():
        count += 1
        where = plugin.name_of_folder or plugin.id
        if plugin.problem:
            invalid += 1
            print(f"{where}: cannot be used: {plugin.problem}")
        else:
            print(f"{where}: ok, plugin {plugin.id!r}{'' if plugin.enabled else ', disabled'}")
        own = (*plugin.manifest.warnings, *list_ignored(settings, plugin.manifest)) if plugin.manifest else ()
        missing = (*find_missing_commands(plugin), *find_missing_files(plugin))
        for warning in (*own, *missing, *list_unwatched(plugin), *found.get(plugin.id, ())):
            print(f"{where}: warning: {warning}")
    print(f"{count} plugin{'' if count == 1 else 's'}, {invalid} invalid")
    return 1 if invalid else 0
