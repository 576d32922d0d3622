"""`plugvisor serve` and `health`."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from plugvisor.cli.admin_code import WEAK_CODE, find_admin_code
from plugvisor.cli.listener import describe_address, inherit_listener, open_listener
from plugvisor.engines.supervisord.run_folder import prepare_folders
from plugvisor.settings import Settings

if TYPE_CHECKING:
    import argparse

    import httpx

HEALTH_TIMEOUT_SECONDS = 5.0

logger = logging.getLogger(__name__)


def run_serve(_arguments: argparse.Namespace) -> int:
    """Serve HTTP in this process."""
    from plugvisor.api.app import create_app  # noqa: PLC0415 - `health` does without them
    from plugvisor.api.http.server import serve  # noqa: PLC0415

    _set_up_logging()
    settings = Settings.from_env(os.environ)
    prepare_folders(settings)
    code = find_admin_code(settings)
    if code.is_weak:
        logger.warning(WEAK_CODE)
    inherited = inherit_listener()
    listener = inherited or open_listener(settings)
    logger.info("listening on %s", describe_address(listener))

    def remove_file() -> None:
        if settings.socket_path is not None and inherited is None:  # else it is supervisord's
            settings.socket_path.unlink(missing_ok=True)

    serve(create_app(settings, code), listener, remove_file)
    return 0


def run_health(_arguments: argparse.Namespace) -> int:
    """Ask the service, as a container's health check does."""
    import httpx  # noqa: PLC0415 - `serve` does without it

    settings = Settings.from_env(os.environ)
    try:
        with httpx.Client(transport=_make_transport(settings), timeout=HEALTH_TIMEOUT_SECONDS, trust_env=False) as http:
            response = http.get(f"{'http://localhost' if settings.socket_path else settings.url}/available")
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        print(f"unhealthy: no answer from {settings.url}: {error}", file=sys.stderr)
        return 1
    if response.status_code != httpx.codes.OK:
        print(f"unhealthy: {settings.url} answers {response.status_code}: {response.text}", file=sys.stderr)
        return 1
    print("healthy")
    return 0


def _make_transport(settings: Settings) -> httpx.HTTPTransport:
    import httpx  # noqa: PLC0415

    return httpx.HTTPTransport(uds=str(settings.socket_path) if settings.socket_path else None)


def _set_up_logging() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%F %T"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # we log the same, better
