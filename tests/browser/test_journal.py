"""The journal in the page: on a plugin's view and as a view of its own, as it grows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import reload
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack


def find_entry(page: Page, *texts: str) -> Locator:
    """The entries that have all these texts."""
    entries = page.locator(".entries li")
    for text in texts:
        entries = entries.filter(has_text=text)
    return entries


def test_who_did_what_to_a_plugin(
    stack: PlugvisorStack,
    open_signed_in: Callable[..., Page],
    add: Callable[..., Path],
    appearance: Appearance,
) -> None:
    """Its newest entries come live; older ones on demand."""
    plugin_id = f"noted-{appearance.language}"
    add(plugin_id)
    page = open_signed_in(f"#/plugin/{plugin_id}")
    by_admin = appearance.text("by", "admin")
    expect(find_entry(page, appearance.text("start"), by_admin)).to_have_count(1)
    page.locator(".head").get_by_role("button", name=appearance.text("stop")).click()
    stop = find_entry(page, appearance.text("stop"), by_admin)
    expect(stop).to_have_count(1)
    expect(stop.locator("time")).to_have_attribute("title", re.compile(r"\n127\.0\.0\.1\n\w+$"))
    expect(find_entry(page, appearance.text("stopped")).locator("svg")).not_to_have_count(0)

    page.locator(".head").get_by_role("button", name=appearance.text("reload")).click()
    expect(find_entry(page, appearance.text("reload"), by_admin)).to_have_count(1)

    reload(page)
    entries = page.locator(".entries li")
    expect(entries).to_have_count(5)
    page.get_by_role("button", name=appearance.text("older")).click()
    expect(find_entry(page, appearance.text("start"), by_admin)).to_have_count(1)
    expect(entries.nth(5)).to_be_visible()
    times = [time.get_attribute("datetime") or "" for time in page.locator(".entries time").all()]
    assert times == sorted(times, reverse=True)


def test_what_happens_again_counts_up(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    plugin_id = f"failing-{appearance.language}"
    runtime = "auto_start = false\nsupervisor.startretries = 0\nsupervisor.startsecs = 60"
    add(plugin_id, "raise SystemExit(3)", runtime=runtime, is_running=False)
    page = open_signed_in(f"#/plugin/{plugin_id}")
    entry = find_entry(page, appearance.text("error"), appearance.text("exitCode", 3)).first
    for times in (1, 2, 3):
        stack.post(f"/plugin/{plugin_id}/start")
        stack.wait_for_state(plugin_id, "FATAL")
        if times > 1:
            expect(entry).to_contain_text(re.compile(appearance.text("timesSince", times, r"\d\d:\d\d:\d\d")))


def test_the_whole_journal(
    stack: PlugvisorStack, open_page: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    """It asks for a sign-in; its filters are in the address, and apply to what comes live."""
    chosen = f"chosen-{appearance.language}"
    add(chosen)
    page = open_page(stack.url, appearance)
    page.get_by_role("link", name=appearance.text("journal")).click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator("#view")).to_contain_text(appearance.text("signInForJournal"))
    page.locator("#view").get_by_role("button", name=appearance.text("signIn")).click()
    page.get_by_role("dialog").get_by_label(appearance.text("adminCode")).fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(find_entry(page, chosen)).not_to_have_count(0)

    page.keyboard.press("/")
    page.keyboard.type(chosen)
    page.keyboard.press("Enter")
    page.get_by_label(appearance.text("kind"), exact=True).select_option("operation")
    page.get_by_label(appearance.text("hours"), exact=True).select_option("1")
    assert page.url.endswith(f"#/journal?plugin_id={chosen}&kind=operation&hours=1")
    entries = page.locator(".entries li")
    expect(entries).to_have_count(1)
    stack.post("/plugin/heartbeat/start")
    stack.post(f"/plugin/{chosen}/start")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("already_running")
    check_accessibility(page)

    reload(page)
    expect(entries).to_have_count(2)
    page.get_by_label(appearance.text("kind"), exact=True).select_option("check")
    expect(page.locator(".journal .note")).to_have_text(appearance.text("nothingHappened"))
    page.goto(f"{stack.url}/#/journal?kind=operation")
    page.locator(".entries").get_by_role("link", name=chosen).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(chosen)


def test_it_goes_on_after_a_restart_of_the_service(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_signed_in("#/journal?kind=service")
    started = find_entry(page, appearance.text("service"), appearance.text("it_started"))
    expect(started.first).to_be_visible()
    page.evaluate("window.isSamePage = true")
    pid = stack.service_pid
    stack.ctl("restart", "plugvisor")
    assert stack.service_pid != pid
    expect(page.locator("li:first-child", has_text=appearance.text("it_started"))).to_be_visible()
    expect(find_entry(page, appearance.text("service"), appearance.text("it_stopped"))).not_to_have_count(0)
    assert page.evaluate("window.isSamePage")
