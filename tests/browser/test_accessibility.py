"""Every view for every pair of language, theme and width: accessible, and nothing is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import ALL_PAIRS, Appearance, find_row
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack


@pytest.mark.parametrize("appearance", ALL_PAIRS, ids=str)
def test_every_view(stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> None:
    page = open_page(stack.url, appearance, first_visit=True)
    row = find_row(page, "colours")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    check_accessibility(page)
    row.locator("button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check_accessibility(page)
    page.keyboard.press("Escape")

    page.goto(f"{stack.url}/#code={ADMIN_CODE}")
    find_row(page, "crashed").scroll_into_view_if_needed()
    expect(find_row(page, "crashed").locator(".tail")).to_have_text("no settings")
    page.get_by_role("checkbox", name=appearance.text("selectAll")).check()
    page.locator(".bar button").nth(1).click()
    expect(page.get_by_role("dialog")).to_contain_text(appearance.text("confirmStop", 2))
    check_accessibility(page)
    page.keyboard.press("Escape")
    expect(page.locator(".bar")).to_be_visible()
    check_accessibility(page)

    page.goto(f"{stack.url}/#/plugin/colours")
    expect(page.locator(".line")).to_have_count(4)
    expect(page.locator(".chart path[d^=M]")).to_have_count(6)
    expect(page.locator(".facts")).to_contain_text("python main.py")
    expect(page.locator(".entries li")).not_to_have_count(0)
    check_accessibility(page)
    stack.post("/plugin/colours/start")  # it runs: an entry with a link, newer than those of other tests
    page.goto(f"{stack.url}/#/journal")
    expect(page.locator(".entries a")).not_to_have_count(0)
    check_accessibility(page)
    page.context.set_offline(True)
    page.goto(f"{stack.url}/#/plugin/nobody", wait_until="commit")
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("goneTitle", "nobody"))
    check_accessibility(page)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_narrowest_window(stack: PlugvisorStack, open_page: Callable[..., Page], language: str) -> None:
    """320 pixels, which WCAG 1.4.10 names: a desktop window at 400 % has them too."""
    appearance = Appearance(language, width=320)
    page = open_page(stack.url, appearance, code=ADMIN_CODE)
    expect(find_row(page, "colours").locator(".word")).to_have_text(appearance.text("running"))
    expect(page.get_by_role("button", name=appearance.text("signOut"))).to_be_in_viewport(ratio=1)
    check_accessibility(page)
    page.goto(f"{stack.url}/#/plugin/colours")
    expect(page.locator(".line")).to_have_count(4)
    check_accessibility(page)
    page.goto(f"{stack.url}/#/journal")
    expect(page.locator(".entries li")).not_to_have_count(0)
    check_accessibility(page)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_widest_header_in_the_narrowest_window(
    stack: PlugvisorStack, open_page: Callable[..., Page], language: str
) -> None:
    """A name of 64 letters without a hyphen, while supervisord cannot be reached."""
    appearance = Appearance(language, width=320)
    page = open_page("about:blank", appearance)
    identity = {"name": "x" * 64, "role": "operator", "plugins": ["*"]}
    page.route("**/whoami", lambda route: route.fulfill(json=identity))
    problem = {"status": 503, "code": "supervisor_unavailable", "detail": "supervisord does not answer"}
    page.route("**/events", lambda route: route.fulfill(status=503, json=problem))
    page.goto(f"{stack.url}/#code={ADMIN_CODE}")
    expect(page.locator(".who")).to_contain_text("x" * 64)
    expect(page.locator(".connection")).to_have_text(appearance.text("unavailable"))
    for button in page.locator("#top button").all():
        expect(button).to_be_in_viewport(ratio=1)
    check_accessibility(page)
