"""Packages: chosen, dropped and sent; and the operations that follow. The service's part is `FakeInstallation`."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.browser.conftest import load
from tests.helpers.accessibility import check_accessibility
from tests.helpers.page_events import make_item
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import OpenInstalling
    from tests.helpers.fake_installation import FakeInstallation
    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack

ZIP = b"PK\x03\x04" + bytes(range(256)) * 10_000
TAR = b"\x1f\x8b\x08" + b"x" * 500


def make_file(content: bytes = ZIP, name: str = "demo-1.3.0.zip") -> Any:
    """A file to choose; its declared type is not what the page goes by."""
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def open_dialog(page: Page, appearance: Appearance) -> Locator:
    """The dialog that installs."""
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).click()
    dialog = page.get_by_role("dialog", name=appearance.text("installTitle"))
    expect(dialog).to_be_visible()
    return dialog


def choose(dialog: Locator, file: Any) -> None:
    """Choose a file, and wait until the page has looked into it."""
    dialog.locator("[type=file]").set_input_files(file)
    expect(dialog.locator("dd").first).to_have_text(file["name"])


def send(dialog: Locator) -> None:
    """Install what was chosen."""
    expect(dialog.locator(".primary")).to_have_attribute("aria-disabled", "false")
    dialog.locator(".primary").click()


def find_changes(fake: FakeInstallation) -> list[tuple[str, str]]:
    """Method and path of every request that changes something."""
    return [(method, path) for method, path, _query in fake.requests]


def test_a_package_is_chosen_and_installed(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("other"))
    dialog = open_dialog(page, appearance)
    check_accessibility(page)
    choose(dialog, make_file())
    digest = hashlib.sha256(ZIP).hexdigest()
    expect(dialog.locator("dd")).to_have_text(["demo-1.3.0.zip", re.compile(r"2[.,]6 MB"), digest])
    check_accessibility(page)
    assert not fake.requests, "it says first what it will do"
    send(dialog)
    expect(dialog).to_have_count(0)
    [(method, path, query)] = fake.requests
    assert (method, path) == ("POST", "/plugins/install")
    assert query == {
        "wait": "0", "source": "demo-1.3.0.zip", "sha256": digest, "start": "true", "replace": "false"
    }  # fmt: skip
    assert fake.headers["content-type"] == "application/zip"

    operation = page.locator(".operation")
    expect(operation).to_contain_text(appearance.text("running_install", "demo-1.3.0.zip"))
    running = fake.operations["op-1"]
    fake.advance(running, plugin_id="demo", phase="verified", percent=20)
    expect(operation.locator("b").first).to_have_text(appearance.text("running_install", "demo"))
    expect(operation.locator("[aria-current=step]")).to_have_text(appearance.text("phase_verified"))
    fake.advance(running, "Resolved 3 packages", "Installed 3 packages", phase="environment", percent=40)
    expect(operation.locator("pre")).to_have_text("Resolved 3 packages\nInstalled 3 packages")
    expect(operation.get_by_role("progressbar")).to_have_attribute("value", "40")
    check_accessibility(page)
    fake.show(make_item("other"), make_item("demo"))
    fake.advance(running, state="succeeded", phase="start", percent=100, version="1.3.0")
    expect(operation.locator("b").first).to_have_text(appearance.text("succeeded_install", "demo"))
    expect(page.locator("#spoken")).to_contain_text(appearance.text("succeeded_install", "demo"))
    expect(operation.locator(".outcome a")).to_have_attribute("href", "#/plugin/demo")
    expect(operation.get_by_role("progressbar")).to_be_hidden()
    check_accessibility(page)
    operation.get_by_role("button", name=appearance.text("dismiss")).click()
    expect(operation).to_have_count(0)


DROP = """([content, name, kind]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(content)], name));
  if (kind === "two") transfer.items.add(new File(["x"], "another"));
  const send = (what) => document.querySelector("#view").dispatchEvent(
    new DragEvent(what, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  return [send("dragover"), document.body.className, send("drop")];
}"""


def test_a_package_is_dropped(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("demo"))
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).wait_for()
    # false: the browser does not leave the page to show the file
    assert page.evaluate(DROP, [list(TAR), "demo.tar.gz", ""]) == [False, "dropping", False]
    dialog = page.get_by_role("dialog", name=appearance.text("installTitle"))
    expect(dialog.locator("dd").first).to_have_text("demo.tar.gz")
    expect(dialog.locator("dd").nth(1)).to_have_text(re.compile(r"0[.,]5 kB"))
    # another one, while the dialog is open
    page.evaluate(DROP, [list(ZIP[:999]), "other.zip", ""])
    expect(dialog.locator("dd").first).to_have_text("other.zip")
    expect(dialog.locator("dd").nth(1)).to_have_text(re.compile(r"1[.,]0 kB"))
    expect(dialog.locator("dd").last).to_have_text(hashlib.sha256(ZIP[:999]).hexdigest())
    assert dialog.locator("input[type=file]").evaluate("input => input.files[0].name") == "other.zip"
    page.evaluate(DROP, [list(TAR), "demo.tar.gz", ""])
    expect(dialog.locator("dd").last).to_have_text(hashlib.sha256(TAR).hexdigest())
    send(dialog)
    expect(page.locator(".operation")).to_be_visible()
    assert fake.headers["content-type"] == "application/gzip"
    assert page.evaluate(DROP, [list(TAR), "demo.tar.gz", "two"]) == [False, "dropping", False]
    expect(page.locator(".toast")).to_have_text(appearance.text("onePackage"))

    page.evaluate("location.hash = '#/plugin/demo'")
    page.locator(".installed").wait_for()
    page.evaluate(DROP, [list(TAR), "demo.tar.gz", ""])
    expect(page.get_by_role("dialog", name=appearance.text("updateTitle", "demo"))).to_be_visible()


def test_with_the_keyboard_alone(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("demo"))
    button = page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage"))
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("[type=file]")).to_be_focused()
    dialog.locator("[type=file]").set_input_files(make_file())  # the browser's own chooser
    expect(dialog.locator(".primary")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(dialog.get_by_label(appearance.text("replaceIt"))).to_be_checked()
    page.keyboard.press("Enter")  # as in every form
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert fake.requests[0][2]["replace"] == "true"
    cancel = page.locator(".operation").get_by_role("button", name=appearance.text("cancel"))
    cancel.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".operation b").first).to_contain_text(
        appearance.text("cancelled", "demo-1.3.0.zip", appearance.text("install"))
    )
    assert find_changes(fake)[-1] == ("DELETE", "/operations/op-1")
    expect(page.locator(".operation").get_by_role("button", name=appearance.text("dismiss"))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".operations")).to_be_hidden()
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_what_is_installed_already_can_be_updated_instead(
    open_installing: OpenInstalling, appearance: Appearance
) -> None:
    page, fake = open_installing(make_item("demo"))
    problem = {"status": 409, "code": "already_installed", "detail": "demo is installed already"}
    fake.problems["POST /plugins/install"] = problem
    dialog = open_dialog(page, appearance)
    choose(dialog, make_file())
    send(dialog)
    expect(dialog.get_by_role("alert")).to_have_text("demo is installed already")
    expect(dialog.locator(".primary")).to_have_text(appearance.text("updateInstead"))
    check_accessibility(page)
    fake.problems.clear()
    send(dialog)
    expect(dialog).to_have_count(0)
    assert fake.requests[-1][2]["replace"] == "true"

    # found when the package was unpacked
    fake.requests.clear()
    dialog = open_dialog(page, appearance)
    choose(dialog, make_file())
    send(dialog)
    expect(page.locator(".operation")).to_have_count(2)
    card = page.locator(".operation").first
    fake.advance(fake.operations["op-2"], plugin_id="demo", state="failed", problem=problem)
    card.get_by_role("button", name=appearance.text("updateInstead")).click()
    expect(page.locator(".operation")).to_have_count(3)
    assert [query["replace"] for _, _, query in fake.requests] == ["false", "true"]


def test_what_is_no_package_is_not_sent(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("demo"), info={"on": True, "package_mb": 1})
    dialog = open_dialog(page, appearance)
    alert = dialog.get_by_role("alert")
    choose(dialog, make_file(b"\x7fELF", "demo.zip"))
    expect(alert).to_have_text(appearance.text("noPackage"))
    choose(dialog, make_file(ZIP, "large.zip"))
    expect(alert).to_have_text(appearance.text("tooLarge", 1))
    expect(dialog.locator(".primary")).to_have_attribute("aria-disabled", "true")
    dialog.locator(".primary").click(force=True)
    choose(dialog, make_file(ZIP[:1000], "right.zip"))
    expect(alert).to_be_empty()
    assert not fake.requests
    fake.problems["POST /plugins/install"] = {"status": 507, "code": "insufficient_storage", "detail": "no space"}
    send(dialog)
    expect(alert).to_have_text("no space")
    fake.problems.clear()
    send(dialog)
    expect(dialog).to_have_count(0)


def test_sending_is_shown_and_can_be_cancelled(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("demo"))
    fake.holds = True
    dialog = open_dialog(page, appearance)
    choose(dialog, make_file())
    send(dialog)
    expect(dialog.get_by_role("progressbar")).to_be_visible()
    expect(dialog.get_by_role("status")).not_to_be_empty()
    expect(dialog.locator("[type=file]")).to_be_disabled()
    check_accessibility(page)
    with page.expect_event("requestfailed", lambda request: "plugins/install" in request.url):
        dialog.get_by_role("button", name=appearance.text("cancel")).click()
    expect(dialog).to_have_count(0)
    expect(page.locator(".operations")).to_be_hidden()


def test_a_token_that_has_expired_meanwhile(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(make_item("demo"))
    dialog = open_dialog(page, appearance)
    choose(dialog, make_file())
    fake.problems["POST /plugins/install"] = {"status": 401, "code": "unauthorized", "detail": "wrong"}
    send(dialog)
    expect(dialog.get_by_role("alert")).to_have_text(appearance.text("wrongCode"))
    expect(page.locator(".toast")).to_have_text(appearance.text("codeRejected"))
    fake.problems["POST /plugins/install"] = {"status": 403, "code": "forbidden", "detail": "no", "role": "admin"}
    send(dialog)
    page.get_by_role("dialog").get_by_label(appearance.text("adminCode")).fill("another")
    page.route("**/whoami", lambda route: route.fulfill(json={"name": "x", "role": "admin", "plugins": ["*"]}))
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text(appearance.text("needsRole", appearance.text("role_admin")))


def test_where_nothing_can_be_installed(open_installing: OpenInstalling, appearance: Appearance) -> None:
    reason = "the folder cannot be written"
    page, fake = open_installing(info={"on": False, "reason": reason, "package_mb": 200})
    page.locator(".first button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(appearance.text("installationOff", reason))
    expect(dialog.get_by_role("button")).to_have_count(1)
    expect(dialog.locator("input")).to_have_count(0)
    check_accessibility(page)
    assert not fake.requests


def test_only_an_admin_has_it(
    stack: PlugvisorStack, open_page: Callable[..., Page], add_identity: Callable[..., str], appearance: Appearance
) -> None:
    page = open_page("about:blank", appearance)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    load(page, f"{stack.url}/#code={add_identity('only-operator', 'operator')}")
    expect(page.locator(".who")).to_contain_text("only-operator")
    expect(page.get_by_role("button", name=appearance.text("refresh"))).to_be_visible()
    expect(page.get_by_role("button", name=appearance.text("installPackage"))).to_have_count(0)
    page.goto(f"{stack.url}/#/plugin/stopped")
    expect(page.locator(".facts")).to_contain_text("supervisord")
    expect(page.locator(".installed")).to_have_count(0)
    assert not [url for url in fetched if "administration" in url]
    page.locator("#top > button").click()
    page.goto(f"{stack.url}/#code={ADMIN_CODE}")
    expect(page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage"))).to_be_visible()
    wait_for(lambda: any("administration.js" in url for url in fetched), "the module of admins")
    page.locator("#top > button").click()
    expect(page.get_by_role("button", name=appearance.text("installPackage"))).to_have_count(0)
