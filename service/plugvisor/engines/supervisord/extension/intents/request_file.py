"""The file that keeps requests for plugins while no service runs that takes them over: `<run_dir>/asked.json`.

{"echo": {"wanted": "stopped", "token": "5e884898-3", "at": 1764418861.5}}
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import Any

from plugvisor.engines.supervisord.extension.intents.small_file import read_small_file

REQUESTS_FILE = "asked.json"
LARGEST_BYTES = 4 * 1024 * 1024
"""More than ten thousand plugins need."""
LONGEST_TOKEN = 64


def read_requests(path: str) -> dict[str, dict[str, Any]]:
    """Read the requests; there are none without the file. Raises `OSError`, or `ValueError` if it is damaged."""
    try:
        requests = json.loads(read_small_file(path, LARGEST_BYTES))
    except FileNotFoundError:
        return {}
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(requests, dict) or not all(map(_is_request, requests.values())):
        raise ValueError("it does not hold requests")
    return requests


def write_requests(path: str, requests: dict[str, dict[str, Any]]) -> None:
    """Replace the file in one step; raises `OSError`."""
    temporary = f"{path}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(json.dumps(requests).encode())
    os.replace(temporary, path)


def _is_request(value: Any) -> bool:
    """Whether the state stream's readers would accept it."""
    if not isinstance(value, dict) or value.keys() != {"wanted", "token", "at"}:
        return False
    wanted, token, at = value["wanted"], value["token"], value["at"]
    is_time = isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at) and 0 <= at <= 1e11
    return wanted in ("running", "stopped") and isinstance(token, str) and len(token) <= LONGEST_TOKEN and is_time
