"""Many plugins started and stopped at once, by many clients; `PLUGVISOR_TEST_PLUGINS=1000` makes it a thousand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.systems.supervisord import COMMAND, name_plugins
from tests.helpers.processes import is_alive
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.helpers.stack import PlugvisorStack

COUNT = int(os.environ.get("PLUGVISOR_TEST_PLUGINS", "200"))
CLIENTS = 64
SECONDS = 240.0
"""For everything; reached only where something hangs."""
MANIFEST = """\
[plugin]
id = "{name}"
command = {command}
[plugin_runtime]
auto_start = false
[plugin_runtime.supervisor]
startsecs = 0
"""


async def post_all(plugvisor: PlugvisorStack, paths: Iterable[str]) -> tuple[list[httpx.Response], float, float]:
    """POST to every path, so many at once; returns the answers, the seconds of all and those of the slowest."""
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
    turns = asyncio.Semaphore(CLIENTS)
    refusals: list[str] = []
    slowest = 0.0
    async with httpx.AsyncClient(
        base_url=plugvisor.url, limits=limits, timeout=SECONDS, trust_env=False, headers=headers
    ) as http:

        async def post(path: str) -> httpx.Response:
            nonlocal slowest
            async with turns:
                began = time.monotonic()
                # on a machine that has more to do than it can, supervisord may be late: what a client does then
                while (response := await http.post(path)).status_code == 503:
                    refusals.append(path)
                    await asyncio.sleep(int(response.headers["Retry-After"]))
                slowest = max(slowest, time.monotonic() - began)
                return response

        began = time.monotonic()
        answers = await asyncio.gather(*map(post, paths))
        if refusals:
            print(f"{len(refusals)} answers were 503")  # noqa: T201 - shown by -s
        return list(answers), time.monotonic() - began, slowest


def read_states(plugvisor: PlugvisorStack) -> dict[str, dict[str, Any]]:
    plugins: dict[str, dict[str, Any]] = plugvisor.http.get("/plugin/status").json()["plugins"]
    return plugins


def find_by_folder(plugvisor: PlugvisorStack) -> dict[str, list[int]]:
    """The living processes of each plugin, by the folder in which they run: the process table's word."""
    found = defaultdict(list)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            folder = Path(os.readlink(process / "cwd"))
            if folder.parent == plugvisor.plugins_dir and is_alive(int(process.name)):
                found[folder.name].append(int(process.name))
    return found


def post_bulk(
    plugvisor: PlugvisorStack, verb: str, names: list[str], before: dict[str, int] | None = None
) -> tuple[float, dict[str, int]]:
    """Do it with all in one request; returns its seconds and the process ids, none of which is one from before."""
    began = time.monotonic()
    response = plugvisor.post(f"/plugins/{verb}", json={"plugin_ids": names}, timeout=SECONDS)
    seconds = time.monotonic() - began
    results = response.json()["results"]
    assert response.json()["ok"], [result for result in results if not result["ok"]]
    assert [result["plugin_id"] for result in results] == names
    pids = {result["plugin_id"]: result["pid"] for result in results if "pid" in result}
    assert not {*pids.values()} & {*(before or {}).values()}
    return seconds, pids


def test_all_at_once(plugvisor: PlugvisorStack) -> None:
    names = name_plugins(COUNT)
    for name in names:
        folder = plugvisor.plugins_dir / name
        folder.mkdir()
        (folder / "plugin.toml").write_text(MANIFEST.format(name=name, command=json.dumps(COMMAND)))
    plugvisor.up()
    figures = {}

    # every one twice, so that somebody is always too late: exactly one process each
    answers, figures["start all"], figures["slowest start"] = asyncio.run(
        post_all(plugvisor, [f"/plugin/{name}/start" for name in names for _ in range(2)])
    )
    assert {answer.json().get("code", "started") for answer in answers} == {"already_running", "started"}
    started = [answer.json() for answer in answers if answer.status_code == 200]
    told = read_states(plugvisor)
    assert {told[name]["status"] for name in names} == {"running"}
    pids = {name: told[name]["pid"] for name in names}
    # nobody was told of another process, and no start was answered twice
    assert {answer["plugin_id"]: answer["pid"] for answer in started}.items() <= pids.items()
    assert len(started) == len({answer["plugin_id"] for answer in started})
    assert find_by_folder(plugvisor) == {name: [pid] for name, pid in pids.items()}
    listed = re.findall(r"^(p\d{4}) +RUNNING +pid (\d+),", plugvisor.ctl("status"), re.MULTILINE)
    assert {name: int(pid) for name, pid in listed} == pids

    # some stop while others start again
    half = names[: COUNT // 2]
    answers, figures["stop and start half"], figures["slowest of these"] = asyncio.run(
        post_all(plugvisor, [f"/plugin/{name}/{what}" for name in half for what in ("stop", "reload")])
    )
    assert {answer.status_code for answer in answers} <= {200, 409}, [answer.text for answer in answers]

    # and all of them in one request
    figures["reload all in one request"], pids = post_bulk(plugvisor, "reload", names, pids)
    assert find_by_folder(plugvisor) == {name: [pid] for name, pid in pids.items()}
    figures["stop all in one request"], _ = post_bulk(plugvisor, "stop", names)
    assert not find_by_folder(plugvisor), "none is alive when its stop has been answered"
    assert {told["status"] for told in read_states(plugvisor).values()} == {"stopped"}
    assert "RUNNING" not in re.sub(r"plugvisor +RUNNING", "", plugvisor.ctl("status"))
    figures["start all in one request"], pids = post_bulk(plugvisor, "start", names)
    assert find_by_folder(plugvisor) == {name: [pid] for name, pid in pids.items()}

    # and at the end of it all
    began = time.monotonic()
    plugvisor.down()
    figures["shut down"] = time.monotonic() - began
    assert not find_by_folder(plugvisor)
    print(COUNT, {what: f"{seconds:.2f} s" for what, seconds in figures.items()})  # noqa: T201 - shown by -s
