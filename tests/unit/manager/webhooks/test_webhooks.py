"""Webhooks put together: without any, nothing is imported and nothing followed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.manager.manager import Manager
from plugvisor.manager.webhooks.webhooks import Webhooks
from plugvisor.models.process import ProcessState
from plugvisor.store.store import Store
from plugvisor.webhook_secret import WebhookSecret

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario, wait_until
from tests.helpers.stores import make_intents
from tests.helpers.waiting import DEADLINE_SECONDS
from tests.helpers.webhook_receiver import SECRET, run_receiver

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_the_service_does_not_import_an_http_client_without_need() -> None:
    code = "import sys, plugvisor.cli.service; sys.exit(bool({'httpx', 'standardwebhooks'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize(("urls", "secret"), [((), WebhookSecret(SECRET)), (("https://example.com",), None)])
def test_nothing_is_followed_without_need(tmp_path: Path, urls: Sequence[str], secret: WebhookSecret | None) -> None:
    async def scenario() -> None:
        engine, store = FakeEngine(), Store(Path("/nonexistent"))
        webhooks = Webhooks(urls, secret, store, Manager(tmp_path, engine, make_intents()), engine)
        await webhooks.open()
        assert engine.on_change == store.on_change == []
        assert webhooks.queues == []
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await webhooks.close()

    run_scenario(scenario())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        engine, store = FakeEngine(announces=True), Store(Path("/nonexistent"))
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "plugin.toml").write_text('[plugin]\nid = "a"\ncommand = "true"\n')
        manager = Manager(tmp_path, engine, make_intents())
        await manager.load()
        webhooks = Webhooks([url], WebhookSecret(SECRET), store, manager, engine)
        await webhooks.open()
        engine.set("a", ProcessState.FATAL, spawn_error="no")
        await wait_until(lambda: webhooks.queues[0].sent == 1, "the message to be sent")
        await webhooks.close()
        await manager.close()
        assert (engine.on_change, store.on_change, store.on_replaced, manager.on_facts) == ([], [], [], [])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with run_receiver() as receiver:
        run_scenario(scenario(receiver.url))
        assert [one.kind for one in receiver.received] == ["plugin.given_up"]
