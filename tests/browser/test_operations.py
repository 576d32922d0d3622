"""Operations as the page shows them: phases, logs and outcomes. The service's part is `FakeInstallation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.browser.conftest import load
from tests.helpers.accessibility import check_accessibility
from tests.helpers.fake_installation import FakeInstallation
from tests.helpers.page_events import PageEvents, make_item
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

    from tests.browser.conftest import OpenInstalling
    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack


def test_what_cannot_be_cancelled_any_more(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("demo"))
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).wait_for()
    operation = fake.begin("update")
    fake.advance(operation, phase="environment", percent=30)
    cancel = page.locator(".operation").get_by_role("button", name=appearance.text("cancel"))
    expect(cancel).to_be_visible()
    fake.problems["DELETE /operations/op-1"] = {"status": 409, "code": "not_cancellable", "detail": "it is too late"}
    cancel.click()
    expect(page.locator(".toast")).to_have_text("it is too late")
    fake.advance(operation, phase="swap", percent=80)
    expect(cancel).to_be_hidden()


def test_an_update_that_fails_says_why(open_installing: OpenInstalling, appearance: Appearance) -> None:
    """Its log is text: no markup, no control codes."""
    page, fake = open_installing(make_item("demo"))
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).wait_for()
    operation = fake.begin("update", by="ci")
    fake.advance(operation, "one", phase="start", percent=90)
    card = page.locator(".operation")
    expect(card.locator(".hint")).to_contain_text(appearance.text("by", "ci"))
    log = ["\x1b[31mTraceback\x1b[0m", "<img src=x onerror=alert(1)>", "\u202eValueError"]
    problem = {"status": 500, "code": "start_failed", "detail": "demo has ended", "rolled_back": True, "log": log}
    fake.advance(operation, state="failed", problem=problem)
    expect(card.locator("b").first).to_have_text(appearance.text("failed_update", "demo"))
    expect(card.locator(".problem")).to_have_text("demo has ended")
    expect(card).to_contain_text(appearance.text("rolledBack"))
    expect(card.locator("details pre")).to_have_text("Traceback\n<img src=x onerror=alert(1)>\nValueError")
    expect(card.locator("img")).to_have_count(0)
    card.get_by_role("button", name=appearance.text("showLog")).click()
    expect(card.locator("> pre")).to_have_text("one")
    check_accessibility(page)

    operation = fake.begin("install", None)
    fake.advance(operation, phase="verified")
    refused = {"status": 422, "code": "invalid_package", "detail": "an entry leads out", "entry": "../../etc/passwd"}
    fake.advance(operation, state="failed", problem=refused)
    expect(card).to_have_count(2)
    expect(card.first).to_contain_text(f"{appearance.text('entryName')} ../../etc/passwd")
    fake.advance(fake.begin("update"), state="running")
    not_back = problem | {"rolled_back": False, "log": []}
    fake.advance(fake.operations["op-3"], state="failed", problem=not_back)
    expect(card.first).to_contain_text(appearance.text("notRolledBack"))


def test_operations_of_others_and_of_an_earlier_visit(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page("about:blank", appearance)
    events = PageEvents(page)
    fake = FakeInstallation(page, events)
    fake.begin("install", phase="environment", percent=50, lines=1, log=["building"], by="ci")
    fake.begin("update", "old", state="succeeded")
    load(page, f"{stack.url}/#code={ADMIN_CODE}", is_whole=True)
    events.show(make_item("demo"))
    card = page.locator(".operation")
    expect(card).to_have_count(1)
    expect(card.locator("b").first).to_have_text(appearance.text("running_install", "demo"))
    expect(card.locator("pre")).to_be_hidden()
    card.get_by_role("button", name=appearance.text("showLog")).click()
    expect(card.locator("pre")).to_have_text("building")
    fake.advance(fake.begin("uninstall", "old", by="ci"), percent=10)
    expect(card).to_have_count(2)
    expect(card.first.locator("b").first).to_have_text(appearance.text("running_uninstall", "old"))
    expect(card.first.get_by_role("button", name=appearance.text("cancel"))).to_be_hidden()
    # in another language, and in another view
    page.get_by_role("button", name=appearance.text("language"), exact=True).click()
    other = type(appearance)("en" if appearance.language == "zh" else "zh")
    expect(card.last.locator("b").first).to_have_text(other.text("running_install", "demo"))
    page.evaluate("location.hash = '#/journal'")
    expect(page.get_by_role("heading", level=1)).to_have_text(other.text("journal"))
    expect(card).to_have_count(2)
    # signed out, nothing of it is left
    page.locator("#top > button").click()
    expect(page.locator(".operations")).to_be_hidden()
    expect(card).to_have_count(0)
    fake.advance(fake.operations["op-1"], percent=60)
    expect(card).to_have_count(0)


def test_an_event_that_comes_before_the_answer(open_installing: OpenInstalling, appearance: Appearance) -> None:
    """It cannot say that the operation was begun here: what only that allows is offered nevertheless."""
    page, fake = open_installing(make_item("demo"))
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).click()
    dialog = page.get_by_role("dialog")
    problem = {"status": 409, "code": "already_installed", "detail": "demo is installed already"}

    def answer(route: Route) -> None:
        operation = fake.begin("install")
        first = {**operation}
        fake.advance(operation, phase="verified")
        fake.advance(operation, state="failed", problem=problem)
        page.locator(".operation .problem").wait_for()
        route.fulfill(status=202, json=first)

    page.route("**/plugins/install?**", answer)
    file: Any = {"name": "demo.zip", "mimeType": "", "buffer": b"PK\x03\x04"}
    dialog.locator("[type=file]").set_input_files(file)
    dialog.locator(".primary[aria-disabled=false]").click()
    card = page.locator(".operation")
    expect(card.locator(".problem")).to_have_text("demo is installed already")
    expect(card.get_by_role("button", name=appearance.text("updateInstead"))).to_be_visible()
