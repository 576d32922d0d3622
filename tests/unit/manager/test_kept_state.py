"""What is remembered, on several machines with a real store each, of which the service runs on one after the other."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import IdentityExists, StoreUnavailable
from plugvisor.manager.kept_state import keeper as module
from plugvisor.manager.kept_state.rows import NewerFormat, find_changes, merge, pack, read_changes, unpack
from plugvisor.models.stored.identity import Identity

from tests.helpers.kept_state import FakeKeptState, Machine, run_machine
from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

OPS = Identity("ops", "operator", ("web-*",))


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLUSH_SECONDS", "LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)


def run(scenario: Callable[[FakeKeptState], Awaitable[None]]) -> None:
    async def live() -> None:
        await scenario(FakeKeptState())

    asyncio.run(live())


async def wait_kept(kept: FakeKeptState, *rows: str) -> None:
    await wait_until(lambda: kept.list_rows() == set(rows), f"{rows} are kept")


def knows(machine: Machine, token: str) -> bool:
    return machine.identities.find(token.encode()) is not None


def test_another_machine_knows_tokens_intents_and_what_is_disabled(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first:
            token = await first.identities.add(OPS, "admin")
            first.intents.set("web", "stopped", "ops")
            first.intents.disable("old", "admin")
            await wait_kept(kept, "identity/ops", "intent/web", "disabled/old")
        async with run_machine(kept, tmp_path / "2") as second:
            identity = second.identities.find(token.encode())
            assert identity == OPS
            assert second.intents.all["web"].wanted == "stopped"
            assert second.intents.disabled["old"][0] == "admin"

    run(scenario)


def test_a_token_is_kept_when_it_is_issued(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path) as machine:
            await machine.identities.add(OPS, "admin")
            assert kept.list_rows() == {"identity/ops"}
            token = await machine.identities.rotate("ops")
            rows = unpack(kept.kept[-1])
            await machine.identities.remove("ops")
            assert kept.list_rows() == set()
        assert token[1] not in str(rows)

    run(scenario)


def test_no_token_is_issued_while_it_cannot_be_kept(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path) as machine:
            kept.is_away = True
            with pytest.raises(StoreUnavailable, match="no manager of the swarm answers"):
                await machine.identities.add(OPS, "admin")
            assert machine.identities.list_all() == []
            kept.is_away = False
            await machine.identities.add(OPS, "admin")

    run(scenario)


def test_a_change_that_was_not_answered_is_undone(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path) as machine:
            token = await machine.identities.add(OPS, "admin")
            kept.loses_answers = True
            with pytest.raises(StoreUnavailable):
                await machine.identities.remove("ops")
            assert kept.list_rows() == set()
            kept.loses_answers = kept.is_away = False
            await wait_kept(kept, "identity/ops")
            assert knows(machine, token)

    run(scenario)


def test_what_was_changed_meanwhile_on_another_machine_is_taken_over(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first:
            removed = await first.identities.add(OPS, "admin")
            first.intents.set("web", "stopped", "ops")
            first.intents.disable("old", "ops")
            await wait_kept(kept, "identity/ops", "intent/web", "disabled/old")
        async with run_machine(kept, tmp_path / "2") as second:
            await second.identities.remove("ops")
            added = await second.identities.add(Identity("ci", "viewer"), "admin")
            second.intents.set("web", "running", "ci")
            await second.intents.enable("old")
        async with run_machine(kept, tmp_path / "1") as first:
            assert not knows(first, removed)
            assert knows(first, added)
            assert first.intents.all["web"].wanted == "running"
            assert not first.intents.disabled
        kept.is_away = True  # so it was stored, too
        async with run_machine(kept, tmp_path / "1") as first:
            assert knows(first, added)
            assert not knows(first, removed)
            assert first.intents.all["web"].by == "ci"

    run(scenario)


def test_what_a_killed_service_could_not_keep_is_kept_by_the_next_on_its_machine(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first:
            first.intents.set("web", "running", "ops")
            await wait_kept(kept, "intent/web")
            kept.is_away = True
            first.intents.set("web", "stopped", "ops")
            first.intents.disable("old", "ops")
        kept.is_away = False
        async with run_machine(kept, tmp_path / "1") as first:
            assert first.intents.all["web"].wanted == "stopped"
            await wait_kept(kept, "intent/web", "disabled/old")

    run(scenario)


def test_two_services_at_once_lose_no_token(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first, run_machine(kept, tmp_path / "2") as second:
            names = [f"user-{number}" for number in range(6)]
            machines = [first, second] * 3
            tokens = await asyncio.gather(
                *(
                    machine.identities.add(Identity(name, "viewer"), "admin")
                    for name, machine in zip(names, machines, strict=True)
                )
            )
            assert kept.list_rows() == {f"identity/{name}" for name in names}
            for machine in (first, second):
                await wait_until(lambda m=machine: all(knows(m, token) for token in tokens), "every token is known")  # type: ignore[misc]

    run(scenario)


def test_one_name_is_one_identity_for_two_services(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first, run_machine(kept, tmp_path / "2") as second:
            await first.identities.add(OPS, "admin")
            await wait_until(lambda: len(second.identities.list_all()) == 1, "the other service knows it")
            with pytest.raises(IdentityExists):
                await second.identities.add(OPS, "admin")

    run(scenario)


def test_a_start_without_a_manager_takes_it_over_later(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first:
            token = await first.identities.add(OPS, "admin")
        kept.is_away = True
        async with run_machine(kept, tmp_path / "2") as second:
            assert not knows(second, token)
            kept.is_away = False
            await wait_until(lambda: knows(second, token), "the token is known")

    run(scenario)


@pytest.mark.parametrize("damage", ["removed", "damaged"])
def test_what_somebody_has_removed_or_damaged_is_kept_again(tmp_path: Path, damage: str) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path) as machine:
            token = await machine.identities.add(OPS, "admin")
            if damage == "removed":
                kept.kept.clear()
            else:
                kept.kept[-1] = b"no snapshot"
            kept.has_changed.clear()
            await kept.has_changed.wait()
            assert kept.list_rows() == {"identity/ops"}
            assert knows(machine, token)

    run(scenario)


def test_without_the_newest_no_older_state_comes_back(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path) as machine:
            revoked = await machine.identities.add(OPS, "admin")
            await machine.identities.remove("ops")
            token = await machine.identities.add(Identity("ci", "viewer"), "admin")
            del kept.kept[1:]
            kept.number -= 2
            await wait_kept(kept, "identity/ci")
            assert knows(machine, token)
            assert not knows(machine, revoked)

    run(scenario)


def test_a_service_that_was_killed_while_it_took_something_over_takes_nothing_away(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first:
            await first.identities.add(OPS, "admin")
            first.intents.set("web", "stopped", "ops")
            await wait_kept(kept, "identity/ops", "intent/web")
        async with run_machine(kept, tmp_path / "2", writes=False) as second:
            assert second.identities.list_all()
            kept.is_away = True  # no orderly end
        kept.is_away = False
        async with run_machine(kept, tmp_path / "2") as second:
            assert second.identities.list_all()
            assert second.intents.all
        assert kept.list_rows() == {"identity/ops", "intent/web"}

    run(scenario)


def test_what_a_later_version_keeps_is_left_alone(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        later = zlib.compress(b'{"format": 2, "rows": {}}')
        kept.kept.append(later)
        async with run_machine(kept, tmp_path) as machine:
            with pytest.raises(StoreUnavailable, match="a later version"):
                await machine.identities.add(OPS, "admin")
            machine.intents.set("web", "stopped", "ops")
        assert kept.kept == [later]

    run(scenario)


def test_a_rotated_admin_code_applies_on_another_machine(tmp_path: Path) -> None:
    async def scenario(kept: FakeKeptState) -> None:
        async with run_machine(kept, tmp_path / "1") as first:
            _, code = await first.identities.rotate_admin()
        async with run_machine(kept, tmp_path / "2") as second:
            assert knows(second, code)
        async with run_machine(kept, tmp_path / "3", code="another-code-was-configured") as third:
            assert not knows(third, code)
            assert knows(third, "another-code-was-configured")

    run(scenario)


# -- rows


def test_a_merge_keeps_the_changes_of_both() -> None:
    base = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
    mine = {"a": 2, "b": 1, "d": 1, "e": 2, "mine": 1}
    theirs = {"a": 1, "b": 2, "c": 1, "e": 3, "theirs": 1}
    assert merge(base, mine, theirs) == {"a": 2, "b": 2, "e": 2, "mine": 1, "theirs": 1}
    assert find_changes({"a": 1, "b": 1}, {"a": 2, "c": 3}) == {"a": 2, "b": None, "c": 3}


def test_packed_rows_are_the_same_for_the_same_rows() -> None:
    assert pack({"a": 1, "b": [2]}) == pack({"b": [2], "a": 1})
    assert unpack(pack({"a": 1, "b": [2]})) == {"a": 1, "b": [2]}


@pytest.mark.parametrize("data", [b"", b"x", pack({"a": 1})[:-3], b'{"format":1,"rows":{}}'])
def test_what_was_not_packed_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(data)


def test_a_later_format_is_recognised() -> None:
    with pytest.raises(NewerFormat):
        unpack(zlib.compress(b'{"format": 2, "rows": {}}'))


def test_rows_that_are_invalid_are_left_out() -> None:
    digest = "A" * 43 + "="
    changes = read_changes(
        {
            "identity/ops": ["operator", ["web-*"], digest, 1.0, "admin", None],
            "identity/admin": ["admin", ["*"], digest, 1.0, "admin", None],
            "identity/Bad name": ["admin", ["*"], digest, 1.0, "admin", None],
            "identity/root": ["superuser", ["*"], digest, 1.0, "admin", None],
            "identity/short": ["admin", ["*"], "AAAA", 1.0, "admin", None],
            "identity/gone": None,
            "intent/web": {"wanted": "running", "by": "ops", "at": 1.0},
            "intent/db": {"wanted": "perhaps", "by": "ops", "at": 1.0},
            "unknown/x": 1,
        }
    )
    assert set(changes.identities) == {"ops", "gone"}
    assert changes.identities["gone"] is None
    assert set(changes.intents) == {"web"}
