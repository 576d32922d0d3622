"""What the service remembers, in configs of a swarm that is in memory."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.services.state import MOST_BYTES, SwarmState
from plugvisor.errors import StoreUnavailable


class Configs:
    """The part of the Engine API that is about configs."""

    def __init__(self) -> None:
        self.by_name: dict[str, dict[str, Any]] = {}
        self.raced: dict[str, str] = {}
        """What another service writes between a look and a write, by its name."""

    def add(self, name: str, labels: dict[str, str], data: str = "") -> None:
        self.by_name[name] = {"ID": f"id-{name}", "Spec": {"Name": name, "Labels": labels, "Data": data}}

    async def call(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        if method == "GET":
            (label,) = query["filters"]["label"]
            return [config for config in self.by_name.values() if label in config["Spec"]["Labels"]]
        if method == "DELETE":
            del self.by_name[path.removeprefix("/configs/id-")]
            return None
        if body["Name"] in self.raced:
            self.add(body["Name"], body["Labels"], self.raced.pop(body["Name"]))
        if body["Name"] in self.by_name:
            raise DockerError(409, "rpc error: code = AlreadyExists")
        self.add(body["Name"], body["Labels"], body["Data"])
        return {"ID": f"id-{body['Name']}"}


@pytest.fixture
def configs() -> Configs:
    return Configs()


def save(configs: Configs, number: int, data: bytes) -> bool:
    return asyncio.run(SwarmState(configs, Names()).save(number, data))  # type: ignore[arg-type]


def load(configs: Configs) -> tuple[int, bytes] | None:
    return asyncio.run(SwarmState(configs, Names()).load())  # type: ignore[arg-type]


def test_the_newest_counts_and_few_are_kept(configs: Configs) -> None:
    assert load(configs) is None
    for number in range(1, 12):
        assert save(configs, number, b"%d" % number)
    assert load(configs) == (11, b"11")
    assert sorted(configs.by_name) == ["plugvisor-state-10", "plugvisor-state-11"]


def test_a_process_knows_what_it_has_written_itself(configs: Configs) -> None:
    async def scenario() -> None:
        first, second = (SwarmState(configs, Names()) for _ in range(2))  # type: ignore[arg-type]
        await first.load()
        assert not first.is_own
        await first.save(1, b"one")
        await second.load()
        assert (first.is_own, second.is_own) == (True, False)
        await second.save(2, b"two")
        await first.load()
        assert (first.is_own, second.is_own) == (False, True)

    asyncio.run(scenario())


def test_a_number_that_is_taken_or_was_is_not_used_again(configs: Configs) -> None:
    assert save(configs, 7, b"seven")
    assert not save(configs, 7, b"other")
    assert not save(configs, 3, b"other")
    configs.raced = {"plugvisor-state-8": base64.b64encode(b"eight").decode()}
    assert not save(configs, 8, b"other")
    assert load(configs) == (8, b"eight")


def test_configs_of_others_are_left_alone(configs: Configs) -> None:
    configs.add("plugvisor-state-99", {})
    configs.add("mine", {"plugvisor.state": "5"})
    for number in range(1, 5):
        assert save(configs, number, b"x")
    assert {"plugvisor-state-99", "mine"} <= configs.by_name.keys()
    assert load(configs) == (4, b"x")


def test_names_that_others_have_taken_are_passed_over(configs: Configs) -> None:
    for number in (5, 6, 9):
        configs.add(f"plugvisor-state-{number}", {})
    assert save(configs, 5, b"five")
    assert load(configs) == (7, b"five")
    assert not save(configs, 6, b"another service's")
    assert save(configs, 8, b"eight")
    assert save(configs, 9, b"nine")
    assert load(configs) == (10, b"nine")
    assert {"plugvisor-state-5", "plugvisor-state-6", "plugvisor-state-9"} <= configs.by_name.keys()
    for number in range(11, 200):
        configs.add(f"plugvisor-state-{number}", {})
    with pytest.raises(StoreUnavailable, match="somebody else"):
        save(configs, 11, b"eleven")


def test_a_number_that_leaves_none_after_it_does_not_end_all_writing(configs: Configs) -> None:
    configs.add("plugvisor-state-999999999999999", {"plugvisor.state": "1"})
    configs.add("plugvisor-state-0007", {"plugvisor.state": "7"})
    assert load(configs) is None
    for number in range(1, 4):
        assert save(configs, number, b"%d" % number)
    assert load(configs) == (3, b"3")


def test_what_is_too_large_or_damaged_is_an_error(configs: Configs) -> None:
    with pytest.raises(StoreUnavailable, match=str(MOST_BYTES)):
        save(configs, 1, bytes(MOST_BYTES + 1))
    assert configs.by_name == {}
    configs.add("plugvisor-state-1", {"plugvisor.state": "1"}, "no base64!")
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        load(configs)
