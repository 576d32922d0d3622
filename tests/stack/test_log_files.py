"""Log files that an operator renames, deletes or truncates: every reader goes on."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.helpers.log_clients import HEADERS, following, messages_of, open_websocket, receive
from tests.helpers.printer_plugin import PRINTER
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "renamed": lambda log: log.rename(log.with_suffix(".old")),
    "deleted": lambda log: log.unlink(),
    "truncated": lambda log: os.truncate(log, 0),
    "gone with its folder": lambda log: shutil.rmtree(log.parent),
}


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_readers_go_on(shared: PlugvisorStack, add: Callable[..., str], what: str) -> None:
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    log = shared.log_dir / f"{plugin_id}.log"
    printed = shared.plugins_dir / plugin_id / "printed"
    count = 0

    def print_line() -> None:
        nonlocal count
        count += 1
        with printed.open("a") as file:
            file.write(f"after {count}\n")

    def read() -> list[str]:
        response = shared.http.get(f"/plugin/{plugin_id}/logs", headers=HEADERS)
        assert response.status_code == 200, response.text
        return [entry["message"] for entry in response.json()["logs"]]

    with following(shared, plugin_id) as events, open_websocket(shared, plugin_id) as websocket:
        events.wait("initial")
        assert receive(websocket)["type"] == "initial"
        REPLACEMENTS[what](log)
        wait_for(lambda: print_line() or any("after" in line for line in read()), "a line in the log")
        last = f"after {count + 1}"
        print_line()
        wait_for(lambda: last in read(), "the last line")
        wait_for(lambda: last in messages_of(events), "the last line in the stream")
        while last not in [entry["message"] for entry in receive(websocket).get("logs", [])]:
            pass
        lines = [line for line in messages_of(events) if line.startswith("after")]
        assert len(lines) == len(set(lines)), "a line came twice"


def test_a_plugin_is_added_and_started_while_the_log_folder_is_gone(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    folder, aside = plugvisor.log_dir, plugvisor.log_dir.with_name("aside")
    for name, options in (("new", "stopwaitsecs = 7"), ("newer", "stopwaitsecs = 8")):
        plugvisor.write_plugin(name, runtime=f"auto_start = false\nsupervisor.{options}")
        folder.rename(aside)
        assert plugvisor.post("/plugins/refresh").json()["added"] == [name]
        assert plugvisor.start_running(name)
        shutil.rmtree(aside)


@pytest.mark.parametrize("name", ["_supervisord", "_server"])
def test_our_own_logs_go_on(shared: PlugvisorStack, add: Callable[..., str], name: str) -> None:
    plugin_id = add()
    path = shared.log_dir / f"{name}.log"

    def write() -> bool:
        shared.post(f"/plugin/{plugin_id}/start")
        shared.post(f"/plugin/{plugin_id}/stop")
        return path.exists() and plugin_id in path.read_text()

    wait_for(write, "the log to be there after another test has deleted it")
    path.unlink()
    wait_for(write, "the log to go on")


@pytest.mark.parametrize("backups", [0, 2])
def test_how_much_is_kept(shared: PlugvisorStack, add: Callable[..., str], backups: int) -> None:
    """A changed manifest applies at the next reload; readers of the log go on."""
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    printed = shared.plugins_dir / plugin_id / "printed"
    runtime = f'{QUICK}\nlogs.max_size = "64K"\nlogs.backups = {backups}'

    def print_lines(name: str, count: int) -> None:
        write("".join(f"{name} {number} {'x' * 90}\n" for number in range(count)))
        # without backups, the last line may be the one with which the file begins anew
        wait_for(lambda: f"{name} done" in read_newest() or write(f"{name} done\n"), "the last line")

    def write(text: str) -> None:
        with printed.open("a") as file:
            file.write(text)

    def read_newest() -> str:
        answer = shared.http.get(f"/plugin/{plugin_id}/logs", headers=HEADERS, params={"lines": 5}).json()
        return "".join(entry["message"] for entry in answer["logs"])

    def list_files() -> list[str]:
        return sorted(path.name for path in shared.log_dir.glob(f"{plugin_id}.log.*"))

    print_lines("before", 1000)
    assert list_files() == []
    shared.write_plugin(plugin_id, PRINTER, runtime=runtime)
    with following(shared, plugin_id) as events:
        assert shared.post(f"/plugin/{plugin_id}/reload").status_code == 200
        for number in range(8):
            print_lines(f"after-{number}", 700)
        assert list_files() == [f"{plugin_id}.log.{number}" for number in range(1, backups + 1)]
        last = "after-7 done"
        wait_for(lambda: last in messages_of(events) or write(f"{last}\n"), "the last line in the stream")
    sizes = [path.stat().st_size for path in shared.log_dir.glob(f"{plugin_id}.log*")]
    assert sum(sizes) < (backups + 1) * 192 * 1024
