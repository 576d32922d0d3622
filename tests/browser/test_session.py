"""Signing in and out: when the code is asked for, where it is kept, and where it never is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.test_list import row_of
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.conftest import Look
    from tests.helpers.stack import PlugvisorStack


def test_the_first_action_asks_for_it(site: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    page = open_page(site.url, look)
    row = row_of(page, "worker-1")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    pid = site.status("worker-1")["pid"]
    row.locator("button").nth(1).click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label(look.say("adminCode"))
    expect(field).to_be_focused()
    field.fill("a-wrong-code-of-some-length")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text(look.say("wrongCode"))
    assert site.status("worker-1")["pid"] == pid
    field.fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(row.locator("button").nth(1)).to_have_attribute("aria-disabled", "false")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    assert site.status("worker-1")["pid"] != pid, "the action was gone on with"


def test_who_would_rather_not_changes_nothing(site: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    page = open_page(site.url, look)
    button = row_of(page, "heartbeat").locator("button").first
    expect(button).to_have_text(look.say("stop"))
    button.click()
    page.get_by_role("dialog").get_by_role("button", name=look.say("cancel")).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    expect(button).to_have_text(look.say("stop"))
    assert site.status("heartbeat")["status"] == "running"


def test_an_address_signs_in_by_itself(site: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    asked: list[str] = []
    page = open_page("about:blank", look)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.url}/#code={ADMIN_CODE}")
    expect(page.get_by_role("button", name=look.say("signOut"))).to_be_visible()
    assert page.url == f"{site.url}/"
    assert page.evaluate("history.length") == 2, "the address with the code is nowhere to go back to"
    assert not [url for url in asked if ADMIN_CODE in url and "#" not in url]
    kept = page.evaluate("[JSON.stringify(localStorage), document.cookie, document.documentElement.outerHTML]")
    assert ADMIN_CODE not in json.dumps(kept)
    assert page.evaluate("Object.values(sessionStorage)") == [ADMIN_CODE]
    page.reload()
    expect(page.get_by_role("button", name=look.say("signOut"))).to_be_visible()
    other = page.context.new_page()
    other.goto(site.url)
    expect(other.get_by_role("button", name=look.say("signIn"), exact=True)).to_be_visible()

    page.get_by_role("button", name=look.say("signOut")).click()
    expect(page.get_by_role("button", name=look.say("signIn"), exact=True)).to_be_visible()
    expect(row_of(page, "heartbeat").locator(".figure.none")).to_have_count(3)
    assert page.evaluate("sessionStorage.length") == 0


def test_a_code_that_is_wrong_by_now_is_asked_for_again(
    site: PlugvisorStack, open_page: Callable[..., Page], look: Look
) -> None:
    page = open_page(site.url, look)
    row = row_of(page, "heartbeat")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    # as after a restart with another code
    page.evaluate("sessionStorage.setItem('plugvisor.code', 'the-code-of-yesterday')")
    row.locator("button").nth(1).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(row.locator("button").nth(1)).to_have_text(look.say("reload"))
    expect(row.locator(".trouble")).to_be_hidden()


def test_by_keyboard_alone(site: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    page = open_page(site.url, look)
    expect(row_of(page, "worker-1").locator(".word")).to_have_text(look.say("running"))
    page.keyboard.press("/")
    page.keyboard.type("worker-1")
    expect(page.locator(".row")).to_have_count(1)
    reload_button = row_of(page, "worker-1").locator("button").nth(1)
    for _ in range(20):
        page.keyboard.press("Tab")
        if reload_button.evaluate("(node) => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.keyboard.type(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(reload_button).to_have_attribute("aria-disabled", "false")
    expect(reload_button).to_be_focused()
    expect(page.locator("#spoken")).to_contain_text("worker-1")
    link = row_of(page, "worker-1").get_by_role("link")
    for _ in range(5):
        page.keyboard.press("Shift+Tab")
        if link.evaluate("(node) => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("worker-1")
    page.go_back()
    expect(row_of(page, "worker-1").get_by_role("link")).to_be_focused()


def test_language_and_theme_are_chosen_and_kept(
    site: PlugvisorStack, open_page: Callable[..., Page], look: Look
) -> None:
    page = open_page(site.url, look)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    expect(page.locator("html")).to_have_attribute("lang", {"en": "en", "zh": "zh-CN"}[look.language])
    before = page.evaluate(ground)
    theme = page.locator("nav button").nth(1)
    other = "dark" if look.theme == "light" else "light"
    for _ in range(3):
        theme.click()
        if page.locator("html").get_attribute("data-theme") == other:
            break
    assert page.evaluate(ground) != before
    page.get_by_role("button", name=look.say("language")).click()
    expect(page.locator("html")).to_have_attribute("lang", {"en": "zh-CN", "zh": "en"}[look.language])
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", {"en": "zh-CN", "zh": "en"}[look.language])
    expect(row_of(page, "heartbeat").locator(".word")).to_have_text(re.compile("运行中|Running"))
    expect(row_of(page, "heartbeat").locator(".word")).not_to_have_text(look.say("running"))
    assert page.evaluate(ground) != before
