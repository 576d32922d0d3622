"""What the page shows when it cannot know: each case looks different, nothing looks live, all pass by themselves."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OPPOSITES, Look
from tests.browser.test_list import row_of
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack

both = pytest.mark.parametrize("look", OPPOSITES, ids=str)


def expect_age(page: Page, look: Look) -> None:
    """The age is told, and goes on."""
    age = page.locator("#banner > span")
    expect(age).to_have_text(re.compile(re.escape(look.say("staleAge", "@")).replace("@", ".+")))
    before = age.inner_text()
    expect(age).not_to_have_text(before)


@both
def test_the_connection_is_lost(plugvisor: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    page = open_page(plugvisor.url, look, code=ADMIN_CODE)
    row = row_of(page, "one")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    plugvisor.ctl("stop", "plugvisor")
    expect(page.locator(".connection")).to_have_text(look.say("lost"))
    banner = page.locator("#banner")
    expect(banner).to_contain_text(look.say("lostTitle"))
    uptime = row.locator(".count").inner_text()
    expect_age(page, look)
    assert row.locator(".count").inner_text() == uptime, "what is not known does not count on"
    assert "grayscale" in page.locator("#view").evaluate("(node) => getComputedStyle(node).filter")
    row.locator("button").first.click()
    expect(row.locator(".trouble")).to_contain_text(look.say("lostTitle"))
    plugvisor.ctl("start", "plugvisor")
    expect(banner).to_contain_text(look.say("restartedTitle"))
    expect(page.locator(".connection")).to_have_text(look.say("live"))
    expect(row.locator(".count")).not_to_have_text(uptime)
    expect(banner).to_have_text("")


@both
def test_supervisord_cannot_be_reached(plugvisor: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    page = open_page(plugvisor.url, look, code=ADMIN_CODE)
    expect(row_of(page, "one").locator(".word")).to_have_text(look.say("running"))
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    try:
        expect(page.locator(".connection")).to_have_text(look.say("unavailable"))
        expect(page.locator("#banner")).to_contain_text(look.say("unavailableTitle"))
        expect_age(page, look)
        late = open_page(plugvisor.url, look)
        expect(late.locator(".connection")).to_have_text(look.say("unavailable"))
        expect(late.locator(".row")).to_have_count(0)
        expect(late.locator(".empty")).to_have_text("")
    finally:
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    for one in (page, late):
        expect(one.locator(".connection")).to_have_text(look.say("live"))
        expect(one.locator("#banner")).to_have_text("")
        expect(row_of(one, "one").locator(".word")).to_have_text(look.say("running"))


def test_the_service_is_killed(plugvisor: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    look = Look()
    page = open_page(f"{plugvisor.url}/#code={ADMIN_CODE}", look)
    expect(row_of(page, "one").locator(".word")).to_have_text(look.say("running"))
    page.goto(f"{plugvisor.url}/#/plugin/one")
    expect(page.locator(".line")).to_have_text(["ready"])
    pid = plugvisor.rpc("getProcessInfo", "plugvisor")["pid"]
    os.kill(pid, signal.SIGKILL)
    expect(page.locator("#banner")).to_contain_text(look.say("restartedTitle"))
    expect(page.locator(".connection")).to_have_text(look.say("live"))
    # the log goes on too
    plugvisor.post("/plugin/one/reload?wait=20")
    expect(page.locator(".line")).to_have_text(["ready", "ready"])


@both
def test_an_empty_folder(plugvisor: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    plugvisor.up()
    page = open_page(plugvisor.url, look, code=ADMIN_CODE, first_visit=True)
    empty = page.locator(".empty")
    expect(empty).to_contain_text(look.say("emptyTitle"))
    expect(empty).to_contain_text('id = "hello"\ncommand = ["python", "main.py"]')
    expect(page.get_by_role("searchbox")).to_be_hidden()
    plugvisor.write_plugin("hello")
    empty.get_by_role("button", name=look.say("refresh")).click()
    expect(row_of(page, "hello").locator(".word")).to_have_text(look.say("stopped"))
    expect(page.get_by_role("searchbox")).to_be_visible()


def test_a_first_visit_and_a_broken_manifest(site: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    page = open_page(site.url, look, first_visit=True)
    welcome = page.locator(".welcome")
    expect(welcome).to_contain_text(look.say("welcomeText"))
    welcome.get_by_role("button").click()
    expect(welcome).to_have_count(0)
    page.reload()
    trouble = row_of(page, "broken").locator(".trouble")
    expect(trouble).to_contain_text("plugin.toml line 3")
    expect(trouble).to_contain_text(look.say("mend"))
    expect(trouble).to_contain_text('command = ["python", "main.py"]')
    expect(welcome).to_have_count(0)


def test_a_manifest_that_is_mended(plugvisor: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    folder = plugvisor.write_plugin("one", runtime="auto_start = false")
    text = (folder / "plugin.toml").read_text()
    (folder / "plugin.toml").write_text("[plugin]\n")
    plugvisor.up()
    page = open_page(plugvisor.url, code=ADMIN_CODE)
    row = row_of(page, "one")
    expect(row.locator(".trouble")).to_contain_text("plugin.toml")
    (folder / "plugin.toml").write_text(text)
    row.locator("button").nth(1).click()
    expect(row.locator(".word")).to_have_text("Running")
    expect(row.locator(".trouble")).to_be_hidden()
    wait_for(lambda: plugvisor.status("one")["status"] == "running")
