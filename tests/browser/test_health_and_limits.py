"""Health, checks, limits, and restarts that wait, in the list and in a plugin's own view.

Most plugins come from the test: `PageEvents`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import find_row
from tests.helpers.page_events import make_item
from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import OpenWith
    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack

MIB = 2**20
CHECKS = [
    {"name": "web", "level": "ready", "status": "down", "failures": 3, "last_error": "connection refused",
     "at": "2026-11-29T16:00:00+00:00"},
    {"name": "probe", "level": "alive", "status": "up", "failures": 0, "last_error": "",
     "at": "2026-11-29T16:00:00+00:00"},
    {"name": "later", "level": "ready", "status": "starting", "failures": 0, "last_error": "", "at": None},
]  # fmt: skip


def test_health_beside_the_status(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(
        make_item("well", health="healthy"), make_item("ill", health="unhealthy", detail="connection refused"),
        make_item("new", health="starting"), make_item("plain"),
    )  # fmt: skip
    for plugin_id, key in (("well", "healthy"), ("ill", "unhealthy"), ("new", "unready")):
        health = find_row(page, plugin_id).locator(".health")
        expect(health).to_have_text(appearance.text(key))
        expect(health.locator(f"svg.{key}")).to_be_visible()
    expect(find_row(page, "plain").locator(".health")).to_be_hidden()
    expect(find_row(page, "ill").locator(".trouble")).to_have_text("connection refused")
    expect(page).to_have_title(re.compile(r"^\(1\)"))
    check_accessibility(page)
    page.locator('.chip[data-name="unhealthy"]').click()
    expect(page.locator(".row")).to_have_count(1)
    events.change(make_item("ill", health="healthy"))
    expect(page.locator(".row")).to_have_count(0)
    page.locator('.chip[data-name="all"]').click()
    expect(find_row(page, "ill").locator(".health")).to_have_text(appearance.text("healthy"))
    expect(find_row(page, "ill").locator(".trouble")).to_be_hidden()
    expect(page.locator('.chip[data-name="unhealthy"]')).to_be_hidden()


def test_the_checks_of_a_plugin(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(make_item("ill"))
    checks = list(CHECKS)
    page.route("**/plugin/ill/health", lambda route: route.fulfill(json={"checks": checks}))
    page.evaluate("location.hash = '#/plugin/ill'")
    expect(page.get_by_role("heading", level=1)).to_have_text("ill")
    rows = page.locator(".check")
    expect(rows).to_have_count(0)
    events.change(make_item("ill", health="unhealthy"))
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text(f"{appearance.text('check_down')} web {appearance.text('ready')}")
    expect(rows.first).to_contain_text(appearance.text("failures", 3))
    expect(rows.first).to_contain_text("connection refused")
    expect(rows.nth(1)).to_contain_text(f"{appearance.text('check_up')} probe {appearance.text('alive')}")
    expect(rows.nth(2).locator("svg.unready")).to_be_visible()
    check_accessibility(page)
    checks[:] = [CHECKS[1]]
    events.change(make_item("ill", health="healthy"))
    expect(rows).to_have_count(1)
    checks.clear()
    events.change(make_item("ill", "stopped"))
    expect(rows).to_have_count(0)
    expect(page.get_by_role("heading", name=appearance.text("checks"))).to_be_hidden()


def test_limits_are_lines_in_the_charts(open_with: OpenWith, appearance: Appearance) -> None:
    limits = {"memory": 64 * MIB, "cpus": 1.5, "open_files": 1024, "enforced_by": "watch", "unenforced": ["cpus"]}
    page, events = open_with(make_item("small", limits=limits))
    metric = {"plugin_id": "small", "cpu_percent": 3.0, "memory_mb": 40.0, "num_threads": 4}
    page.route(
        "**/plugin/metrics",
        lambda route: route.fulfill(json={"metrics": [metric | {"timestamp": datetime.now(UTC).isoformat()}]}),
    )
    page.evaluate("location.hash = '#/plugin/small'")
    cpu, memory, threads = (page.locator(".chart").nth(index) for index in range(3))
    words = appearance.text("limit", "64 MB", appearance.text("watch"))
    expect(memory).to_contain_text(words)
    expect(memory.locator("svg")).to_have_attribute("aria-label", re.compile(re.escape(words)))
    box, line = memory.locator("svg").bounding_box(), memory.locator(".limit").bounding_box()
    assert box is not None
    assert line is not None
    assert box["y"] < line["y"] < box["y"] + box["height"] / 2, "above the value"
    expect(cpu).to_contain_text(appearance.text("limit", "150 %", appearance.text("unenforced")))
    expect(threads.locator(".limit[d^=M]")).to_have_count(0)
    facts = page.locator(".facts .card", has_text=appearance.text("limits"))
    expect(facts.locator("dd")).to_have_text(
        ["64 MB", "1.5", "1024", appearance.text("watch"), appearance.text("cpus")]
    )
    expect(facts.locator("dt").last).to_have_text(appearance.text("notEnforced"))
    if appearance.width > 1000:
        tops = [chart.locator("b").evaluate("(node) => node.getBoundingClientRect().y") for chart in (memory, threads)]
        assert tops[0] == tops[1], "side by side, a limit moves no figure"
    check_accessibility(page)
    limits = {"memory": 64 * MIB, "processes": 9, "enforced_by": "rlimit", "watched": ["memory"], "unenforced": []}
    events.change(make_item("small", limits=limits))
    expect(memory).to_contain_text(appearance.text("limit", "64 MB", appearance.text("watched")))
    expect(threads).to_contain_text(appearance.text("limit", "9", appearance.text("rlimit")))
    events.change(make_item("small", limits={"memory": 64 * MIB, "enforced_by": "cgroup", "unenforced": []}))
    expect(memory).to_contain_text(appearance.text("limit", "64 MB", appearance.text("cgroup")))
    expect(cpu.locator(".limit[d^=M]")).to_have_count(0)


def test_a_restart_that_waits(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with()  # first: on a busy machine that takes longer than the time that it is to show
    retry_at = (datetime.now(UTC) + timedelta(seconds=50)).isoformat()
    last_exit = {"signal": "SIGKILL", "at": "2026-11-29T16:00:00+00:00", "reason": "memory limit"}
    item = make_item("leaky", "error", state="EXITED", retry_at=retry_at, last_exit=last_exit, detail="it used 70 MB")
    events.show(item)
    row = find_row(page, "leaky")
    expect(row.locator(".count")).to_have_text(re.compile(r"\b[45]\d\b"))
    expect(row.locator(".actions button").first).to_have_text(appearance.text("stop"))
    page.evaluate("location.hash = '#/plugin/leaky'")
    expect(page.locator(".facts")).to_contain_text("SIGKILL · memory limit")
    expect(page.locator(".trouble")).to_have_text("it used 70 MB")


def test_a_real_check_goes_down_and_up(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    check = 'checks.file = { exec = ["test", "-e", "ok"], period = 0.2, startup = 0, threshold = 1 }'
    folder = add("checked", runtime=f"{QUICK}\n{check}", is_running=False)
    assert stack.post("/plugin/checked/start").status_code == 200
    page = open_signed_in()
    health = find_row(page, "checked").locator(".health")
    expect(health).to_have_text(appearance.text("unhealthy"))
    (folder / "ok").touch()
    expect(health).to_have_text(appearance.text("healthy"))
    page.evaluate("location.hash = '#/plugin/checked'")
    check_row = page.locator(".check")
    expect(check_row).to_contain_text(f"{appearance.text('check_up')} file")
    (folder / "ok").unlink()
    expect(page.locator(".head .health")).to_have_text(appearance.text("unhealthy"))
    expect(check_row).to_contain_text(f"{appearance.text('check_down')} file")
    expect(check_row.locator(".detail")).not_to_be_empty()
    page.locator(".head .actions button").first.click()
    expect(page.locator(".word").first).to_have_text(appearance.text("stopped"))
    expect(page.locator(".head .health")).to_be_hidden()
    expect(check_row).to_have_count(0)


def test_a_real_limit(open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance) -> None:
    add("small", runtime=f'{QUICK}\nlimits = {{ memory = "256M", open_files = 512 }}')
    page = open_signed_in("#/plugin/small")
    memory = page.locator(".chart").nth(1)
    limit = appearance.text("limit", "256 MB", "ENFORCEMENT").partition("ENFORCEMENT")[0]
    expect(memory.locator(".most").last).to_have_text(re.compile(re.escape(limit)))
    expect(memory.locator(".limit[d^=M]")).to_have_count(1)
    facts = page.locator(".facts .card", has_text=appearance.text("enforcedBy"))
    expect(facts).to_contain_text("256 MB")
    expect(facts).to_contain_text("512")
