"""One plugin's own view: what it tells, its charts and its log."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.conftest import Look
    from tests.helpers.stack import PlugvisorStack

TALKER = """\
import logging, signal, sys, threading
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR1, lambda *_: logging.warning("a signal came"))
logging.debug("details")
logging.info("\\x1b[1;31mred\\x1b[0m and \\x1b[48;5;21mblue\\x1b[0m")
logging.error("it went wrong")
print("  a line beneath", flush=True)
while True:
    signal.pause()
"""


def open_talker(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> Page:
    plugin_id = f"talker-{look.language}"
    site.write_plugin(plugin_id, TALKER, runtime='environment = { TOKEN = "a-secret-value" }')
    manifest = site.plugins_dir / plugin_id / "plugin.toml"
    manifest.write_text(manifest.read_text().replace("[plugin]", '[plugin]\nauthor = "Somebody"\nname = "Talker"'))
    site.post("/plugins/refresh")
    site.post(f"/plugin/{plugin_id}/reload?wait=20")
    return enter(f"#/plugin/{plugin_id}")


def remove_talker(site: PlugvisorStack, look: Look) -> None:
    folder = site.plugins_dir / f"talker-{look.language}"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert site.post("/plugins/refresh").status_code == 200
    (site.log_dir / f"{folder.name}.log").unlink()


def test_what_it_tells(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = open_talker(site, enter, look)
    plugin_id = f"talker-{look.language}"
    expect(page.get_by_role("heading", level=1)).to_have_text("Talker")
    pid = site.status(plugin_id)["pid"]
    facts = page.locator(".facts")
    expect(facts).to_contain_text(str(pid))
    expect(facts).to_contain_text("python main.py")
    expect(facts).to_contain_text("stopwaitsecs")
    expect(facts).to_contain_text("TOKEN")
    expect(facts).to_contain_text("Somebody")
    assert "a-secret-value" not in page.content()
    os.kill(pid, signal.SIGKILL)
    expect(facts).to_contain_text("SIGKILL")
    expect(page.locator(".word")).to_have_text(look.say("running"))
    os.kill(site.wait_for_status(plugin_id, "running")["pid"], signal.SIGKILL)
    expect(facts.locator("dd", has_text="SIGKILL")).to_have_count(2)
    expect(page.locator(".chart path[d^=M]")).to_have_count(6)
    drawing = page.locator(".chart svg").first
    expect(drawing).to_have_attribute("aria-label", re.compile("CPU.*%"))
    before = drawing.locator("path").last.get_attribute("d")
    expect(drawing.locator("path").last).not_to_have_attribute("d", str(before))
    remove_talker(site, look)
    expect(page.get_by_role("heading", level=1)).to_contain_text(plugin_id)
    expect(page.locator(".empty:visible")).to_contain_text(look.say("goneText"))


def test_the_log(site: PlugvisorStack, enter: Callable[..., Page], look: Look) -> None:
    page = open_talker(site, enter, look)
    lines = page.locator(".line:visible")
    expect(lines).to_have_count(4)
    red = page.locator(".line span", has_text=re.compile("^red$"))
    expect(red).to_have_class("bold fg1")
    expect(page.locator(".line span", has_text=re.compile("^blue$"))).to_have_class("bg4")
    page.get_by_role("combobox").select_option("ERROR")
    expect(lines).to_have_count(2)
    expect(lines.last).to_have_text("  a line beneath")
    page.get_by_role("combobox").select_option("")
    page.get_by_role("searchbox").fill("WENT wrong")
    expect(lines).to_have_count(1)
    page.get_by_role("searchbox").fill("nowhere")
    expect(page.locator(".note")).to_have_text(look.say("nothingFound"))
    page.get_by_role("searchbox").fill("")
    expect(lines).to_have_count(4)

    pid = site.status(f"talker-{look.language}")["pid"]
    os.kill(pid, signal.SIGUSR1)
    expect(lines).to_have_count(5)
    page.get_by_role("button", name=look.say("pause"), exact=True).click()
    os.kill(pid, signal.SIGUSR1)
    expect(page.locator(".note")).to_have_text(look.say("waiting", 1))
    expect(lines).to_have_count(5)
    page.get_by_role("button", name=look.say("resume"), exact=True).click()
    expect(lines).to_have_count(6)

    with page.expect_download() as begun:
        page.get_by_role("button", name=look.say("download")).click()
    assert begun.value.suggested_filename == f"talker-{look.language}.log"
    text = Path(begun.value.path()).read_text()
    assert "red and blue" in text
    assert text.count("a signal came") == 2
    remove_talker(site, look)


def test_without_a_code_it_says_how_to_see_more(
    site: PlugvisorStack, open_page: Callable[..., Page], look: Look
) -> None:
    page = open_page(f"{site.url}/#/plugin/heartbeat", look)
    expect(page.get_by_role("heading", level=1)).to_have_text("Heartbeat")
    expect(page.locator(".facts")).to_contain_text(look.say("pid"))
    expect(page.locator(".rest")).to_contain_text(look.say("signInForFigures"))


def test_a_plugin_that_is_not_there(enter: Callable[..., Page], look: Look) -> None:
    page = enter("#/plugin/nobody")
    expect(page.get_by_role("heading", level=1)).to_have_text(look.say("goneTitle", "nobody"))
    page.get_by_role("link", name=look.say("back")).click()
    expect(page.locator(".row").first).to_be_visible()
