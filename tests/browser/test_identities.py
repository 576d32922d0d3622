"""Who is signed in: what the page shows and offers to each role, and what it does when reading needs a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import load
from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import find_row
from tests.helpers.stack import ADMIN_CODE, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack

    AddIdentity = Callable[..., str]


def test_an_operator_signs_in_with_a_token(
    stack: PlugvisorStack,
    open_page: Callable[..., Page],
    add: Callable[..., Path],
    add_identity: AddIdentity,
    appearance: Appearance,
) -> None:
    """Only the plugins that its patterns name have buttons."""
    add("work-1")
    token = add_identity("ops", "operator", "work-*")
    page = open_page(stack.url, appearance)
    row = find_row(page, "work-1")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    page.get_by_role("button", name=appearance.text("signIn"), exact=True).click()
    page.get_by_role("dialog").get_by_label(appearance.text("adminCode")).fill(token)
    page.keyboard.press("Enter")
    expect(page.locator(".who")).to_have_text(f"ops · {appearance.text('role_operator')}")
    expect(page.locator(".who")).to_have_attribute("title", "work-*")
    other = find_row(page, "heartbeat")
    expect(other.get_by_role("button")).to_have_count(0)
    row.get_by_role("button", name=appearance.text("stop")).click()
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))

    other.get_by_role("checkbox").check()
    expect(page.locator(".bar b")).to_contain_text(appearance.text("notYours"))
    for button in page.locator(".bar button:not(.link)").all():
        expect(button).to_be_disabled()
    row.get_by_role("checkbox").check()
    expect(page.locator(".bar button").first).to_be_enabled()

    other.get_by_role("link").click()
    expect(page.locator(".head .hint")).to_have_text(appearance.text("notYours"))
    expect(page.locator(".head").get_by_role("button")).to_have_count(0)
    check_accessibility(page)
    page.get_by_role("button", name=appearance.text("signOut")).click()
    expect(page.locator(".who")).to_have_text("")
    expect(page.locator(".head").get_by_role("button")).to_have_count(3)


def test_a_viewer_has_no_buttons(
    stack: PlugvisorStack, open_page: Callable[..., Page], add_identity: AddIdentity, appearance: Appearance
) -> None:
    page = open_page(stack.url, appearance, code=add_identity("eyes", "viewer"))
    expect(page.locator(".who")).to_have_text(f"eyes · {appearance.text('role_viewer')}")
    expect(find_row(page, "heartbeat").locator(".figure b").nth(1)).not_to_have_text("–")
    expect(page.locator(".row").get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("button", name=appearance.text("refresh"))).to_have_count(0)
    check_accessibility(page)
    page.goto(f"{stack.url}/#/plugin/colours")
    expect(page.locator(".line")).to_have_count(4)
    expect(page.locator(".head .hint")).to_have_text(appearance.text("notYours"))


def test_an_identity_that_is_removed_is_signed_out(
    stack: PlugvisorStack, open_page: Callable[..., Page], add_identity: AddIdentity, appearance: Appearance
) -> None:
    page = open_page(stack.url, appearance, code=add_identity("gone", "viewer"))
    expect(page.locator(".who")).to_contain_text("gone")
    stack.remove_identity("gone")
    expect(page.locator(".toast")).to_have_text(appearance.text("codeRejected"))
    expect(page.locator(".who")).to_have_text("")
    expect(page.get_by_role("button", name=appearance.text("signIn"), exact=True)).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_what_is_forbidden_is_said_in_words(
    stack: PlugvisorStack, open_page: Callable[..., Page], add_identity: AddIdentity, appearance: Appearance
) -> None:
    """As when the role was taken away since the page has asked for it."""
    page = open_page("about:blank", appearance)
    asked = {"name": "was-admin", "role": "admin", "plugins": ["*"]}
    page.route("**/whoami", lambda route: route.fulfill(json=asked))
    load(page, f"{stack.url}/#code={add_identity('was-admin', 'viewer')}")
    row = find_row(page, "stopped")
    row.get_by_role("button", name=appearance.text("start")).click()
    needs_role = appearance.text("needsRole", appearance.text("role_operator"))
    expect(row.locator(".trouble .detail")).to_have_text(needs_role)
    assert stack.status("stopped")["status"] == "stopped"


def test_a_wrong_code_in_the_address_while_supervisord_is_gone(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page("about:blank", appearance)
    problem = {"status": 503, "code": "supervisor_unavailable", "detail": "supervisord does not answer"}
    page.route("**/events", lambda route: route.fulfill(status=503, json=problem))
    load(page, f"{stack.url}/#code=another-code-of-an-earlier-start")
    expect(page.locator(".toast")).to_have_text(appearance.text("codeRejected"))


@pytest.fixture(scope="module")
def closed_stack() -> Iterator[PlugvisorStack]:
    """A Plugvisor whose reads need a token."""
    with run_stack() as stack:
        stack.write_plugin("worker")
        stack.environ["PLUGVISOR_READ_AUTH"] = "viewer"
        stack.http.headers["Authorization"] = f"Bearer {ADMIN_CODE}"
        stack.up()
        stack.wait_for_status("worker", "running")
        yield stack


def test_reading_that_needs_a_token(
    closed_stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    """The page asks before anything else, goes on, and shows nothing any more after a sign-out."""
    page = open_page(f"{closed_stack.url}/#/plugin/worker", appearance)
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label(appearance.text("adminCode"))).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("lockedTitle"))
    expect(page.locator(".connection")).to_have_text(appearance.text("locked"))
    check_accessibility(page)
    page.locator("#view").get_by_role("button", name=appearance.text("signIn")).click()
    dialog.get_by_label(appearance.text("adminCode")).fill(ADMIN_CODE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("worker")
    expect(page.locator(".head .word")).to_have_text(appearance.text("running"))
    expect(page.locator(".line")).not_to_have_count(0)

    page.get_by_role("button", name=appearance.text("signOut")).click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("lockedTitle"))
    assert "worker" not in page.locator("#view").inner_text()
    page.goto(f"{closed_stack.url}/#code={ADMIN_CODE}")
    expect(find_row(page, "worker").locator(".word")).to_have_text(appearance.text("running"))
