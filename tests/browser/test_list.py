"""The list: what it shows, search, filters and order, and actions on one plugin and on several."""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import STACK_IDS
from tests.helpers.page import find_row
from tests.helpers.plugin_code import CRASHING, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack


def test_a_row(open_signed_in: Callable[..., Page], appearance: Appearance) -> None:
    page = open_signed_in()
    row = find_row(page, "heartbeat")
    expect(row.get_by_role("link", name="Heartbeat")).to_be_visible()
    expect(row).to_contain_text("1.0.0")
    expect(row).to_contain_text("Prints a greeting")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    expect(row.locator("svg.running")).to_be_visible()
    expect(row.locator(".figure").nth(0)).to_contain_text("%")
    expect(row.locator(".figure").nth(1)).to_contain_text("MB")
    uptime = row.locator(".count")
    before = uptime.inner_text()
    expect(uptime).not_to_have_text(before)
    expect(find_row(page, "disabled").locator(".word")).to_have_text(appearance.text("disabled"))
    assert [row.get_attribute("data-id") for row in page.locator(".row").all()] == STACK_IDS


def test_reading_needs_no_code(stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> None:
    page = open_page(stack.url, appearance)
    row = find_row(page, "heartbeat")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    expect(row.locator(".figure.none")).to_have_count(3)
    expect(page.get_by_role("button", name=appearance.text("signIn"), exact=True)).to_be_visible()


def test_search_filter_and_order(open_signed_in: Callable[..., Page], appearance: Appearance) -> None:
    page = open_signed_in()
    rows = page.locator(".row")
    expect(rows).to_have_count(len(STACK_IDS))
    rows.first.get_by_role("checkbox").focus()  # into which nothing can be typed
    page.keyboard.press("/")
    page.keyboard.type("GREET heart")
    expect(rows).to_have_count(1)
    page.keyboard.type("x")
    expect(page.locator(".empty")).to_contain_text(appearance.text("nothingFound"))
    page.get_by_role("searchbox").fill("")
    page.locator('[data-name="stopped"]').click()
    expect(rows).to_have_count(2)
    expect(page.locator('[data-name="stopped"]')).to_have_attribute("aria-pressed", "true")
    page.locator('[data-name="all"]').click()
    page.locator('.column[data-name="name"]').click()
    expect(rows.first).to_have_attribute("data-id", "stopped")
    page.locator('.column[data-name="status"]').click()
    expect(rows.first).to_have_attribute("data-id", "crashed")


def test_a_button_responds_in_the_same_frame(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("worker")
    page = open_signed_in()
    row = find_row(page, "worker")
    expect(row.locator("button").first).to_have_text(appearance.text("stop"))
    shown = row.evaluate(
        """(row) => {
          const [button] = row.querySelectorAll("button");
          button.focus();
          button.click();
          const isFocused = () => document.activeElement === button;
          return Promise.resolve().then(() => [button.textContent, button.ariaDisabled, isFocused()]);
        }"""
    )
    assert shown == [f"{appearance.text('stopPending')}…", "true", True]
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))
    assert stack.status("worker")["status"] == "stopped"
    row.get_by_role("button", name=re.compile(f"^{appearance.text('start')}")).click()
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    pid = stack.status("worker")["pid"]
    reload_button = row.locator("button").nth(1)
    reload_button.click()
    expect(page.locator("dialog")).to_have_count(0)  # a single plugin needs no confirmation
    expect(reload_button).to_have_attribute("aria-disabled", "false")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    assert stack.status("worker")["pid"] != pid


def test_a_change_by_somebody_else_is_highlighted(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("worker")
    page = open_signed_in()
    row = find_row(page, "worker")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    row.evaluate(
        """(row) => {
          window.highlights = 0;
          new MutationObserver(() => (window.highlights += row.classList.contains("changed")))
            .observe(row, { attributeFilter: ["class"] });
        }"""
    )
    stack.ctl("stop", "worker")
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))
    stack.ctl("start", "worker")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    expect(row).not_to_have_class(re.compile("changed"))
    assert page.evaluate("window.highlights") >= 1


def test_a_stop_counts_down(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("worker", IGNORES_SIGTERM, runtime=f"{QUICK}\nsupervisor.stopwaitsecs = 60")
    row = find_row(open_signed_in(), "worker")
    button = row.locator("button").first
    expect(button).to_have_text(appearance.text("stop"))
    button.click()
    expect(row.locator(".word")).to_have_text(appearance.text("stopping"))
    count = row.locator(".count")
    expect(count).to_have_text(
        re.compile("|".join(re.escape(appearance.text("killIn", seconds)) for seconds in range(1, 61)))
    )
    expect(count).not_to_have_text(count.inner_text())
    os.kill(stack.status("worker")["pid"], signal.SIGKILL)
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))


def test_a_failure_shows_its_reason_until_it_is_dismissed(
    open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    failing = "import sys\nprint('there is no settings.toml', file=sys.stderr)\nsys.exit(3)\n"
    runtime = "supervisor.startretries = 0\nsupervisor.startsecs = 5"  # a busy machine takes its time to run it
    folder = add("worker", failing, runtime=runtime, is_running=False)
    row = find_row(open_signed_in(), "worker")
    reload_button = row.locator("button").nth(1)
    reload_button.click()
    trouble = row.locator(".trouble")
    expect(trouble.locator(".tail")).to_have_text("there is no settings.toml")
    expect(row.locator(".word")).to_have_text(appearance.text("error"))
    expect(trouble.locator(".detail")).to_contain_text(["cannot reload", "with exit code 3"])
    (folder / "main.py").write_text(OBEDIENT)
    row.get_by_role("button", name=appearance.text("dismiss")).click()
    expect(trouble.locator(".detail")).to_have_count(1)
    reload_button.click()
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    expect(trouble).to_be_hidden()


def test_a_crash_loop_looks_like_an_error(
    open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("worker", CRASHING, runtime=f"{QUICK}\nrestart.delay = 0")
    page = open_signed_in()
    row = find_row(page, "worker")
    expect(row.locator(".word")).to_have_text(appearance.text("flapping"))
    expect(row.locator(".trouble")).to_contain_text("with exit code 3")
    expect(row.locator("svg.error")).to_be_visible()
    page.locator('[data-name="error"]').click()
    expect(page.locator(".row")).to_have_count(3)
    expect(row).to_be_visible()


def test_an_invalid_manifest_shows_its_line_until_it_is_corrected(
    open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    manifest = add("worker") / "plugin.toml"
    text = manifest.read_text()
    row = find_row(open_signed_in(), "worker")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    manifest.write_text("[plugin]\n[plugin\n")
    reload_button = row.locator("button").nth(1)
    reload_button.click()
    detail = row.locator(".detail")
    expect(detail).to_have_count(1)
    expect(detail).to_contain_text(appearance.text("manifestLine", 2))
    expect(row.locator(".trouble")).to_contain_text(appearance.text("repair"))
    expect(row.locator(".trouble")).to_contain_text('command = ["python", "main.py"]')
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    manifest.write_text(text)
    expect(reload_button).to_have_attribute("aria-disabled", "false")
    reload_button.click()
    expect(row.locator(".trouble")).to_be_hidden()
    expect(row.locator(".word")).to_have_text(appearance.text("running"))


def test_several_plugins_at_once(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    ids = ["worker-1", "worker-2", "worker-3"]
    for plugin_id in ids:
        add(plugin_id)
    page = open_signed_in()
    page.get_by_role("searchbox").fill("worker")
    expect(page.locator(".row")).to_have_count(3)
    page.get_by_role("checkbox", name=appearance.text("selectAll")).check()
    bar = page.locator(".bar")
    expect(bar).to_contain_text(appearance.text("selected", 3))
    pids = [stack.status(plugin_id)["pid"] for plugin_id in ids]
    stop = bar.get_by_role("button", name=appearance.text("stop"), exact=True)
    stop.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(appearance.text("confirmStop", 3))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(stop).to_be_focused()
    assert [stack.status(plugin_id)["pid"] for plugin_id in ids] == pids
    stop.click()
    dialog.get_by_role("button", name=appearance.text("stop"), exact=True).click()
    expect(page.locator(".row .word")).to_have_text([appearance.text("stopped")] * 3)
    bar.get_by_role("button", name=appearance.text("start"), exact=True).click()
    expect(page.locator(".row .word")).to_have_text([appearance.text("running")] * 3)
    pids = [stack.status(plugin_id)["pid"] for plugin_id in ids]
    bar.get_by_role("button", name=appearance.text("reload"), exact=True).click()
    dialog.get_by_role("button", name=appearance.text("reload"), exact=True).click()
    wait_for(
        lambda: {stack.status(plugin_id).get("pid") for plugin_id in ids}.isdisjoint({None, *pids}), "other processes"
    )
    for plugin_id in ids:
        expect(find_row(page, plugin_id).locator("button").nth(1)).to_have_attribute("aria-disabled", "false")
    bar.get_by_role("button", name=appearance.text("clear")).click()
    expect(bar).to_be_hidden()


def test_a_stop_of_several_means_those_that_have_failed(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    """They would be started at the next boot."""
    add("given-up-1")
    stack.write_plugin("given-up-2", "raise SystemExit(3)", runtime="supervisor.startretries = 0")
    stack.post("/plugins/refresh")
    stack.post("/plugin/given-up-2/start")
    stack.wait_for_state("given-up-2", "FATAL")
    page = open_signed_in()
    page.get_by_role("searchbox").fill("given-up")
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_role("checkbox", name=appearance.text("selectAll")).check()
    page.locator(".bar").get_by_role("button", name=appearance.text("stop"), exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(appearance.text("confirmStop", 2))
    dialog.get_by_role("button", name=appearance.text("stop"), exact=True).click()
    expect(find_row(page, "given-up-1").locator(".word")).to_have_text(appearance.text("stopped"))
    for plugin_id in ("given-up-1", "given-up-2"):
        assert stack.status(plugin_id)["intent"]["wanted"] == "stopped"
    expect(find_row(page, "given-up-2").locator(".trouble")).to_be_visible()


def test_a_new_plugin_and_a_removed_one(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    page = open_signed_in()
    expect(page.locator(".row")).to_have_count(len(STACK_IDS))
    folder = stack.write_plugin("added")
    page.get_by_role("button", name=appearance.text("refresh")).click()
    expect(find_row(page, "added")).to_be_visible()
    expect(page.locator(".toast")).to_have_text(appearance.text("refreshed", 1, 0, 0, 1))
    shutil.rmtree(folder)
    assert stack.post("/plugins/refresh").json()["removed"] == ["added"]
    expect(find_row(page, "added")).to_have_count(0)


@pytest.mark.parametrize(("motion", "timing"), [("no-preference", "ease-out"), ("reduce", "steps(1)")])
def test_motion_is_reduced_on_request(
    stack: PlugvisorStack, open_page: Callable[..., Page], motion: str, timing: str
) -> None:
    page = open_page(stack.url, code=ADMIN_CODE, reduced_motion=motion)
    row = find_row(page, "heartbeat")
    expect(row.locator(".word")).to_be_visible()
    style = "(row) => { row.classList.add('changed'); return getComputedStyle(row).animationTimingFunction; }"
    assert row.evaluate(style) == timing
