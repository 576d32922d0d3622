"""Every view in both languages, both themes and both widths: nothing that keeps anybody out, and nothing cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import LOOKS, Look
from tests.browser.test_list import row_of
from tests.helpers.stack import ADMIN_CODE, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack

RULES = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@pytest.fixture(scope="module")
def gallery() -> Iterator[PlugvisorStack]:
    """Plugins of every status, which nobody changes."""
    with run_stack() as made:
        colours = "".join(f"\\x1b[3{colour}mcolour\\x1b[0m \\x1b[4{colour}mground\\x1b[0m " for colour in range(8))
        logged = "\n".join(f"2026-11-22 12:00:00 {level} {colours}" for level in ("DEBUG", "INFO", "WARNING", "ERROR"))
        made.write_plugin("colours", f'import signal\nprint("""{logged}""", flush=True)\nsignal.pause()\n')
        made.write_plugin("disabled", runtime="enabled = false")
        code = "import sys\nsys.exit('no settings')\n"
        made.write_plugin("failing", code, runtime="supervisor.startretries = 0")
        made.write_plugin("other")
        made.write_plugin("stopped", runtime="auto_start = false")
        (made.plugins_dir / "broken").mkdir()
        (made.plugins_dir / "broken" / "plugin.toml").write_text("[plugin\n")
        made.up()
        made.wait_for_status("colours", "running")
        made.wait_for_status("other", "running")
        made.wait_for_status("failing", "error")
        yield made


def check(page: Page) -> None:
    """Axe finds nothing, and nothing is wider than the window."""
    # what moves is between two colours
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finish()))")
    results = Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_view(gallery: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> None:
    page = open_page(gallery.url, look, first_visit=True)
    row = row_of(page, "colours")
    expect(row.locator(".word")).to_have_text(look.say("running"))
    check(page)
    row.locator("button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page)
    page.keyboard.press("Escape")

    page.goto(f"{gallery.url}/#code={ADMIN_CODE}")
    row_of(page, "failing").scroll_into_view_if_needed()
    expect(row_of(page, "failing").locator(".tail")).to_have_text("no settings")
    page.get_by_role("checkbox", name=look.say("selectAll")).check()
    expect(page.locator(".bar")).to_be_visible()
    check(page)
    page.locator(".bar button").nth(1).click()
    expect(page.get_by_role("dialog")).to_contain_text(look.say("confirmStop", 2))
    check(page)
    page.keyboard.press("Escape")

    page.goto(f"{gallery.url}/#/plugin/colours")
    expect(page.locator(".line")).to_have_count(4)
    expect(page.locator(".chart path[d^=M]")).to_have_count(6)
    expect(page.locator(".facts")).to_contain_text("python main.py")
    check(page)
    page.context.set_offline(True)
    page.goto(f"{gallery.url}/#/plugin/nobody", wait_until="commit")
    expect(page.get_by_role("heading", level=1)).to_have_text(look.say("goneTitle", "nobody"))
    check(page)


@pytest.mark.parametrize("look", [Look(), Look("zh", "dark", 390)], ids=str)
def test_what_is_stale_can_be_read(open_page: Callable[..., Page], plugvisor: PlugvisorStack, look: Look) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    page = open_page(plugvisor.url, look)
    expect(row_of(page, "one").locator(".word")).to_have_text(look.say("running"))
    plugvisor.ctl("stop", "plugvisor")
    expect(page.locator(".connection")).to_have_text(look.say("lost"))
    check(page)
