"""What the page shows of what is remembered, and the buttons Enable and Disable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import find_row
from tests.helpers.stack import ADMIN_CODE, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack


def make_pattern(appearance: Appearance, key: str, by: str) -> re.Pattern[str]:
    """A text that names somebody and a time of today."""
    return re.compile(re.escape(appearance.text(key, by, "TIME")).replace("TIME", r"\d\d:\d\d:\d\d"))


def test_a_stop_is_remembered_until_it_is_forgotten(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("wanted")
    page = open_signed_in("#/plugin/wanted")
    intent = page.locator(".intent")
    expect(intent).to_have_text(make_pattern(appearance, "wanted_running", "admin"))
    page.locator(".head").get_by_role("button", name=appearance.text("stop")).click()
    expect(intent).to_have_text(make_pattern(appearance, "wanted_stopped", "admin"))
    check_accessibility(page)
    stack.ctl("start", "wanted")
    expect(intent).to_have_text(make_pattern(appearance, "wanted_running", "supervisorctl"))
    intent.get_by_role("button", name=appearance.text("forget")).click()
    expect(intent).to_be_hidden()
    assert "intent" not in stack.status("wanted")


def test_disable_and_enable(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("switched", is_running=False)
    stack.post("/plugin/switched/enable")  # an earlier test's
    stack.start_running("switched")
    page = open_signed_in("#/plugin/switched")
    head = page.locator(".head")
    head.get_by_role("button", name=appearance.text("disable")).click()
    expect(head.locator(".word")).to_have_text(appearance.text("disabled"))
    expect(page.locator(".intent")).to_have_text(make_pattern(appearance, "wanted_disabled", "admin"))
    expect(page.locator(".intent button")).to_be_hidden()
    expect(page.locator(".needs")).to_be_hidden()
    expect(head.get_by_role("button", name=appearance.text("start"))).to_have_attribute("aria-disabled", "true")
    check_accessibility(page)
    page.get_by_role("link", name=appearance.text("back")).click()
    expect(find_row(page, "switched").locator(".word")).to_have_text(appearance.text("disabled"))
    page.go_back()
    head.get_by_role("button", name=appearance.text("enable")).click()
    expect(head.locator(".word")).to_have_text(appearance.text("stopped"))
    expect(head.get_by_role("button", name=appearance.text("start"))).to_have_attribute("aria-disabled", "false")
    expect(head.get_by_role("button", name=appearance.text("disable"))).to_be_visible()


def test_a_plugin_that_its_manifest_disables_cannot_be_enabled_here(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_signed_in("#/plugin/disabled")
    expect(page.locator(".head .word")).to_have_text(appearance.text("disabled"))
    button = page.locator(".head").get_by_role("button", name=f"{appearance.text('disable')} disabled")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator(".intent")).to_be_hidden()


def test_a_store_that_is_not_available(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    """The page finds out when an answer says that it was not remembered, and when that has passed."""
    add("forgettable")
    page = open_signed_in()
    row = find_row(page, "forgettable")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    banner = page.locator("#banner")
    expect(banner).to_be_empty()
    store = {"status": "unavailable", "detail": "the disk is full"}
    page.route("**/available", lambda route: route.fulfill(json={"status": "ok", "available": True, "store": store}))
    answer = {"plugin_id": "forgettable", "status": "stopped", "state": "STOPPED", "message": "", "remembered": False}
    page.route("**/plugin/forgettable/stop", lambda route: route.fulfill(json=answer))
    row.get_by_role("button", name=appearance.text("stop")).click()
    expect(banner).to_contain_text(appearance.text("forgetfulTitle"))
    expect(banner).to_contain_text("the disk is full")
    check_accessibility(page)
    store.update(status="ok", detail="", set_aside="plugvisor.db.broken-20261129T120000Z")
    expect(banner).to_contain_text("plugvisor.db.broken-20261129T120000Z")
    banner.get_by_role("button", name=appearance.text("dismiss")).click()
    expect(banner).to_be_empty()


def test_a_state_folder_that_cannot_be_used(open_page: Callable[..., Page]) -> None:
    """The banner is there at once, plugins can be stopped meanwhile, and it goes when the folder is there."""
    with run_stack() as stack:
        stack.write_plugin("worker")
        state_dir = Path(stack.environ["PLUGVISOR_STATE_DIR"])
        state_dir.write_text("a file in its place")
        stack.up()
        stack.wait_for_status("worker", "running")
        page = open_page(stack.url, code=ADMIN_CODE)
        banner = page.locator("#banner")
        expect(banner).to_contain_text("Changes are not remembered.")
        row = find_row(page, "worker")
        row.get_by_role("button", name="Stop").click()
        expect(row.locator(".word")).to_have_text("Stopped")
        expect(banner).to_be_visible()
        state_dir.unlink()
        state_dir.mkdir(mode=0o700)
        expect(banner).to_be_empty()
        row.get_by_role("link").click()
        expect(page.locator(".intent")).to_contain_text("Stopped by admin")
