"""`plugvisor up` on a swarm: there is no supervisord to become, so this process serves."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from plugvisor.admin_code import keep_admin_code, make_admin_code, read_admin_code
from plugvisor.cli.listener import open_listener
from plugvisor.cli.service import serve_here
from plugvisor.cli.startup.banner import print_banner
from plugvisor.cli.startup.log_file import log_to_file
from plugvisor.cli.startup.log_format import make_announcer, set_up_logging
from plugvisor.cli.startup.plugins_folder import prepare_plugins_folder
from plugvisor.engines.choice import make_engine
from plugvisor.engines.supervisord.boot import lock_run_dir
from plugvisor.engines.supervisord.run_folder import prepare_folders, prepare_state_folder, run_dir_errors
from plugvisor.engines.swarm.summary import summarise_swarm
from plugvisor.errors import ConfigurationError
from plugvisor.plugins.catalog import load_catalog
from plugvisor.plugins.dependencies import resolve

if TYPE_CHECKING:
    from plugvisor.admin_code import AdminCode
    from plugvisor.plugins.catalog import Catalog
    from plugvisor.settings import Settings

_ANOTHER_CODE = (
    "the admin code is another one after every start, and a swarm may start the service anywhere at any time: set "
    "PLUGVISOR_ADMIN_CODE_FILE, as deploy/swarm/stack.yml does"
)


def run_up_on_swarm(settings: Settings) -> int:
    """Get everything ready, say so, and serve until SIGTERM or Ctrl-C."""
    set_up_logging(settings.log_format)
    prepare_plugins_folder(settings, os.environ)
    prepare_folders(settings)
    lock_run_dir(settings)
    log_to_file(settings)
    state_warning = prepare_state_folder(settings)
    if settings.page_dir is not None:
        from plugvisor.api.http.static import check_page_dir  # noqa: PLC0415 - it imports the web framework

        check_page_dir(settings.page_dir)
    catalog = _load_catalog(settings)
    code = _find_admin_code(settings)
    listener = open_listener(settings)
    facts = {"swarm": asyncio.run(summarise_swarm(settings.swarm)), "logs": str(settings.log_dir)}
    print_banner(settings, catalog, code, facts, [state_warning, _ANOTHER_CODE if code.is_new else ""])
    make_announcer(settings)("Ctrl-C stops the service; the plugins run on.")
    return serve_here(settings, code, listener)


def _load_catalog(settings: Settings) -> Catalog:
    engine = make_engine(settings)
    try:
        return resolve(load_catalog(settings.plugins_dir, {}, engine.render, None, settings.install_dir))
    except OSError as error:
        raise ConfigurationError(f"cannot read the folder {str(error.filename)!r}: {error.strerror}") from error


def _find_admin_code(settings: Settings) -> AdminCode:
    """The code that was set, or a new one, which commands find in the run folder."""
    code = read_admin_code(os.environ)
    if code is None:
        code = make_admin_code()
        with run_dir_errors(settings):
            keep_admin_code(settings.run_dir / "admin_code", code)
    return code
