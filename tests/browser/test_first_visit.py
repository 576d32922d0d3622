"""What a newcomer sees: the introduction, and a plugins folder without a plugin."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.page import find_row, reload
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack


def test_the_introduction_is_shown_until_it_is_dismissed(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(stack.url, appearance, first_visit=True)
    welcome = page.locator(".welcome")
    expect(welcome).to_contain_text(appearance.text("welcomeText"))
    welcome.get_by_role("button").click()
    expect(welcome).to_have_count(0)
    reload(page)
    expect(find_row(page, "heartbeat")).to_be_visible()
    expect(welcome).to_have_count(0)


def test_an_empty_folder(shared: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> None:
    page = open_page(shared.url, appearance, code=ADMIN_CODE, first_visit=True)
    empty = page.locator(".empty")
    expect(empty).to_contain_text(appearance.text("emptyTitle"))
    expect(empty).to_contain_text('id = "hello"\ncommand = ["python", "main.py"]')
    expect(page.get_by_role("searchbox")).to_be_hidden()
    folder = shared.write_plugin("hello")
    try:
        empty.get_by_role("button", name=appearance.text("refresh")).click()
        expect(find_row(page, "hello").locator(".word")).to_have_text(appearance.text("stopped"))
        expect(page.get_by_role("searchbox")).to_be_visible()
    finally:
        shutil.rmtree(folder)
        shared.post("/plugins/refresh")
    expect(empty).to_contain_text(appearance.text("emptyTitle"))
