"""The list in a real browser: what it shows, finds and sorts, and what it does to one plugin and to many."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Look
    from tests.helpers.stack import PlugvisorStack

IDS = ["broken", "disabled", "failing", "heartbeat", "stubborn", "worker-1", "worker-2", "worker-3"]


def row_of(page: Page, plugin_id: str) -> Locator:
    return page.locator(f'.row[data-id="{plugin_id}"]')


def shown_ids(page: Page) -> list[str]:
    return [row.get_attribute("data-id") or "" for row in page.locator(".row").all()]


def test_what_a_row_tells(enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    row = row_of(page, "heartbeat")
    expect(row.get_by_role("link", name="Heartbeat")).to_be_visible()
    expect(row).to_contain_text("1.0.0")
    expect(row).to_contain_text("Prints a greeting")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    expect(row.locator("svg.running")).to_be_visible()
    expect(row.locator(".figure").nth(0)).to_contain_text("%")
    expect(row.locator(".figure").nth(1)).to_contain_text("MB")
    uptime = row.locator(".count")
    before = uptime.inner_text()
    expect(uptime).not_to_have_text(before)
    expect(row_of(page, "disabled").locator(".word")).to_have_text(look.say("disabled"))
    assert shown_ids(page) == IDS


def test_without_a_code_what_can_be_read_is_read(
    site: PlugvisorStack, open_page: Callable[..., Page], look: Look
) -> None:
    page = open_page(site.url, look)
    row = row_of(page, "heartbeat")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    expect(row.locator(".figure.none")).to_have_count(3)
    expect(page.get_by_role("button", name=look.say("signIn"), exact=True)).to_be_visible()


def test_search_filter_and_order(enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    expect(page.locator(".row")).to_have_count(len(IDS))
    page.keyboard.press("/")
    page.keyboard.type("WORK 2")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.type("x")
    expect(page.locator(".empty")).to_contain_text(look.say("nothingFound"))
    page.get_by_role("searchbox").fill("")
    page.locator('[data-name="stopped"]').click()
    expect(page.locator(".row")).to_have_count(3)
    expect(page.locator('[data-name="stopped"]')).to_have_attribute("aria-pressed", "true")
    page.locator('[data-name="all"]').click()
    page.locator('.column[data-name="name"]').click()
    expect(page.locator(".row").first).to_have_attribute("data-id", "worker-3")
    page.locator('.column[data-name="status"]').click()
    expect(page.locator(".row").first).to_have_attribute("data-id", "broken")


def test_a_button_answers_in_the_same_frame(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    row = row_of(page, "worker-1")
    expect(row.locator("button").first).to_have_text(look.say("stop"))
    told = row.evaluate(
        """(row) => {
          const [button] = row.querySelectorAll("button");
          button.focus();
          button.click();
          const isFocused = () => document.activeElement === button;
          return Promise.resolve().then(() => [button.textContent, button.ariaDisabled, isFocused()]);
        }"""
    )
    assert told == [f"{look.say('stopPending')}…", "true", True]
    expect(row.locator(".word")).to_have_text(look.say("stopped"))
    assert site.status("worker-1")["status"] == "stopped"
    row.get_by_role("button", name=re.compile(f"^{look.say('start')}")).click()
    expect(row.locator(".word")).to_have_text(look.say("running"))
    pid = site.status("worker-1")["pid"]
    row.get_by_role("button", name=re.compile(look.say("reload"))).click()
    expect(page.locator("dialog")).to_have_count(0)  # about one plugin nobody is asked
    expect(row.locator("button").nth(1)).to_have_text(look.say("reload"))
    expect(row.locator(".word")).to_have_text(look.say("running"))
    assert site.status("worker-1")["pid"] != pid


def test_what_others_do_is_seen_and_marked(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    row = row_of(page, "worker-2")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    row.evaluate(
        """(row) => {
          window.marks = 0;
          new MutationObserver(() => (window.marks += row.classList.contains("moved")))
            .observe(row, { attributeFilter: ["class"] });
        }"""
    )
    site.ctl("stop", "worker-2")
    expect(row.locator(".word")).to_have_text(look.say("stopped"))
    site.ctl("start", "worker-2")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    expect(row).not_to_have_class(re.compile("moved"))
    assert page.evaluate("window.marks") >= 1


def test_a_stop_counts_down(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    row = row_of(page, "stubborn")
    button = row.locator("button").first
    button.click()
    expect(row.locator(".word")).to_have_text(look.say("running"))
    button.click()
    expect(row.locator(".word")).to_have_text(look.say("stopping"))
    expect(row.locator(".count")).to_have_text(
        re.compile("|".join(re.escape(look.say("killIn", seconds)) for seconds in (1, 2, 3)))
    )
    expect(row.locator(".word")).to_have_text(look.say("stopped"))


def test_a_failure_tells_why_in_place(enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    row = row_of(page, "failing")
    row.locator("button").first.click()
    trouble = row.locator(".trouble")
    expect(trouble).to_contain_text("with exit code 3")
    expect(trouble.locator(".tail")).to_contain_text("there is no settings.toml in this plugin's folder")
    expect(row.locator(".word")).to_have_text(look.say("error"))


def test_what_the_service_refuses_is_shown_and_dismissed(
    site: PlugvisorStack, enter: Callable[..., Page], look: Look
) -> None:
    page = enter()
    row = row_of(page, "worker-3")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    manifest = site.plugins_dir / "worker-3" / "plugin.toml"
    text = manifest.read_text()
    manifest.write_text("[plugin\n")
    row.locator("button").nth(1).click()
    expect(row.locator(".detail").first).to_contain_text("plugin.toml line 1")
    manifest.write_text(text)
    row.get_by_role("button", name=look.say("dismiss")).click()
    row.locator("button").nth(1).click()
    expect(row.locator(".trouble")).to_be_hidden()
    expect(row.locator(".word")).to_have_text(look.say("running"))


def test_several_at_once_are_asked_about_once(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    page.get_by_role("searchbox").fill("worker")
    expect(page.locator(".row")).to_have_count(3)
    page.get_by_role("checkbox", name=look.say("selectAll")).check()
    bar = page.locator(".bar")
    expect(bar).to_contain_text(look.say("selected", 3))
    pids = [site.status(f"worker-{number}")["pid"] for number in (1, 2, 3)]
    stop = bar.get_by_role("button", name=look.say("stop"), exact=True)
    stop.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(look.say("confirmStop", 3))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(stop).to_be_focused()
    assert [site.status(f"worker-{number}")["pid"] for number in (1, 2, 3)] == pids
    stop.click()
    dialog.get_by_role("button", name=look.say("stop"), exact=True).click()
    for number in (1, 2, 3):
        expect(row_of(page, f"worker-{number}").locator(".word")).to_have_text(look.say("stopped"))
    bar.get_by_role("button", name=look.say("start"), exact=True).click()
    for number in (1, 2, 3):
        expect(row_of(page, f"worker-{number}").locator(".word")).to_have_text(look.say("running"))
    bar.get_by_role("button", name=look.say("reload"), exact=True).click()
    dialog.get_by_role("button", name=look.say("reload"), exact=True).click()
    for number in (1, 2, 3):
        expect(row_of(page, f"worker-{number}").locator("button").nth(1)).to_have_attribute("aria-disabled", "false")
    assert not {site.status(f"worker-{number}")["pid"] for number in (1, 2, 3)} & set(pids)
    bar.get_by_role("button", name=look.say("clear")).click()
    expect(bar).to_be_hidden()


def test_new_plugins_are_found(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = enter()
    expect(page.locator(".row")).to_have_count(len(IDS))
    site.write_plugin("added")
    page.get_by_role("button", name=look.say("refresh")).click()
    expect(row_of(page, "added")).to_be_visible()
    expect(page.locator(".toast")).to_have_text(look.say("refreshed", 1, 0, 0, 1))
    (site.plugins_dir / "added" / "plugin.toml").unlink()
    (site.plugins_dir / "added" / "main.py").unlink()
    (site.plugins_dir / "added").rmdir()
    assert site.post("/plugins/refresh").json()["removed"] == ["added"]
    expect(row_of(page, "added")).to_have_count(0)


@pytest.mark.parametrize("is_reduced", [False, True])
def test_motion_is_reduced_where_that_is_wanted(
    site: PlugvisorStack, open_page: Callable[..., Page], is_reduced: bool
) -> None:
    motion = "reduce" if is_reduced else "no-preference"
    page = open_page(site.url, code=ADMIN_CODE, reduced_motion=motion)
    row = row_of(page, "heartbeat")
    expect(row.locator(".word")).to_be_visible()
    style = "(row) => { row.classList.add('moved'); return getComputedStyle(row).animationTimingFunction; }"
    assert row.evaluate(style) == ("steps(1)" if is_reduced else "ease-out")
