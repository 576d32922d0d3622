"""Plugins that come and go by the page, with nothing in place of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.page import find_row
from tests.helpers.waiting import wait_for
from tests.helpers.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack

QUICK = "auto_start = false\nsupervisor.startsecs = 0"
LASTING = "auto_start = false\nsupervisor.startsecs = 1\nsupervisor.startretries = 0"
PATIENT = "auto_start = false\nsupervisor.startsecs = 60\nsupervisor.startretries = 0"
"""A busy machine takes its time to run a plugin, and only then can it fail."""
DIES = 'print("I cannot work like this", flush=True)\nraise SystemExit(3)\n'


@pytest.fixture
def plugin_id(stack: PlugvisorStack) -> Iterator[str]:
    """The id of a plugin that is removed at the end, if it is installed."""
    yield "arrived"
    response = stack.delete("/plugin/arrived", params={"purge": "true", "wait": "50"})
    assert response.status_code in (200, 404), response.text


def send(dialog: Locator, package: bytes, name: str = "arrived.zip") -> None:
    """Choose a package in the dialog, and send it."""
    file: Any = {"name": name, "mimeType": "", "buffer": package}
    dialog.locator("[type=file]").set_input_files(file)
    expect(dialog.locator(".primary")).to_have_attribute("aria-disabled", "false")
    dialog.locator(".primary").click()
    expect(dialog).to_have_count(0)


def press(page: Page, name: str) -> Locator:
    """Press a button of the card of versions; returns the dialog that this opens."""
    button = page.locator(".installed").get_by_role("button", name=name)
    expect(button).not_to_have_attribute("aria-disabled", "true")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def test_a_plugin_comes_changes_and_goes(
    stack: PlugvisorStack,
    open_signed_in: Callable[..., Page],
    appearance: Appearance,
    plugin_id: str,
    tmp_path: Path,
) -> None:
    page = open_signed_in()
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).click()
    send(page.get_by_role("dialog"), make_plugin_package(plugin_id, version="1", runtime=LASTING))
    outcome = page.locator(".operation").first.locator("b").first
    expect(outcome).to_have_text(appearance.text("succeeded_install", plugin_id))
    expect(find_row(page, plugin_id).locator(".word")).to_have_text(appearance.text("running"))
    page.locator(".operation .outcome a").click()
    versions = page.locator(".versions li")
    expect(versions).to_have_count(1)
    expect(versions).to_contain_text("arrived.zip")
    check_accessibility(page)

    # one that does not start
    send(
        press(page, appearance.text("updatePackage")),
        make_plugin_package(plugin_id, DIES, version="2", runtime=PATIENT),
    )
    expect(outcome).to_have_text(appearance.text("failed_update", plugin_id))
    card = page.locator(".operation").first
    expect(card).to_contain_text(appearance.text("rolledBack"))
    expect(card.locator("details pre")).to_contain_text("I cannot work like this")
    expect(page.locator(".head .word")).to_have_text(appearance.text("running"))
    check_accessibility(page)

    # one with an environment of its own, whose building is shown
    wheel = write_wheel(tmp_path, "needed_one", "1.5")
    requirements = {"requirements.txt": f"needed-one @ {wheel.as_uri()}\n"}
    package = make_plugin_package(plugin_id, version="3", runtime=LASTING, files=requirements)
    send(press(page, appearance.text("updatePackage")), package, "arrived-3.zip")
    expect(outcome).to_have_text(appearance.text("succeeded_update", plugin_id))
    card.get_by_role("button", name=appearance.text("showLog")).click()
    expect(card.locator("> pre")).to_contain_text("needed")
    expect(versions.first).to_contain_text("arrived-3.zip")
    expect(versions.first).to_contain_text(appearance.text("ownEnvironment", "3."))
    expect(page.locator(".version")).to_have_text("3")

    press(page, appearance.text("rollBack")).locator(".primary").click()
    expect(outcome).to_have_text(appearance.text("succeeded_rollback", plugin_id))
    expect(page.locator(".version")).to_have_text("1")
    expect(page.locator(".head .word")).to_have_text(appearance.text("running"))

    dialog = press(page, appearance.text("removePlugin"))
    dialog.get_by_label(appearance.text("purge")).check()
    dialog.get_by_role("textbox").fill(plugin_id)
    dialog.locator(".primary").click()
    expect(outcome).to_have_text(appearance.text("succeeded_uninstall", plugin_id))
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("goneTitle", plugin_id))
    assert not (stack.plugins_dir / plugin_id).exists()


def test_a_build_that_takes_too_long_is_cancelled(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], appearance: Appearance, plugin_id: str
) -> None:
    page = open_signed_in()
    card = page.locator(".operation").first
    with make_endless_package(plugin_id) as package:
        page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).click()
        send(page.get_by_role("dialog"), package)
        expect(card.locator("[aria-current=step]")).to_have_text(appearance.text("phase_environment"))
        expect(card.locator("> pre")).not_to_be_empty()
        # another visit sees it too
        other = open_signed_in()
        expect(other.locator(".operation b").first).to_have_text(appearance.text("running_install", plugin_id))
        card.get_by_role("button", name=appearance.text("cancel")).click()
        cancelled = appearance.text("cancelled", plugin_id, appearance.text("install"))
        expect(card.locator("b").first).to_have_text(cancelled)
        expect(other.locator(".operation b").first).to_have_text(cancelled)
    assert stack.get("/plugin/status", params={"plugin_id": plugin_id}).status_code == 404


def test_a_hostile_package_is_refused_with_its_entry(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], appearance: Appearance, plugin_id: str
) -> None:
    page = open_signed_in()
    page.locator(".toolbar").get_by_role("button", name=appearance.text("installPackage")).click()
    send(page.get_by_role("dialog"), make_plugin_package(plugin_id, files={"../../outside": "x"}))
    card = page.locator(".operation").first
    expect(card.locator(".problem")).not_to_be_empty()
    expect(card).to_contain_text(f"{appearance.text('entryName')} ../../outside")
    assert not (stack.plugins_dir / plugin_id).exists()


def test_a_manifest_is_edited(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], appearance: Appearance, add: Callable[..., Path]
) -> None:
    folder = add("edited", runtime=QUICK)
    page = open_signed_in("#/plugin/edited")
    dialog = press(page, appearance.text("editManifest"))
    area = dialog.get_by_role("textbox", name="plugin.toml")
    expect(area).to_have_value((folder / "plugin.toml").read_text())
    before = area.input_value()

    def save(text: str) -> None:
        area.fill(text)
        dialog.get_by_role("button", name=appearance.text("review")).click()
        dialog.get_by_role("button", name=appearance.text("save")).click()

    lines = len(before.splitlines())
    save(before + "stopsignal = = 1\n")
    expect(dialog.locator("#manifest-problem")).to_contain_text(
        appearance.text("atColumn", lines + 1, "COLUMN").split("COLUMN")[0]
    )
    assert (folder / "plugin.toml").read_text() == before
    changed = before.replace("startsecs = 0", 'startsecs = 0\nenvironment.NEW = "1"')
    save(changed)
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    assert (folder / "plugin.toml").read_text() == changed
    pid = stack.status("edited")["pid"]
    dialog.get_by_role("button", name=appearance.text("reload")).click()
    wait_for(lambda: stack.status("edited").get("pid") not in (None, pid), "another process")
    expect(dialog.locator(".note")).to_have_text(appearance.text("reloaded"))

    # somebody else's change meanwhile
    (folder / "plugin.toml").write_text(changed + "# theirs\n")
    save(changed + "# mine\n")
    expect(dialog.locator(".diff .removed code")).to_have_text("# theirs")
    expect(dialog.locator(".diff .added code")).to_have_text("# mine")
    dialog.get_by_role("button", name=appearance.text("overwrite")).click()
    wait_for(lambda: (folder / "plugin.toml").read_text() == changed + "# mine\n", "it to be saved")
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    # and back to the first text
    choose = dialog.get_by_role("combobox", name=appearance.text("earlier"))
    choose.select_option(index=choose.get_by_role("option").count() - 1)
    expect(area).to_have_value(before)
    save(before)
    wait_for(lambda: (folder / "plugin.toml").read_text() == before, "it to be saved")
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
