"""`plugvisor serve` and `health`."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from plugvisor.cli.admin_code import WEAK_CODE, find_admin_code
from plugvisor.cli.listener import open_socket
from plugvisor.engines.supervisord.run_folder import prepare_folders
from plugvisor.settings import Settings, find_unknown_variables

if TYPE_CHECKING:
    import argparse

HEALTH_TIMEOUT_SECONDS = 5.0

logger = logging.getLogger(__name__)


def run_serve(_arguments: argparse.Namespace) -> int:
    """Serve HTTP in this process."""
    from plugvisor.api.app import create_app  # noqa: PLC0415 - `health` does without them
    from plugvisor.api.http.server import serve  # noqa: PLC0415

    _set_up_logging()
    settings = Settings.from_env(os.environ)
    for sentence in find_unknown_variables(os.environ):
        logger.warning(sentence)
    prepare_folders(settings)
    code = find_admin_code(settings)
    if code.is_weak:
        logger.warning(WEAK_CODE)
    listener = open_socket(settings.host, settings.port)
    logger.info("listening on %s", settings.url)
    serve(create_app(settings, code), listener)
    return 0


def run_health(_arguments: argparse.Namespace) -> int:
    """Ask the service, as a container's health check does."""
    import httpx  # noqa: PLC0415 - `serve` does without it

    settings = Settings.from_env(os.environ)
    try:
        response = httpx.get(f"{settings.url}/available", timeout=HEALTH_TIMEOUT_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        print(f"unhealthy: no answer from {settings.url}: {error}", file=sys.stderr)
        return 1
    if response.status_code != httpx.codes.OK:
        print(f"unhealthy: {settings.url} answers {response.status_code}: {response.text}", file=sys.stderr)
        return 1
    print("healthy")
    return 0


def _set_up_logging() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%F %T"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # we log the same, better
