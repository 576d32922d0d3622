"""Language and theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.page import Appearance, find_row, reload

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack


def test_they_can_be_chosen_and_are_kept(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    other = Appearance(
        {"en": "zh", "zh": "en"}[appearance.language], {"dark": "light", "light": "dark"}[appearance.theme]
    )
    page = open_page(stack.url, appearance)
    html = page.locator("html")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    before = page.evaluate(background)
    for _ in range(3):
        page.locator("nav button").nth(1).click()
        if html.get_attribute("data-theme") == other.theme:
            break
    assert page.evaluate(background) != before
    languages = {"en": "en", "zh": "zh-CN"}
    expect(html).to_have_attribute("lang", languages[appearance.language])
    page.get_by_role("button", name=appearance.text("language")).click()
    expect(html).to_have_attribute("lang", languages[other.language])
    reload(page)
    expect(html).to_have_attribute("lang", languages[other.language])
    expect(find_row(page, "heartbeat").locator(".word")).to_have_text(other.text("running"))
    assert page.evaluate(background) != before
