"""A swarm in the page: where each plugin runs, its tasks, and the nodes. The events come from the test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.fake_cluster import make_node
from tests.helpers.page import find_row
from tests.helpers.page_events import make_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page
    from plugvisor.models.cluster.node import Node

    from tests.browser.conftest import OpenWith
    from tests.helpers.page import Appearance
    from tests.helpers.page_events import PageEvents

AT = "2026-11-29T16:00:00+00:00"
LOST = "it does not answer: what ran there may still run"


def make_task(slot: int, node: str, state: str = "running", **fields: Any) -> dict[str, Any]:
    task = {
        "id": f"task{slot}",
        "slot": slot,
        "node": node,
        "state": state,
        "desired": "running",
        "lost": False,
        "at": AT,
    }
    return task | ({"pid": 4000 + slot} if state == "running" else {}) | fields


def show_nodes(events: PageEvents, *nodes: Node) -> None:
    events.send("nodes", {"nodes": [msgspec.to_builtins(node) for node in nodes], "time": AT})


def test_where_a_plugin_runs_and_its_tasks(open_with: OpenWith, appearance: Appearance) -> None:
    tasks = [
        make_task(1, "node2"),
        make_task(2, "node3", lost=True),
        make_task(3, "", "pending", error="no suitable node <b>(2 nodes)</b>"),
        make_task(4, "node1", "failed", exit_code=3),
    ]
    web = make_item("web", node="node2", tasks=tasks, detail="2 of 4 run")
    page, events = open_with(web, make_item("idle", "stopped"))
    expect(find_row(page, "web").locator(".version")).to_have_text("1.0.0")
    show_nodes(events, make_node("node1"), make_node("node2", "web"), make_node("node3", state="down"))
    expect(find_row(page, "web").locator(".version")).to_have_text("1.0.0 · node2, node3")
    expect(find_row(page, "idle").locator(".version")).to_have_text("1.0.0")
    expect(page.locator('.column[data-name="cpu"]')).to_be_hidden()
    check_accessibility(page)
    find_row(page, "web").get_by_role("link").click()
    lines = page.locator(".tasks li")
    expect(lines).to_have_count(4)
    for index, texts in enumerate(
        [
            (appearance.text("task_running"), appearance.text("replica", 1), "node2", "4001"),
            (appearance.text("task_orphaned"), "node3", appearance.text("mayRun")),
            (appearance.text("task_pending"), appearance.text("noNode"), "no suitable node <b>(2 nodes)</b>"),
            (appearance.text("task_failed"), "node1", appearance.text("exitCode", 3)),
        ]
    ):
        for text in texts:
            expect(lines.nth(index)).to_contain_text(text)
    assert [line.get_attribute("data-status") for line in lines.all()] == ["running", "error", "starting", "error"]
    expect(page.locator(".charts")).to_be_hidden()
    check_accessibility(page)
    events.change(web | {"tasks": [make_task(1, "node1")]})
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("node1")
    events.change({name: value for name, value in web.items() if name != "tasks"})
    expect(page.locator(".card", has=page.locator(".tasks"))).to_be_hidden()


def test_the_nodes(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(make_item("web", tasks=[make_task(1, "node2")]))
    expect(page.locator('nav a[href="#/nodes"]')).to_have_count(0)
    show_nodes(events, make_node("node1", role="manager"), make_node("node2", "web", "gone"))
    link = page.locator('nav a[href="#/nodes"]')
    expect(link).to_have_text(appearance.text("nodes"))
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(link).to_have_attribute("aria-current", "page")
    expect(page).to_have_title(re.compile(appearance.text("nodes")))
    cards = page.locator(".nodes > li")
    expect(cards).to_have_count(2)
    expect(cards.nth(0)).to_contain_text(f"{appearance.text('manager')} · {appearance.text('leader')}")
    expect(cards.nth(1)).to_contain_text(appearance.text("node_ready"))
    expect(cards.nth(1)).to_contain_text(f"{appearance.text('taskCount', 2)} · web, gone")
    check_accessibility(page)

    down = make_node("node2", state="down", detail=f"{LOST} <i>")
    show_nodes(events, make_node("node1", role="manager"), down)
    expect(link).to_have_text(f"{appearance.text('nodes')} · {appearance.text('lostNodes', 1)}")
    expect(cards.nth(1)).to_have_attribute("data-status", "error")
    expect(cards.nth(1)).to_contain_text(appearance.text("node_down"))
    expect(cards.nth(1)).to_contain_text(f"{LOST} <i>")
    drained = msgspec.structs.replace(make_node("node2"), availability="drain")
    show_nodes(events, make_node("node1", role="manager"), drained)
    expect(cards.nth(1)).to_contain_text(appearance.text("node_drain"))
    check_accessibility(page)
    page.go_back()
    expect(find_row(page, "web")).to_be_visible()
    expect(link).not_to_have_attribute("aria-current", "page")


def test_an_address_of_the_nodes(open_with: OpenWith, appearance: Appearance) -> None:
    """It shows them as soon as they are known, and in the other language when that is chosen."""
    page, events = open_with(make_item("web"))
    page.evaluate("location.hash = '#/nodes'")
    show_nodes(events, make_node("node1", "web"))
    expect(page.locator(".nodes > li")).to_have_count(1)
    page.get_by_role("button", name=appearance.text("language"), exact=True).click()
    other = type(appearance)("en" if appearance.language == "zh" else "zh")
    expect(page.get_by_role("heading", level=1)).to_have_text(other.text("nodes"))
    expect(page.locator(".nodes > li")).to_contain_text(other.text("node_ready"))
    page.locator(".nodes").get_by_role("link", name="web").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("web")


def test_a_swarm_that_is_away_is_named(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(make_item("web"))
    show_nodes(events, make_node("node1"))
    expect(page.locator('nav a[href="#/nodes"]')).to_be_visible()
    events.send("unavailable", {"detail": "the swarm has lost its quorum", "time": AT})
    expect(page.locator("#banner")).to_contain_text(
        "集群不可用。" if appearance.language == "zh" else "The swarm is unavailable."
    )
    expect(page.locator("#banner")).to_contain_text("the swarm has lost its quorum")


def test_one_machine_has_no_nodes(open_signed_in: Callable[..., Page]) -> None:
    page = open_signed_in()
    expect(find_row(page, "heartbeat")).to_be_visible()
    expect(page.locator('.column[data-name="cpu"]')).to_be_visible()
    expect(page.locator("nav a")).to_have_count(1)
    assert not page.evaluate("performance.getEntriesByType('resource').some(({ name }) => name.includes('cluster'))")


def test_no_plugin_is_taken_for_a_view(open_with: OpenWith) -> None:
    page, _ = open_with(make_item("constructor"))
    find_row(page, "constructor").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("constructor")
