"""Variables whose values are in files, whichever engine runs the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

PRINTS = f'import os\nprint("key:", os.environb[b"KEY"], os.environ["OTHER"], flush=True)\n{OBEDIENT}'
FAILURE = "cannot read the file of the variable 'KEY': No such file or directory"


def runtime_with(path: str | Path, more: str = "") -> str:
    return f'{QUICK}{more}\nenvironment.OTHER = "other"\nenvironment_files.KEY = "{path}"'


def wait_for_line(shared: PlugvisorStack, plugin_id: str, value: bytes) -> None:
    wait_for(lambda: f"key: {value!r} other\n" in shared.read_log(plugin_id), "the value")


def test_each_start_reads_it(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """Byte for byte, by a path that is relative to the plugin's folder or absolute."""
    file = shared.root / "key"
    file.write_bytes(b"one \xe9\xff\n")
    plugin_id = add(PRINTS, runtime=runtime_with(file))
    shared.start_running(plugin_id)
    wait_for_line(shared, plugin_id, b"one \xe9\xff")
    file.write_bytes("二\n".encode())
    shared.change(plugin_id, "reload")
    wait_for_line(shared, plugin_id, "二".encode())
    shared.write_plugin(plugin_id, PRINTS, runtime=runtime_with("keys/own"))
    (shared.plugins_dir / plugin_id / "keys").mkdir()
    (shared.plugins_dir / plugin_id / "keys" / "own").write_bytes(b"three")
    shared.change(plugin_id, "reload")
    wait_for_line(shared, plugin_id, b"three")
    shared.change(plugin_id, "stop")


def test_a_file_that_is_missing(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """It is added all the same, and can be started as soon as the file is there."""
    file = shared.root / "later"
    plugin_id = add(PRINTS, runtime=runtime_with(file))
    for verb in ("start", "reload"):
        failed = shared.post(f"/plugin/{plugin_id}/{verb}")
        assert (failed.status_code, failed.json()["code"]) == (500, "start_failed")
        assert FAILURE in failed.json()["detail"]
        assert str(file) not in failed.text
    file.write_text("here")
    shared.start_running(plugin_id)
    wait_for_line(shared, plugin_id, b"here")
    shared.change(plugin_id, "stop")


def test_a_check_has_it(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    file = shared.root / "checked"
    file.write_text("for the check")
    check = """\ncheck = {exec = ["sh", "-c", 'test "$KEY" = "for the check"'], level = "alive", period = 0.5}"""
    plugin_id = add(PRINTS, runtime=f"{runtime_with(file)}\n[plugin_runtime.checks]{check}")
    shared.change(plugin_id, "start")
    shared.wait_for_status(plugin_id, "running")

    def is_up() -> bool:
        health = shared.get(f"/plugin/{plugin_id}/health").json()
        return [check["status"] for check in health.get("checks", [])] == ["up"]

    if shared.engine == "supervisord":  # a swarm has the plugin be `starting` until its check passes
        wait_for(is_up, "the check to pass")
    shared.change(plugin_id, "stop")
