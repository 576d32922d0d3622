"""The admin code: when the page asks for it, where it is kept, and where it never is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from plugvisor.api.auth.gate import BURST

from tests.browser.conftest import load
from tests.helpers.page import find_row, reload
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page, Route

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack


def test_the_first_action_asks_for_it(
    stack: PlugvisorStack, open_page: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("worker")
    page = open_page(stack.url, appearance)
    row = find_row(page, "worker")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    pid = stack.status("worker")["pid"]
    row.locator("button").nth(1).click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label(appearance.text("adminCode"))
    expect(field).to_be_focused()
    field.fill("a-wrong-code-of-some-length")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text(appearance.text("wrongCode"))
    assert stack.status("worker")["pid"] == pid
    field.fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    wait_for(lambda: stack.status("worker").get("pid", pid) != pid, "the action to continue")
    expect(row.locator("button").nth(1)).to_have_attribute("aria-disabled", "false")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))


def test_cancelling_changes_nothing(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(stack.url, appearance)
    button = find_row(page, "heartbeat").locator("button").first
    expect(button).to_have_text(appearance.text("stop"))
    button.click()
    page.get_by_role("dialog").get_by_role("button", name=appearance.text("cancel")).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()
    expect(button).to_have_text(appearance.text("stop"))
    assert stack.status("heartbeat")["status"] == "running"


def test_an_address_with_the_code_signs_in(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    requested: list[str] = []
    page = open_page("about:blank", appearance)
    page.on("request", lambda request: requested.append(request.url))
    page.goto(f"{stack.url}/#code={ADMIN_CODE}")
    expect(page.get_by_role("button", name=appearance.text("signOut"))).to_be_visible()
    assert page.url == f"{stack.url}/"
    assert page.evaluate("history.length") == 2, "the address with the code is not in the history"
    assert not [url for url in requested if ADMIN_CODE in url and "#" not in url]
    stored = page.evaluate("[JSON.stringify(localStorage), document.cookie, document.documentElement.outerHTML]")
    assert ADMIN_CODE not in json.dumps(stored)
    assert page.evaluate("Object.values(sessionStorage)") == [ADMIN_CODE]
    reload(page)
    expect(page.get_by_role("button", name=appearance.text("signOut"))).to_be_visible()
    other = page.context.new_page()
    load(other, stack.url)
    expect(other.get_by_role("button", name=appearance.text("signIn"), exact=True)).to_be_visible()

    page.get_by_role("button", name=appearance.text("signOut")).click()
    expect(page.get_by_role("button", name=appearance.text("signIn"), exact=True)).to_be_visible()
    expect(find_row(page, "heartbeat").locator(".figure.none")).to_have_count(3)
    assert page.evaluate("sessionStorage.length") == 0


def test_why_a_plugin_has_ended_is_shown_while_signed_in(
    stack: PlugvisorStack, open_page: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("broken", "raise ValueError('no luck')\n", runtime=f"{QUICK}\nsupervisor.autorestart = false", is_running=False)
    stack.post("/plugin/broken/start")
    stack.wait_for_status("broken", "error")
    page = open_page(stack.url, appearance)
    detail = find_row(page, "broken").locator(".detail")
    expect(detail).to_contain_text("its log may say why")
    page.get_by_role("button", name=appearance.text("signIn"), exact=True).click()
    page.get_by_role("dialog").get_by_label(appearance.text("adminCode")).fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(detail).to_contain_text(": ValueError: no luck")
    page.get_by_role("button", name=appearance.text("signOut")).click()
    expect(detail).to_contain_text("its log may say why")


def test_an_address_with_a_wrong_code_says_so(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(stack.url, appearance, code="the-code-of-an-earlier-start")
    expect(page.locator(".toast")).to_have_text(appearance.text("codeRejected"))
    expect(page.get_by_role("button", name=appearance.text("signIn"), exact=True)).to_be_visible()


def test_a_code_that_has_become_wrong_is_asked_for_again(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(stack.url, appearance)
    row = find_row(page, "heartbeat")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    # as after a restart with another code
    page.evaluate("sessionStorage.setItem('plugvisor.code', 'an-earlier-code')")
    row.locator("button").nth(1).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(row.locator("button").nth(1)).to_have_text(appearance.text("reload"))
    expect(row.locator(".trouble")).to_be_hidden()


def test_by_keyboard_alone(
    stack: PlugvisorStack, open_page: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("worker")
    page = open_page(stack.url, appearance)
    expect(find_row(page, "worker").locator(".word")).to_have_text(appearance.text("running"))
    page.keyboard.press("/")
    page.keyboard.type("worker")
    expect(page.locator(".row")).to_have_count(1)
    reload_button = find_row(page, "worker").locator("button").nth(1)
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
    expect(page.locator("#spoken")).to_contain_text("worker")
    link = find_row(page, "worker").get_by_role("link")
    for _ in range(5):
        page.keyboard.press("Shift+Tab")
        if link.evaluate("(node) => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("worker")
    page.go_back()
    expect(find_row(page, "worker").get_by_role("link")).to_be_focused()


def test_a_response_to_a_wrong_code_that_is_delayed(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    """The dialog stays usable: it sends a code once, can be cancelled, and takes the right code afterwards."""
    held: list[Route] = []  # until its response is let through
    page = open_page(stack.url, appearance)

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/whoami", hold)

    def wait_for_request(count: int) -> None:
        wait_for(lambda: page.evaluate("true") and len(held) >= count, "the request")

    sign_in = page.get_by_role("button", name=appearance.text("signIn"), exact=True).first
    sign_in.click()
    dialog = page.get_by_role("dialog")
    field, alert = dialog.get_by_label(appearance.text("adminCode")), dialog.get_by_role("alert")
    for number in range(BURST):  # from now on a wrong code is delayed, the right one is not
        stack.post("/plugins/refresh", f"wrong-{appearance}-{number}")
    field.fill(f"wrong-{appearance}")
    for _ in range(3):
        page.keyboard.press("Enter")
    expect(dialog.locator("button.primary")).to_have_attribute("aria-disabled", "true")
    wait_for_request(1)
    held[0].continue_()
    expect(alert).to_have_text(appearance.text("wrongCode"))
    assert len(held) == 1
    field.fill(f"another-{appearance}")
    page.keyboard.press("Enter")
    wait_for_request(2)
    dialog.get_by_role("button", name=appearance.text("cancel")).click()
    expect(dialog).to_have_count(0)
    page.unroute("**/whoami")
    sign_in.click()
    field.fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=appearance.text("signOut"))).to_be_visible()


def test_a_service_that_no_longer_answers_to_the_name(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    """The page says what the service says, and goes on when it answers again."""
    problem = {"status": 421, "code": "misdirected_request", "detail": "the service does not answer to the name"}
    page = open_page(stack.url, appearance)
    expect(find_row(page, "heartbeat")).to_be_visible()
    page.route("**/whoami", lambda route: route.fulfill(status=421, json=problem))
    page.get_by_role("button", name=appearance.text("signIn"), exact=True).first.click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label(appearance.text("adminCode"))
    field.fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text(problem["detail"])
    page.unroute("**/whoami")
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    page.route("**/events", lambda route: route.fulfill(status=421, json=problem))
    stack.ctl("restart", "plugvisor")
    expect(page.locator("#banner")).to_contain_text(problem["detail"])
    page.unroute("**/events")
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))
