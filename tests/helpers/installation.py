"""Installing packages into a Plugvisor under test."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.helpers.stack import PlugvisorStack

WAIT_SECONDS = 50


def install(stack: PlugvisorStack, package: bytes, **query: Any) -> httpx.Response:
    """Install a package, and wait for the end."""
    parameters = {"wait": WAIT_SECONDS, **query}
    return stack.post("/plugins/install", params=_write(parameters), content=package)


def begin_install(stack: PlugvisorStack, package: bytes, **query: Any) -> str:
    """Begin to install a package; returns the operation's id."""
    response = stack.post("/plugins/install", params=_write(query), content=package)
    assert response.status_code == 202, response.text
    operation_id: str = response.json()["id"]
    return operation_id


def installed(stack: PlugvisorStack, package: bytes, **query: Any) -> dict[str, Any]:
    """Install a package, which succeeds; returns the operation."""
    response = install(stack, package, **query)
    assert response.status_code == 201, response.text
    operation: dict[str, Any] = response.json()
    assert operation["state"] == "succeeded"
    return operation


def wait_for_end(stack: PlugvisorStack, operation_id: str) -> dict[str, Any]:
    """Wait until an operation has ended; returns it, with its log."""

    def look() -> dict[str, Any] | None:
        response = stack.get(f"/operations/{operation_id}")
        assert response.status_code == 200, response.text
        operation: dict[str, Any] = response.json()
        return operation if operation["state"] != "running" else None

    operation: dict[str, Any] = wait_for(look, f"the end of {operation_id}")
    return operation


def find_current(install_dir: Path, plugin_id: str) -> str:
    """The name of the version that is current; empty if there is none."""
    try:
        return os.path.basename(os.readlink(install_dir / plugin_id / "current"))
    except FileNotFoundError:
        return ""


def list_folders(install_dir: Path, plugin_id: str) -> list[str]:
    """The versions that are on the disk."""
    folder = install_dir / plugin_id / "versions"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def read_record(install_dir: Path, plugin_id: str) -> dict[str, Any]:
    """The record of what is installed."""
    record: dict[str, Any] = json.loads((install_dir / plugin_id / "installed.json").read_text())
    return record


def list_left_overs(stack: PlugvisorStack) -> list[str]:
    """What a test may not leave: files that are staged or uploaded."""
    folders = [stack.plugins_dir / ".staging", stack.root / "state" / "uploads"]
    return [str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()]


def _write(query: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
