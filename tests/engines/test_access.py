"""Who may do what, what is noted of it and what stays secret, whichever engine runs the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import QUICK
from tests.helpers.swarm.stack import SwarmStack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

SECRET = "s3cretHunter2"


def test_roles(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    viewer, operator = shared.add_identity("eyes", "viewer"), shared.add_identity("hands", "operator")
    try:
        for path in (f"/plugin/{plugin_id}/logs", "/server/info"):
            assert shared.get(path, code=None).status_code == 401
            assert shared.get(path, code=viewer).status_code == 200
        assert shared.post(f"/plugin/{plugin_id}/start", code=viewer).status_code == 403
        assert shared.post(f"/plugin/{plugin_id}/start", code=operator).status_code == 200
        assert shared.status(plugin_id)["intent"]["by"] == "hands"
        assert shared.post(f"/plugin/{plugin_id}/stop", code=operator).status_code == 200
    finally:
        shared.remove_identity("eyes")
        shared.remove_identity("hands")


def test_the_journal_has_operations_and_states(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    shared.change(plugin_id, "stop")

    def look() -> bool:
        told = shared.get(f"/journal?plugin_id={plugin_id}&limit=100").json()["entries"]
        operations = {(entry["verb"], entry["outcome"]) for entry in told if entry["kind"] == "operation"}
        states = [entry["state"] for entry in reversed(told) if entry["kind"] == "state"]
        return {("start", "ok"), ("stop", "ok")} <= operations and "RUNNING" in states and states[-1:] == ["STOPPED"]

    wait_for(look, "the journal")


def test_which_engine_answers(shared: PlugvisorStack) -> None:
    told = shared.get("/server/info").json()
    assert told["engine"]["name"] == shared.engine
    assert shared.http.get("/health").status_code == 200
    assert shared.http.get("/available").status_code == 200


def test_a_value_of_the_environment_is_shown_to_nobody(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """Neither by the API nor, in a swarm, by `docker inspect` and `docker ps`."""
    code = f"import os\nprint(os.environ['PASSWORD'][::-1] == '{SECRET[::-1]}', flush=True)\n{OBEDIENT}"
    plugin_id = add(code, runtime=f'{QUICK}\nenvironment.PASSWORD = "{SECRET}"')
    shared.start_running(plugin_id)
    assert shared.read_log(plugin_id) == "True\nready\n"
    told = [shared.get(path).text for path in (f"/plugin/{plugin_id}/manifest", "/plugins", "/server/info", "/metrics")]
    told += [shared.get(f"/journal?plugin_id={plugin_id}").text, shared.service_log]
    if isinstance(shared, SwarmStack):
        told += list_what_docker_shows(shared, plugin_id)
    assert not [text for text in told if SECRET in text]
    shared.change(plugin_id, "stop")


def list_what_docker_shows(stack: SwarmStack, plugin_id: str) -> list[str]:
    """What the Engine's commands print of a plugin's service, tasks, containers, configs and secrets."""
    shown = [stack.docker("service", "inspect", f"plugvisor-{plugin_id}")]
    tasks = stack.docker("service", "ps", "--quiet", "--no-trunc", f"plugvisor-{plugin_id}").split()
    shown.append(stack.docker("inspect", *tasks))
    for node in stack.lab.nodes:
        if containers := node.docker("ps", "--quiet").split():
            shown += [node.docker("inspect", *containers), node.docker("ps", "--no-trunc")]
    for kind in ("config", "secret"):
        if names := stack.docker(kind, "ls", "--quiet").split():
            shown.append(stack.docker(kind, "inspect", *names))
    assert len(shown) >= 5
    return shown
