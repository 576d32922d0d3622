"""Webhooks of a whole Plugvisor to real receivers: dead, slow, and such that lead elsewhere."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.ports import find_free_port
from tests.helpers.stack import ADMIN_CODE, QUICK, PlugvisorStack
from tests.helpers.waiting import wait_for
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver, run_receiver
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = "raise SystemExit(3)\n"
DIES_AT_WISH = """\
import os, time
print("ready", flush=True)
while not os.path.exists("die"):
    time.sleep(0.01)
os.remove("die")
raise SystemExit(3)
"""
FORKING = """\
import os, time
print("ready", flush=True)
while not os.path.exists("fork"):
    time.sleep(0.01)
for _ in range(12):
    if os.fork() == 0:
        time.sleep(1000)
time.sleep(1000)
"""
HANDS_OFF = f'{QUICK}\nsupervisor.autorestart = "false"'


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with run_receiver() as receiver:
        yield receiver


def configure(stack: PlugvisorStack, *urls: str) -> None:
    path = stack.root / "secret"
    path.write_text(f"{SECRET}\n")
    stack.environ |= {"PLUGVISOR_WEBHOOKS": ",".join(urls), "PLUGVISOR_WEBHOOK_SECRET_FILE": str(path)}


def die(stack: PlugvisorStack, plugin_id: str) -> None:
    """Have a plugin run and die."""
    assert stack.post(f"/plugin/{plugin_id}/start").status_code in (200, 409)  # it may run already
    (stack.plugins_dir / plugin_id / "die").touch()
    stack.wait_for_status(plugin_id, "error")


def read_metric(stack: PlugvisorStack, name: str, receiver: int = 1) -> float:
    text = stack.http.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_CODE}"}).text
    [line] = [
        line for line in text.splitlines() if line.startswith(f'plugvisor_webhooks_{name}{{receiver="{receiver}"}}')
    ]
    return float(line.split()[1])


def test_a_plugin_dies_recovers_and_is_given_up(plugvisor: PlugvisorStack, receiver: WebhookReceiver) -> None:
    configure(plugvisor, receiver.url)
    plugvisor.write_plugin("mortal", DIES_AT_WISH, runtime=HANDS_OFF)
    plugvisor.write_plugin("hopeless", ENDING, runtime="auto_start = false\nsupervisor.startretries = 0")
    plugvisor.up()
    die(plugvisor, "mortal")
    error = receiver.wait_for("plugin.error", "mortal")
    assert error.body["timestamp"] == error.data["since"]
    assert {key: error.data[key] for key in ("status", "state", "count")} == {
        "status": "error", "state": "EXITED", "count": 1,
    }  # fmt: skip
    assert error.data["last_exit"]["code"] == 3
    assert error.data["detail"] == plugvisor.status("mortal")["detail"]
    plugvisor.start_running("mortal")
    recovered = receiver.wait_for("plugin.recovered", "mortal")
    assert (recovered.data["status"], "detail" in recovered.data) == ("running", False)
    plugvisor.post("/plugin/hopeless/start")
    given_up = receiver.wait_for("plugin.given_up", "hopeless")
    assert given_up.data["state"] == "FATAL"
    kinds = [(one.data["plugin_id"], one.kind) for one in receiver.received]
    assert sorted(kinds) == [
        ("hopeless", "plugin.given_up"),  # at once
        ("mortal", "plugin.error"),
        ("mortal", "plugin.recovered"),
    ]
    assert len({one.id for one in receiver.received}) == 3
    wait_for(lambda: read_metric(plugvisor, "sent_total") == 3, "what was sent to be counted")
    assert [read_metric(plugvisor, name) for name in ("queued", "failed_total", "dropped_total")] == [0, 0, 0]
    assert_no_secret_is_logged(plugvisor)


def test_unhealthy_and_above_a_limit(plugvisor: PlugvisorStack, receiver: WebhookReceiver) -> None:
    configure(plugvisor, receiver.url)
    check = 'checks.file = { exec = ["test", "-e", "well"], period = 0.1, startup = 0.0, threshold = 1 }'
    plugvisor.write_plugin("ill", runtime=f"{QUICK}\n{check}")
    plugvisor.write_plugin("crowd", FORKING, runtime=f"{HANDS_OFF}\nlimits.processes = 8")
    plugvisor.up()
    plugvisor.post("/plugin/ill/start")
    unhealthy = receiver.wait_for("plugin.unhealthy", "ill")
    assert (unhealthy.data["status"], unhealthy.data["health"]) == ("running", "unhealthy")
    assert "check 'file' failed" in unhealthy.data["detail"]
    (plugvisor.plugins_dir / "ill" / "well").touch()
    assert receiver.wait_for("plugin.recovered", "ill").data["health"] == "healthy"
    plugvisor.start_running("crowd")
    if plugvisor.status("crowd")["limits"]["enforced_by"] == "cgroup":
        return  # the kernel gives it no more processes
    (plugvisor.plugins_dir / "crowd" / "fork").touch()
    limit = receiver.wait_for("plugin.limit", "crowd")
    assert limit.data["last_exit"]["reason"] == "processes limit"
    receiver.wait_for("plugin.error", "crowd")


def test_a_dead_receiver_delays_neither_the_service_nor_another_receiver(
    plugvisor: PlugvisorStack, receiver: WebhookReceiver
) -> None:
    """The first accepts connections and never answers."""
    with run_receiver() as slow:
        slow.may_answer.clear()
        configure(plugvisor, slow.url, receiver.url, f"http://127.0.0.1:{find_free_port()}/")
        for name in ("a", "b"):
            plugvisor.write_plugin(name, DIES_AT_WISH, runtime=HANDS_OFF)
        plugvisor.up()
        die(plugvisor, "a")
        slow.wait(1)
        die(plugvisor, "b")
        receiver.wait_for("plugin.error", "a")
        receiver.wait_for("plugin.error", "b")
        assert len(slow.received) == 1, "one at a time"
        assert read_metric(plugvisor, "queued", 1) == 2
        wait_for(lambda: read_metric(plugvisor, "failed_total", 3) > 0, "the third to be found dead")
        words = "a webhook does not reach receiver 3 (127.0.0.1) and is tried again"
        wait_for(lambda: words in plugvisor.service_log, "the warning in the log")
        assert_no_secret_is_logged(plugvisor)


def test_what_a_dead_receiver_has_missed_comes_after_a_restart(plugvisor: PlugvisorStack) -> None:
    """Also what the service had no time to say: it is killed."""
    port = find_free_port()
    configure(plugvisor, f"http://127.0.0.1:{port}/hook")
    plugvisor.write_plugin("mortal", DIES_AT_WISH, runtime=HANDS_OFF)
    plugvisor.up()
    for _ in range(4):  # the first is sent, the others are held for five minutes
        die(plugvisor, "mortal")
        plugvisor.start_running("mortal")
    wait_for(lambda: count_held(plugvisor) == 3, "the held messages in the store")
    plugvisor.restart_service()
    with run_receiver(port=port) as receiver:
        received = receiver.wait(4)
    counts = sorted((one.kind, one.data["count"]) for one in received)
    assert counts == [("plugin.error", 1), ("plugin.error", 3), ("plugin.recovered", 1), ("plugin.recovered", 3)]
    [first, later] = sorted((one for one in received if one.kind == "plugin.error"), key=lambda one: one.data["count"])
    assert first.body["timestamp"] < later.data["since"] < later.body["timestamp"]


def test_messages_are_sent_while_nothing_can_be_stored_and_stored_afterwards(
    plugvisor: PlugvisorStack, receiver: WebhookReceiver
) -> None:
    port, state = find_free_port(), plugvisor.root / "state"
    state.write_text("this is no folder")
    configure(plugvisor, receiver.url, f"http://127.0.0.1:{port}/hook")
    plugvisor.write_plugin("mortal", DIES_AT_WISH, runtime=HANDS_OFF)
    plugvisor.up()
    die(plugvisor, "mortal")
    receiver.wait_for("plugin.error", "mortal")
    state.unlink()
    wait_for(lambda: list_stored(plugvisor), "the other receiver's message in the store")
    plugvisor.restart_service()
    with run_receiver(port=port) as other:
        assert other.wait_for("plugin.error", "mortal").id == receiver.received[0].id
    assert len(receiver.received) == 1


def test_a_redirect_is_not_followed(plugvisor: PlugvisorStack, receiver: WebhookReceiver) -> None:
    with run_receiver() as internal:
        receiver.statuses = [307]
        receiver.headers = {"Location": internal.url}
        configure(plugvisor, receiver.url)
        plugvisor.write_plugin("mortal", DIES_AT_WISH, runtime=HANDS_OFF)
        plugvisor.up()
        die(plugvisor, "mortal")
        receiver.wait(2)
        wait_for(lambda: read_metric(plugvisor, "sent_total") == 1, "the second attempt to succeed")
        assert read_metric(plugvisor, "failed_total") == 1
        assert internal.received == []
        assert internal.forged == []
        wait_for(
            lambda: "it answered 307; redirects are not followed" in plugvisor.service_log, "the warning in the log"
        )
        assert len({one.id for one in receiver.received}) == 1


def test_webhooks_without_a_secret(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_WEBHOOKS"] = "https://example.com/a-secret-path"
    for verb in ("up", "serve"):
        result = plugvisor.command(verb)
        assert result.returncode == 2
        assert "openssl rand -base64 32" in result.stderr
        assert "a-secret-path" not in result.stderr


def list_stored(stack: PlugvisorStack) -> list[dict[str, Any]]:
    """The bodies of the messages in the store."""
    with contextlib.suppress(sqlite3.Error):  # it may be being made
        path = stack.root / "state" / "plugvisor.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return [json.loads(body) for (body,) in connection.execute("SELECT body FROM outbox")]
    return []


def count_held(stack: PlugvisorStack) -> int:
    """How many recoveries the messages in the store stand for, but for the first, which is not held."""
    return sum(body["data"]["count"] for body in list_stored(stack) if body["type"] == "plugin.recovered") - 1


def assert_no_secret_is_logged(stack: PlugvisorStack) -> None:
    for text in (stack.service_log, stack.output_path.read_text(), stack.read_log("_supervisord")):
        assert SECRET not in text
        assert "a-secret-of-the-receiver" not in text


def test_two_users_and_a_secret_of_roots(plugvisor: PlugvisorStack, receiver: WebhookReceiver) -> None:
    use_two_users(plugvisor)
    configure(plugvisor, receiver.url)
    (plugvisor.root / "secret").chmod(0o600)
    plugvisor.write_plugin("hopeless", "raise SystemExit(3)\n", runtime="supervisor.startretries = 0")
    plugvisor.up()
    receiver.wait_for("plugin.given_up", "hopeless")
    (plugvisor.run_dir / "webhook_secret").unlink()  # by a cleaner
    wait_for((plugvisor.run_dir / "webhook_secret").exists, "supervisord to restore it")
    plugvisor.ctl("restart", "plugvisor")
    wait_for(plugvisor.is_ready, "the next service")
