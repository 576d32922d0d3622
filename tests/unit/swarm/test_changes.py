"""Changes of services while others change them too, and while answers are lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.changes import MOST_TRIES, Services
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.services.spec import get_replicas, set_replicas
from plugvisor.errors import InvalidManifest, StartFailed, SupervisorConfused, SupervisorUnavailable

from tests.helpers.swarm_services import FakeServiceClient, change_service

NAME = "plugvisor-echo"


def make_spec(**own: Any) -> dict[str, Any]:
    mode = {"Replicated": {"Replicas": 0}}
    return {"Name": NAME, "Labels": {labels.ID: "echo"}, "Mode": mode, "TaskTemplate": {}, **own}


def make_services() -> tuple[FakeServiceClient, Services]:
    client = FakeServiceClient()
    return client, Services(client, Names())  # type: ignore[arg-type]


def start(spec: dict[str, Any]) -> dict[str, Any]:
    return set_replicas(spec, 1)


def test_a_change_by_somebody_else_at_the_same_time_is_kept() -> None:
    async def run() -> None:
        client, services = make_services()
        await services.create("echo", make_spec())
        rivals = ["first", "second"]

        def change_too(service: dict[str, Any]) -> None:
            if rivals:
                spec = service["Spec"]
                change_service(service, {**spec, "Labels": {**spec["Labels"], rivals.pop(): "theirs"}})

        client.before_update = change_too
        assert await services.change("echo", start) is True
        spec = client.services[NAME]["Spec"]
        assert (get_replicas(spec), spec["Labels"]["first"], spec["Labels"]["second"]) == (1, "theirs", "theirs")

    asyncio.run(run())


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "<html>",
        {},
        {"ID": "x", "Spec": make_spec()},
        {"ID": "x", "Spec": make_spec(), "Version": {}},
        {"ID": "x", "Spec": make_spec(), "Version": {"Index": "1"}},
        {"ID": "x", "Spec": make_spec(Labels="echo"), "Version": {"Index": 1}},
        {"ID": "x", "Spec": make_spec(TaskTemplate=None), "Version": {"Index": 1}},
        {"ID": 5, "Spec": make_spec(), "Version": {"Index": 1}},
    ],
)
def test_an_answer_that_is_no_service_is_an_error_in_words_and_changes_nothing(odd: Any) -> None:
    async def run() -> None:
        client, services = make_services()
        await services.create("echo", make_spec())
        client.read = lambda _name: odd
        with pytest.raises(SupervisorConfused, match="not understood"):
            await services.change("echo", start)
        assert not any(call.endswith("/update") for call in client.calls)

    asyncio.run(run())


def test_it_is_given_up_in_words_if_others_change_a_service_without_end() -> None:
    async def run() -> None:
        client, services = make_services()
        await services.create("echo", make_spec())
        client.before_update = lambda service: change_service(service, service["Spec"])
        with pytest.raises(StartFailed, match="others change its service"):
            await services.change("echo", start)
        assert sum(call.endswith("/update") for call in client.calls) == MOST_TRIES
        assert get_replicas(client.services[NAME]["Spec"]) == 0

    asyncio.run(run())


def test_a_service_of_somebody_else_is_left_alone() -> None:
    async def run() -> None:
        client, services = make_services()
        theirs = {"ID": NAME, "Version": {"Index": 7}, "Spec": make_spec(Labels={})}
        client.services[NAME] = theirs
        assert not services.is_foreign("echo")
        for change in (
            services.create("echo", make_spec()),
            services.change("echo", start),
            services.delete("echo"),
            services.read("echo"),
        ):
            with pytest.raises(InvalidManifest, match="choose another id"):
                await change
        assert client.services == {NAME: theirs}
        assert services.is_foreign("echo")

    asyncio.run(run())


@pytest.mark.parametrize("was_done", [True, False])
def test_a_change_whose_answer_was_lost_is_looked_for(was_done: bool) -> None:
    async def run() -> None:
        client, services = make_services()
        await services.create("echo", make_spec())

        def lose() -> None:
            raise SupervisorUnavailable("no manager answers")

        if was_done:
            client.after_update = lose
            assert await services.change("echo", start) is True
        else:
            client.before_update = lambda _service: lose()
            with pytest.raises(SupervisorUnavailable):
                await services.change("echo", start)
        assert get_replicas(client.services[NAME]["Spec"]) == was_done

    asyncio.run(run())


def test_a_service_whose_creation_was_not_answered_is_found() -> None:
    async def run() -> None:
        client, services = make_services()

        def lose() -> None:
            raise SupervisorUnavailable("no manager answers")

        client.after_update = lose
        assert await services.create("echo", make_spec()) is True
        assert await services.create("echo", make_spec()) is False

    asyncio.run(run())


def test_what_is_not_there_is_neither_changed_nor_missed() -> None:
    async def run() -> None:
        _, services = make_services()
        assert await services.change("echo", start) is None
        assert await services.read("echo") is None
        await services.delete("echo")

    asyncio.run(run())


def test_nothing_is_sent_if_nothing_is_to_be_changed() -> None:
    async def run() -> None:
        client, services = make_services()
        await services.create("echo", make_spec())
        assert await services.change("echo", lambda _spec: None) is False
        assert client.services[NAME]["Version"] == {"Index": 1}

    asyncio.run(run())


def test_the_words_of_the_engine_are_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        client, services = make_services()
        await services.create("echo", make_spec())

        def reject(_service: object) -> None:
            raise DockerError(400, "rpc error: code = InvalidArgument desc = bad /secret/path")

        client.before_update = reject
        with pytest.raises(StartFailed) as raised:
            await services.change("echo", start)
        assert "/secret/path" not in str(raised.value)

    asyncio.run(run())
    assert "/secret/path" in caplog.text


def test_nodes_pull_with_the_credentials_of_the_registry() -> None:
    client = FakeServiceClient()
    services = Services(client, Names())  # type: ignore[arg-type]
    asyncio.run(services.create("echo", make_spec(), {"X-Registry-Auth": "e30="}))
    assert client.headers == {"X-Registry-Auth": "e30="}
    asyncio.run(services.change("echo", lambda spec: spec))
    assert client.headers == {}  # the swarm keeps those that the service has
    asyncio.run(services.change("echo", lambda spec: spec, {"X-Registry-Auth": "x"}))
    assert client.headers == {"X-Registry-Auth": "x"}
