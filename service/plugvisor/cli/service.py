"""`plugvisor serve`."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.admin_code import WEAK_CODE
from plugvisor.api.app import create_app
from plugvisor.api.http.hosts import HostCheck
from plugvisor.api.http.server import serve
from plugvisor.api.routes import STREAMED_BODIES
from plugvisor.cli.admin_code import find_admin_code
from plugvisor.cli.listener import ANY_NAME, describe_address, inherit_listener, open_listener
from plugvisor.cli.startup.log_file import log_to_file
from plugvisor.cli.startup.log_format import set_up_logging
from plugvisor.engines.supervisord.extension.service_manager.notify_socket import READY, STOPPING, NotifySocket
from plugvisor.engines.supervisord.run_folder import prepare_folders, prepare_state_folder, write_address
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings
from plugvisor.variables import find_unknown_variables
from plugvisor.webhook_secret import read_webhook_secret

if TYPE_CHECKING:
    import argparse
    import socket

    from plugvisor.admin_code import AdminCode

logger = logging.getLogger(__name__)


def run_serve(_arguments: argparse.Namespace) -> int:
    """Serve HTTP in this process."""
    settings = Settings.from_env(os.environ)
    if dev_folder := os.environ.get("PLUGVISOR_DEV_FOLDER"):
        settings = replace(settings, dev_folder=Path(dev_folder))
    set_up_logging(settings.log_format)
    for sentence in find_unknown_variables(os.environ):
        logger.warning(sentence)
    prepare_folders(settings)
    if settings.engine == "swarm":
        log_to_file(settings)
    if warning := prepare_state_folder(settings):
        logger.warning("%s", warning)
    code = find_admin_code(settings)
    if code.is_weak:
        logger.warning(WEAK_CODE)
    inherited = inherit_listener()
    listener = inherited or open_listener(settings)
    if settings.answers_to_any_name:
        logger.warning(ANY_NAME)
    return serve_here(settings, code, listener, is_inherited=inherited is not None)


def serve_here(settings: Settings, code: AdminCode, listener: socket.socket, *, is_inherited: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; raises `ConfigurationError`.

    Args:
        is_inherited: the socket is supervisord's.
    """
    webhook_secret = read_webhook_secret(settings)
    logger.info("listening on %s", describe_address(listener))
    try:
        write_address(settings)
    except ConfigurationError as error:
        logger.warning("commands need PLUGVISOR_URL: %s", error)

    notify_socket = NotifySocket()  # under supervisord that is the extension's work

    def notify(message: bytes) -> None:
        with contextlib.suppress(OSError):
            notify_socket.send(message)

    def end() -> None:
        notify(STOPPING)
        if settings.socket_path is not None and not is_inherited:
            settings.socket_path.unlink(missing_ok=True)

    if settings.engine == "swarm" and settings.state_dir.is_dir():
        # what travels to other nodes may be too large for /tmp, which is memory in a container
        tempfile.tempdir = str(settings.state_dir)
    app = create_app(settings, code, webhook_secret)
    host_check = HostCheck(settings.allowed_hosts)
    serve(app, listener, host_check, end, STREAMED_BODIES, on_ready=lambda: notify(READY))
    return 0
