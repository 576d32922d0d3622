"""Identities in memory and in a real store: what is in force, and what outlives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest
from plugvisor.admin_code import AdminCode
from plugvisor.errors import IdentityExists, IdentityNotFound, InvalidRequest, StoreUnavailable
from plugvisor.manager.identities import persistence
from plugvisor.manager.identities.admin import Admin, hash_token
from plugvisor.manager.identities.identities import Identities
from plugvisor.models.stored.identity import Identity
from plugvisor.store.store import FILE_NAME, Store

from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")

CODE = "an-admin-code-of-a-test"
OPS = Identity("ops", "operator", ("web-*", "db"))


def run(folder: Path, scenario: Callable[[Identities, Store], Awaitable[T]], code: str = CODE) -> T:
    """One life of a service: a store that is open, and identities that are loaded."""

    async def live() -> T:
        store = Store(folder)
        await store.open()
        identities = Identities(store, AdminCode(code))
        await identities.load()
        try:
            return await scenario(identities, store)
        finally:
            identities.close()
            await store.close()

    return asyncio.run(live())


async def settle(identities: Identities) -> None:
    """Wait until what a change of the store has caused is done."""
    if identities.persistence._recovering is not None:
        await identities.persistence._recovering


def read_all(folder: Path) -> bytes:
    """Every file of the store: what SQLite has not yet moved into the database, too."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


def name_of(identities: Identities, token: str) -> str | None:
    found = identities.find(token.encode())
    return found.name if found else None


def test_the_admin_code_is_the_identity_admin(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> None:
        admin = identities.find(CODE.encode())
        assert (admin, identities.admin) == (Identity("admin", "admin"), admin)
        assert admin is not None
        assert admin.has("admin")
        assert admin.may_change("anything")
        assert identities.find(b"") is identities.find(CODE[:-1].encode()) is None
        assert identities.find(CODE.encode(), compare_code=False) is None

    run(tmp_path, scenario)


def test_an_identity_is_found_by_its_token_now_and_after_a_restart(tmp_path: Path) -> None:
    expires_at = time.time() + 1000

    async def add(identities: Identities, _store: Store) -> tuple[str, str]:
        first = await identities.add(OPS, "admin")
        other = await identities.add(Identity("one", "viewer", expires_at=expires_at), "ops")
        assert identities.find(first.encode()) is identities.find(first.encode()) == OPS
        return first, other

    tokens = run(tmp_path, add)
    assert all(re.fullmatch(r"pv_[0-9A-Za-z]{22}", token) for token in tokens)

    async def find(identities: Identities, _store: Store) -> None:
        assert identities.find(tokens[0].encode()) == OPS
        assert identities.find(tokens[1].encode(), compare_code=False) == Identity("one", "viewer", ("*",), expires_at)
        listed = [(each.identity.name, each.created_by) for each in identities.list_all()]
        assert listed == [("one", "ops"), ("ops", "admin")]
        assert all(abs(each.created_at - time.time()) < 600 for each in identities.list_all())

    run(tmp_path, find)


def test_no_token_nor_code_is_in_the_store_or_in_memory(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> tuple[str, ...]:
        secrets = (await identities.add(OPS, "admin"), (await identities.rotate("ops"))[1])
        secrets += ((await identities.rotate_admin())[1], CODE)
        kept = "".join(repr(vars(part)) for part in (identities, identities._admin, identities.persistence))
        content = read_all(tmp_path)
        for secret in secrets:
            assert secret not in kept
            assert secret.encode() not in content
        return secrets

    token = run(tmp_path, scenario)[1]
    assert hashlib.sha256(token.encode()).digest() in read_all(tmp_path)
    assert CODE.encode() not in read_all(tmp_path)


def test_removed_is_removed(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> str:
        changes = []
        identities.on_change.append(lambda: changes.append(len(identities.list_all())))
        token = await identities.add(OPS, "admin")
        found = identities.find(token.encode())
        assert found is not None
        assert identities.is_valid(found)
        assert (await identities.remove("ops")).identity == OPS
        assert not identities.is_valid(found)
        assert name_of(identities, token) is None
        with pytest.raises(IdentityNotFound):
            await identities.remove("ops")
        assert changes == [1, 0]
        again = await identities.add(OPS, "admin")
        assert again != token
        assert not identities.is_valid(found), "it is another one of the same name"
        await identities.remove("ops")
        return token

    token = run(tmp_path, scenario)

    async def look(identities: Identities, _store: Store) -> None:
        assert name_of(identities, token) is None

    run(tmp_path, look)


def test_a_rotated_token_replaces_the_one_before(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> tuple[str, str]:
        before = await identities.add(OPS, "admin")
        proved = identities.find(before.encode())
        assert proved is not None
        identity, after = await identities.rotate("ops")
        assert identity == OPS
        assert name_of(identities, before) is None
        assert name_of(identities, after) == "ops"
        assert not identities.is_valid(proved)
        with pytest.raises(IdentityNotFound):
            await identities.rotate("other")
        return before, after

    before, after = run(tmp_path, scenario)

    async def look(identities: Identities, _store: Store) -> None:
        assert (name_of(identities, before), name_of(identities, after)) == (None, "ops")

    run(tmp_path, look)


def test_names_are_taken_once_even_at_the_same_time(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> None:
        results = await asyncio.gather(*(identities.add(OPS, "admin") for _ in range(5)), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["IdentityExists"] * 4 + ["str"]
        [token] = [result for result in results if isinstance(result, str)]
        assert name_of(identities, token) == "ops"
        with pytest.raises(IdentityExists):
            await identities.add(Identity("admin", "viewer"), "admin")

    run(tmp_path, scenario)


def test_an_expired_identity_is_listed_and_no_more(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> None:
        token = await identities.add(replace(OPS, expires_at=time.time() + 1000), "admin")
        found = identities.find(token.encode())
        assert found is not None
        assert identities.is_valid(found)
        old = await identities.add(Identity("old", "viewer", expires_at=time.time() - 1), "admin")
        assert name_of(identities, old) is None
        assert not identities.is_valid(identities.list_all()[0].identity)
        assert [each.identity.name for each in identities.list_all()] == ["old", "ops"]
        with pytest.raises(InvalidRequest, match="expired"):
            await identities.rotate("old")
        await identities.remove("old")

    run(tmp_path, scenario)


# -- the admin code


def test_a_rotated_admin_code_is_in_force_until_another_is_configured(tmp_path: Path) -> None:
    async def rotate(identities: Identities, _store: Store) -> str:
        proved = identities.admin
        assert identities.has_weak_code
        identity, code = await identities.rotate_admin()
        assert len(code) >= 22
        assert identity is identities.admin
        assert name_of(identities, code) == "admin"
        assert name_of(identities, "WEAK") is None
        assert not identities.is_valid(proved)
        assert identities.is_valid(identities.admin)
        assert not identities.has_weak_code
        return code

    first = run(tmp_path, rotate, "WEAK")

    async def rotate_again(identities: Identities, _store: Store) -> str:
        assert (name_of(identities, first), name_of(identities, "WEAK")) == ("admin", None)
        return (await identities.rotate_admin())[1]

    second = run(tmp_path, rotate_again, "WEAK")

    async def look(identities: Identities, _store: Store) -> None:
        assert [name_of(identities, code) for code in ("WEAK", first, second)] == [None, None, "admin"]

    run(tmp_path, look, "WEAK")

    async def configure_another(identities: Identities, _store: Store) -> None:
        assert [name_of(identities, code) for code in (first, second, CODE)] == [None, None, "admin"]
        await identities.add(OPS, "admin")  # which is written together with what is due

    run(tmp_path, configure_another, CODE)

    async def configure_the_first(identities: Identities, _store: Store) -> None:
        assert [name_of(identities, code) for code in (second, "WEAK")] == [None, "admin"], "it was replaced for good"

    run(tmp_path, configure_the_first, "WEAK")


def test_a_code_that_is_configured_while_the_service_runs(tmp_path: Path) -> None:
    async def scenario(identities: Identities, _store: Store) -> None:
        changes = []
        identities.on_change.append(lambda: changes.append(1))
        assert not await identities.configure(AdminCode(CODE))
        rotated = (await identities.rotate_admin())[1]
        assert not await identities.configure(AdminCode(CODE)), "it is the one that was replaced"
        assert name_of(identities, rotated) == "admin"
        proved = identities.admin
        assert await identities.configure(AdminCode("NEWS"))
        assert [name_of(identities, code) for code in (rotated, CODE, "NEWS")] == [None, None, "admin"]
        assert identities.has_weak_code
        assert not identities.is_valid(proved)
        assert len(changes) == 2
        proved, rotated = await identities.rotate_admin()
        assert await identities.configure(AdminCode(rotated)), "so that it is known where the others are"
        assert identities.is_valid(proved), "its streams go on"
        assert name_of(identities, rotated) == "admin"
        await settle(identities)

    run(tmp_path, scenario)

    async def look(identities: Identities, _store: Store) -> None:
        assert name_of(identities, CODE) == "admin", "no rotated code applies any more"

    run(tmp_path, look)


# -- a store that is in trouble


def test_what_cannot_be_stored_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(identities: Identities, store: Store) -> None:
        token = await identities.add(OPS, "admin")

        async def fail(_work: object) -> None:
            raise StoreUnavailable("it cannot be remembered now")

        monkeypatch.setattr(store, "write", fail)
        changes = []
        identities.on_change.append(lambda: changes.append(1))
        for change in (
            identities.add(Identity("one", "viewer"), "admin"),
            identities.remove("ops"),
            identities.rotate("ops"),
            identities.rotate_admin(),
        ):
            with pytest.raises(StoreUnavailable):
                await change
        assert [each.identity.name for each in identities.list_all()] == ["ops"]
        assert (name_of(identities, token), name_of(identities, CODE)) == ("ops", "admin")
        assert not changes
        monkeypatch.undo()
        await identities.remove("ops")

    run(tmp_path, scenario)


def test_what_could_not_be_loaded_is_when_the_store_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(identities: Identities, _store: Store) -> tuple[str, str]:
        return await identities.add(OPS, "admin"), (await identities.rotate_admin())[1]

    token, code = run(tmp_path, prepare)

    async def scenario() -> None:
        store = Store(tmp_path)
        await store.open()

        async def fail(_query: object) -> None:
            raise StoreUnavailable("it cannot be read now")

        monkeypatch.setattr(store, "read", fail)
        identities = Identities(store, AdminCode(CODE))
        await identities.load()
        assert name_of(identities, CODE) == "admin"
        assert name_of(identities, token) is None
        with pytest.raises(StoreUnavailable):  # else it would take the place of what cannot be seen
            await identities.add(OPS, "admin")
        monkeypatch.undo()
        for callback in store.on_change:
            callback()
        await settle(identities)
        assert (name_of(identities, token), name_of(identities, code)) == ("ops", "admin")
        assert name_of(identities, CODE) is None
        identities.close()
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("method", ["read", "write"])
def test_what_could_not_be_loaded_or_saved_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Also if the store does not say that it is unavailable."""
    monkeypatch.setattr(persistence, "RETRY_SECONDS", 0.01)

    async def prepare(identities: Identities, _store: Store) -> str:
        return await identities.add(OPS, "admin")

    token = run(tmp_path, prepare)

    async def scenario() -> None:
        store = Store(tmp_path)
        await store.open()
        identities = Identities(store, AdminCode(CODE))
        if method == "write":
            await identities.load()
            await store.write(lambda connection: connection.execute("DELETE FROM identity"))
        works, attempts = getattr(store, method), []

        async def fail_twice(work: object) -> object:
            attempts.append(work)
            if len(attempts) <= 2:
                raise StoreUnavailable("not now")
            return await works(work)

        monkeypatch.setattr(store, method, fail_twice)
        if method == "read":
            await identities.load()
        else:
            for callback in store.on_replaced:
                callback()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(attempts) <= 2 or identities.persistence._is_unsaved:  # noqa: ASYNC110 - nothing else says so
                await asyncio.sleep(0.01)
        await settle(identities)
        assert len(attempts) == 3
        assert name_of(identities, token) == "ops"
        identities.close()
        await store.close()

    asyncio.run(scenario())

    async def look(identities: Identities, _store: Store) -> None:
        assert name_of(identities, token) == "ops"

    run(tmp_path, look)


def test_a_store_that_was_replaced_gets_everything_again(tmp_path: Path) -> None:
    async def lose_all(identities: Identities, store: Store) -> tuple[str, str]:
        token = await identities.add(OPS, "admin")
        code = (await identities.rotate_admin())[1]
        await store.write(lambda connection: connection.execute("DELETE FROM identity"))
        await store.write(lambda connection: connection.execute("DELETE FROM admin_code"))
        for callback in store.on_replaced:
            callback()
        await settle(identities)
        return token, code

    token, code = run(tmp_path, lose_all)

    async def look(identities: Identities, _store: Store) -> None:
        assert (name_of(identities, token), name_of(identities, code)) == ("ops", "admin")

    run(tmp_path, look)


@pytest.mark.parametrize("change", ["plugins = 'web-*'", "plugins = '1'", "plugins = ''", "role = 'root'"])
def test_an_identity_that_was_made_invalid_by_hand_is_nobody(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def add(identities: Identities, _store: Store) -> tuple[str, str]:
        return await identities.add(OPS, "admin"), await identities.add(Identity("one", "viewer"), "admin")

    token, other = run(tmp_path, add)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute(f"UPDATE identity SET {change} WHERE name = 'ops'")

    async def look(identities: Identities, _store: Store) -> None:
        assert [name_of(identities, each) for each in (token, other, CODE)] == [None, "one", "admin"]

    run(tmp_path, look)
    assert "the identity 'ops' in the database is invalid" in caplog.text


def test_the_case_of_the_admin_code() -> None:
    """It may be ignored, for the code that is configured alone."""

    def proves(admin: Admin, code: str) -> bool:
        return admin.is_proved_by(code.encode(), hash_token(code.encode()))

    strict, lenient = Admin(AdminCode("aBcD")), Admin(AdminCode("aBcD"), ignores_case=True)
    assert [proves(strict, code) for code in ("aBcD", "ABCD", "abcd")] == [True, False, False]
    assert [proves(lenient, code) for code in ("aBcD", "ABCD", "abcd", "abce")] == [True, True, True, False]
    lenient.configure(AdminCode("WxYz"))
    assert [proves(lenient, code) for code in ("wxyz", "abcd")] == [True, False]
    code, stored = lenient.make_code()
    lenient.replace(stored)
    assert [proves(lenient, each) for each in (code, code.swapcase(), "wxyz", "WxYz")] == [True, False, False, False]
