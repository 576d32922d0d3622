"""Outages: each kind looks different, nothing looks live, and the page recovers by itself."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import OPPOSITES, Appearance, find_row
from tests.helpers.stack import ADMIN_CODE, QUICK, PlugvisorStack, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def fragile() -> Iterator[PlugvisorStack]:
    """A Plugvisor whose parts the tests of this file stop, and start again."""
    with run_stack() as stack:
        stack.write_plugin("one", runtime=QUICK.replace("false", "true"))
        stack.up()
        stack.wait_for_status("one", "running")
        yield stack


def expect_growing_age(page: Page, appearance: Appearance) -> None:
    age = page.locator("#banner > span")
    expect(age).to_have_text(re.compile(re.escape(appearance.text("staleAge", "@")).replace("@", ".+")))
    before = age.inner_text()
    expect(age).not_to_have_text(before)


def test_the_service_is_stopped(
    fragile: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(fragile.url, appearance, code=ADMIN_CODE)
    row = find_row(page, "one")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    fragile.ctl("stop", "plugvisor")
    try:
        expect(page.locator(".connection")).to_have_text(appearance.text("lost"))
        banner = page.locator("#banner")
        expect(banner).to_contain_text(appearance.text("lostTitle"))
        expect(banner).to_contain_text(appearance.text("lostText"))
        uptime = row.locator(".count").inner_text()
        expect_growing_age(page, appearance)
        assert row.locator(".count").inner_text() == uptime, "an uptime that is not known does not advance"
        assert "grayscale" in page.locator("#view").evaluate("(node) => getComputedStyle(node).filter")
        row.locator("button").first.click()
        expect(row.locator(".trouble")).to_contain_text(appearance.text("lostTitle"))
        check_accessibility(page)
    finally:
        fragile.ctl("start", "plugvisor")
    expect(banner).to_contain_text(appearance.text("restartedTitle"))
    expect(page.locator(".connection")).to_have_text(appearance.text("live"))
    expect(row.locator(".count")).not_to_have_text(uptime)


def test_supervisord_is_frozen(fragile: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> None:
    page = open_page(fragile.url, appearance, code=ADMIN_CODE)
    expect(find_row(page, "one").locator(".word")).to_have_text(appearance.text("running"))
    os.kill(fragile.supervisord_pid, signal.SIGSTOP)
    try:
        expect(page.locator(".connection")).to_have_text(appearance.text("unavailable"))
        expect(page.locator("#banner")).to_contain_text(appearance.text("unavailableTitle"))
        assert page.locator("#banner").inner_text().count("supervisord does not answer") == 1
        expect_growing_age(page, appearance)
        check_accessibility(page)
        late = open_page(fragile.url, appearance)
        expect(late.locator(".connection")).to_have_text(appearance.text("unavailable"))
        expect(late.locator(".row")).to_have_count(0)
        expect(late.locator(".empty")).to_have_text("")
    finally:
        os.kill(fragile.supervisord_pid, signal.SIGCONT)
    for each in (page, late):
        expect(each.locator(".connection")).to_have_text(appearance.text("live"))
        expect(each.locator("#banner")).to_have_text("")
        expect(find_row(each, "one").locator(".word")).to_have_text(appearance.text("running"))


def reload_one(stack: PlugvisorStack) -> int:
    """Reload the plugin, and wait until it has printed its line; returns how many lines its log has."""
    before = stack.read_log("one").count("\n")
    assert stack.post("/plugin/one/reload?wait=50").status_code == 200
    wait_for(lambda: stack.read_log("one").count("\n") > before, "its line")
    return before + 1


def test_the_service_is_killed(fragile: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    appearance = OPPOSITES[0]
    count = reload_one(fragile)
    page = open_page(f"{fragile.url}/#code={ADMIN_CODE}", appearance)
    expect(find_row(page, "one").locator(".word")).to_have_text(appearance.text("running"))
    page.goto(f"{fragile.url}/#/plugin/one")
    expect(page.locator(".line")).to_have_text(["ready"] * count)
    os.kill(fragile.service_pid, signal.SIGKILL)
    expect(page.locator("#banner")).to_contain_text(appearance.text("restartedTitle"))
    expect(page.locator(".connection")).to_have_text(appearance.text("live"))
    # the log continues too
    count = reload_one(fragile)
    expect(page.locator(".line")).to_have_text(["ready"] * count)
    expect(page.locator("#banner")).to_have_text("")
