"""The card of a plugin's versions: update, roll back and remove. The service's part comes from `FakeInstallation`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.fake_installation import make_version
from tests.helpers.page_events import connect, make_item

if TYPE_CHECKING:
    from typing import Any

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import OpenInstalling
    from tests.helpers.page import Appearance

VERSIONS = {
    "installed": True,
    "versions": [
        make_version("1.3.0", current=True, environment=True, python="3.11.2", installed_by="ci"),
        make_version("1.2.0", previous=True, source=""),
    ],
}
ITEMS = connect(make_item("demo", name="Demo"), make_item("needing", "running", "demo"))


def press(page: Page, name: str) -> Locator:
    """Press a button of the card; returns the dialog that this opens."""
    page.locator(".installed").get_by_role("button", name=name).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def test_where_versions_have_come_from(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(*ITEMS, plugin_id="demo", versions=VERSIONS)
    versions = page.locator(".versions li")
    expect(versions).to_have_count(2)
    expect(versions.first).to_contain_text(re.compile(rf"1\.3\.0.*{appearance.text('current')}.*ci.*demo-1\.3\.0\.zip"))
    expect(versions.first).to_contain_text(appearance.text("ownEnvironment", "3.11.2"))
    expect(versions.last).to_contain_text(re.compile(rf"1\.2\.0.*{appearance.text('previous')}.*admin"))
    expect(versions.last).not_to_contain_text("3.11.2")
    expect(versions.last.locator("p").first).not_to_contain_text("·")  # nothing follows who installed it
    check_accessibility(page)
    # an update by somebody else
    fake.versions = {"installed": True, "versions": [make_version("1.4.0", current=True), *VERSIONS["versions"][:1]]}
    fake.advance(fake.begin("update", by="ci"), state="running", percent=80)
    update = page.locator(".installed").get_by_role("button", name=appearance.text("updatePackage"))
    expect(update).to_have_attribute("aria-disabled", "true")
    update.click(force=True)
    fake.advance(fake.operations["op-1"], state="succeeded")
    expect(versions.first).to_contain_text("1.4.0")
    expect(update).to_have_attribute("aria-disabled", "false")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_was_put_there_by_hand(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, _ = open_installing(*ITEMS, plugin_id="demo")
    card = page.locator(".installed")
    expect(card.get_by_role("status")).to_have_text(appearance.text("byHand"))
    expect(card.get_by_role("button")).to_have_text([appearance.text("editManifest")])
    check_accessibility(page)


def test_an_update_takes_only_a_package_of_this_plugin(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(*ITEMS, plugin_id="demo", versions=VERSIONS)
    dialog = press(page, appearance.text("updatePackage"))
    expect(dialog).to_contain_text(appearance.text("updateText", "Demo"))
    expect(dialog.locator("[type=checkbox]")).to_have_count(0)
    file: Any = {"name": "demo.zip", "mimeType": "", "buffer": b"PK\x03\x04"}
    dialog.locator("[type=file]").set_input_files(file)
    expect(dialog.locator(".primary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".operation b").first).to_have_text(appearance.text("running_update", "Demo"))
    query = fake.requests[0][2]
    assert (query["plugin_id"], query["replace"], query["start"]) == ("demo", "true", "false")


def test_a_rollback_says_what_it_does(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(*ITEMS, plugin_id="demo", versions=VERSIONS)
    dialog = press(page, appearance.text("rollBack"))
    expect(dialog.get_by_role("heading")).to_have_text(appearance.text("rollBackTitle", "Demo", "1.2.0"))
    expect(dialog).to_contain_text(appearance.text("rollBackText", "1.3.0", "1.2.0"))
    expect(dialog).to_contain_text(appearance.text("restartText", "Demo"))
    check_accessibility(page)
    dialog.get_by_role("button", name=appearance.text("cancel")).click()
    assert not fake.requests
    press(page, appearance.text("rollBack")).locator(".primary").click()
    operation = page.locator(".operation")
    expect(operation.locator("b").first).to_have_text(appearance.text("running_rollback", "Demo"))
    assert fake.requests == [("POST", "/plugin/demo/rollback", {"wait": "0"})]
    fake.advance(fake.operations["op-1"], state="succeeded", previous_version="1.3.0", version="1.2.0", percent=100)
    expect(operation.locator("b").first).to_have_text(appearance.text("succeeded_rollback", "Demo"))
    expect(operation.locator(".hint")).to_contain_text("1.3.0 → 1.2.0")

    fake.problems["POST /plugin/demo/rollback"] = {"status": 409, "code": "no_previous_version", "detail": "none"}
    press(page, appearance.text("rollBack")).locator(".primary").click()
    expect(page.locator(".toast")).to_have_text("none")


def test_a_removal_names_what_it_stops_and_removes(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake = open_installing(*ITEMS, plugin_id="demo", versions=VERSIONS)
    dialog = press(page, appearance.text("removePlugin"))
    for text in (
        appearance.text("stepStop", "Demo"),
        f"{appearance.text('stepDependents')} needing",
        appearance.text("stepVersions", "1.3.0, 1.2.0"),
        appearance.text("stepData"),
    ):
        expect(dialog).to_contain_text(text)
    purge = dialog.get_by_label(appearance.text("purge"))
    expect(purge).to_be_focused()
    expect(dialog.get_by_role("textbox")).to_be_hidden()
    # what requires it must be stopped, too
    dialog.locator(".primary").click()
    others = dialog.get_by_label(appearance.text("alsoStop"))
    expect(others).to_be_focused()
    others.check()
    # data is deleted only once the id was typed
    purge.check()
    check_accessibility(page)
    dialog.locator(".primary").click()
    typed = dialog.get_by_role("textbox")
    expect(typed).to_be_focused()
    typed.fill("dem")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    assert not fake.requests
    typed.fill("demo")
    page.keyboard.press("Enter")
    expect(page.locator(".operation b").first).to_have_text(appearance.text("running_uninstall", "Demo"))
    asked = {"wait": "0", "purge": "true", "dependents": "true"}
    assert fake.requests == [("DELETE", "/plugin/demo", asked)]
    fake.show(ITEMS[1])
    fake.advance(fake.operations["op-1"], state="succeeded", percent=100)
    expect(page.locator(".operation b").first).to_have_text(appearance.text("succeeded_uninstall", "demo"))
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("goneTitle", "demo"))


def test_a_removal_keeps_the_data_of_one_that_nothing_needs(
    open_installing: OpenInstalling, appearance: Appearance
) -> None:
    page, fake = open_installing(make_item("a.b", "stopped"), plugin_id="a.b", versions=VERSIONS)
    dialog = press(page, appearance.text("removePlugin"))
    expect(dialog).not_to_contain_text(appearance.text("stepStop", "a.b"))
    purge = dialog.get_by_label(appearance.text("purge"))
    purge.check()
    purge.uncheck()
    dialog.locator(".primary").click()
    expect(page.locator(".operation")).to_be_visible()
    assert fake.requests == [("DELETE", "/plugin/a.b", {"wait": "0", "purge": "false", "dependents": "false"})]


def test_what_cannot_be_fetched_is_said(open_installing: OpenInstalling, appearance: Appearance) -> None:
    problem = {"status": 501, "code": "not_supported", "detail": "the folder cannot be written"}
    page, _ = open_installing(*ITEMS, plugin_id="demo", problems={"GET /plugin/demo/versions": problem})
    card = page.locator(".installed")
    expect(card.get_by_role("status")).to_have_text(appearance.text("installationOff", problem["detail"]))
    expect(card.get_by_role("button")).to_have_text([appearance.text("editManifest")])
