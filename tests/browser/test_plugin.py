"""The view of one plugin: its facts, charts and log."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page_events import make_item
from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.conftest import OpenWith
    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack

TALKER = """\
import logging, signal, sys, threading
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR1, lambda *_: logging.warning("a signal came"))
logging.debug("details")
logging.info("\\x1b[1;31mred\\x1b[0m and \\x1b[48;5;21mblue\\x1b[0m")
logging.error("it went wrong")
print("  ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def talker(add: Callable[..., Path]) -> Path:
    about = 'author = "Somebody"\nname = "Talker"'
    return add("talker", TALKER, runtime=f'{QUICK}\nenvironment = {{ TOKEN = "a-secret-value" }}', about=about)


def test_its_facts_and_charts(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], talker: Path, appearance: Appearance
) -> None:
    page = open_signed_in("#/plugin/talker")
    expect(page.get_by_role("heading", level=1)).to_have_text("Talker")
    pid = stack.status("talker")["pid"]
    facts = page.locator(".facts")
    expect(facts).to_contain_text(str(pid))
    expect(facts).to_contain_text("python main.py")
    expect(facts).to_contain_text("stopwaitsecs")
    expect(facts).to_contain_text("TOKEN")
    expect(facts).to_contain_text("Somebody")
    assert "a-secret-value" not in page.content()
    os.kill(pid, signal.SIGKILL)
    expect(facts).to_contain_text("SIGKILL")
    expect(page.locator(".word")).to_have_text(appearance.text("running"))
    os.kill(stack.wait_for_status("talker", "running")["pid"], signal.SIGKILL)
    expect(facts.locator("dd", has_text="SIGKILL")).to_have_count(2)
    expect(page.locator(".chart path[d^=M]")).to_have_count(6)
    drawing = page.locator(".chart svg").first
    expect(drawing).to_have_attribute("aria-label", re.compile("CPU.*%"))
    before = drawing.locator("path").last.get_attribute("d")
    expect(drawing.locator("path").last).not_to_have_attribute("d", str(before))
    shutil.rmtree(talker)
    stack.post("/plugins/refresh")
    expect(page.get_by_role("heading", level=1)).to_contain_text("talker")
    expect(page.locator(".empty:visible")).to_contain_text(appearance.text("goneText"))


def test_what_its_manifest_says_of_its_files(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    secret = stack.root / "key"
    secret.write_text("a-secret-value")
    runtime = f"""\
{QUICK}
python.version = ">=3.8"
environment = {{ COLOUR = "red" }}
environment_files = {{ KEY = "{secret}" }}
logs = {{ max_size = "512K", backups = 7 }}
watch = {{ paths = ["src", "main.py"], ignore = ["*.json"], debounce = 1 }}
"""
    add("watched", runtime=runtime)
    page = open_signed_in("#/plugin/watched")

    def expect_facts(title: str, *values: str) -> None:
        card = page.locator(".facts section", has=page.get_by_role("heading", name=appearance.text(title), exact=True))
        for value in values:
            expect(card.locator("dd", has_text=re.compile(f"^{re.escape(value)}$"))).to_have_count(1)

    expect_facts("program", ">=3.8", "COLOUR", f"KEY{appearance.text('bracketed', appearance.text('fromFile'))}")
    expect_facts("logFiles", "0.5 MB", "7")
    expect_facts("watching", appearance.text("watch_active"), "src", "main.py", "*.json", appearance.text("seconds", 1))
    assert "a-secret-value" not in page.content()
    stack.post("/plugin/watched/stop")
    expect_facts("watching", appearance.text("watch_paused"))
    page.goto(f"{stack.url}/#/plugin/colours")
    expect_facts("logFiles", "10 MB", "3")  # which its manifest does not say
    expect(page.locator(".facts")).not_to_contain_text(appearance.text("watching"))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"watch": "suspended"}, "watch_suspended"),
        ({"watch": "incomplete"}, "watch_incomplete"),
        ({}, "watch_off"),
        ({"watch": "active", "status": "error", "state": "EXITED"}, "watch_active"),
        ({"watch": "suspended", "status": "stopped", "state": "STOPPED"}, "watch_paused"),
        ({"watch": "active", "disabled": {"by": "admin", "at": "2026-11-22T12:00:00+00:00"}}, "watch_paused"),
    ],
)
def test_how_its_files_are_watched(
    stack: PlugvisorStack, open_with: OpenWith, appearance: Appearance, fields: dict[str, Any], key: str
) -> None:
    manifest = stack.get("/plugin/colours/manifest").json()
    manifest["manifest"]["watch"] = {"paths": ["."]}
    page, events = open_with()
    page.route("**/plugin/demo/manifest", lambda route: route.fulfill(json=manifest))
    events.show(make_item("demo", **fields))
    mark = page.locator(".row [data-watch]")
    if key in ("watch_suspended", "watch_incomplete"):
        expect(mark).to_have_text(appearance.text(key.replace("watch", "listed")))
        check_accessibility(page)
    else:
        expect(mark).to_be_hidden()
    page.evaluate("location.hash = '#/plugin/demo'")
    card = page.locator(".facts section", has_text=appearance.text("watchedPaths"))
    expect(card.locator("dd").first).to_have_text(appearance.text(key))
    expect(card.locator(".hint")).to_have_count(1 if key == "watch_suspended" else 0)


def test_its_log(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], talker: Path, appearance: Appearance
) -> None:
    page = open_signed_in("#/plugin/talker")
    lines = page.locator(".line:visible")
    expect(lines).to_have_count(4)
    expect(lines.nth(1)).to_contain_text(re.compile(r"\d INFO red and blue$"))  # as it is read aloud, and copied
    red = page.locator(".line span", has_text=re.compile("^red$"))
    expect(red).to_have_class("bold fg1")
    expect(page.locator(".line span", has_text=re.compile("^blue$"))).to_have_class("bg4")
    page.get_by_role("combobox").select_option("ERROR")
    expect(lines).to_have_count(2)
    expect(lines.last).to_have_text("  ready")
    page.get_by_role("combobox").select_option("")
    page.get_by_role("searchbox").fill("WENT wrong")
    expect(lines).to_have_count(1)
    page.get_by_role("searchbox").fill("nowhere")
    expect(page.locator("section:has(.log) .note")).to_have_text(appearance.text("nothingFound"))
    page.get_by_role("searchbox").fill("")
    expect(lines).to_have_count(4)

    pid = stack.status("talker")["pid"]
    os.kill(pid, signal.SIGUSR1)
    expect(lines).to_have_count(5)
    page.get_by_role("button", name=appearance.text("pause"), exact=True).click()
    os.kill(pid, signal.SIGUSR1)
    expect(page.locator("section:has(.log) .note")).to_have_text(appearance.text("waiting", 1))
    expect(lines).to_have_count(5)
    page.get_by_role("button", name=appearance.text("resume"), exact=True).click()
    expect(lines).to_have_count(6)

    with page.expect_download() as begun:
        page.get_by_role("button", name=appearance.text("download")).click()
    assert begun.value.suggested_filename == "talker.log"
    text = Path(begun.value.path()).read_text()
    assert "red and blue" in text
    assert text.count("a signal came") == 2


def test_without_a_code_it_offers_to_sign_in(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(f"{stack.url}/#/plugin/heartbeat", appearance)
    expect(page.get_by_role("heading", level=1)).to_have_text("Heartbeat")
    expect(page.locator(".facts")).to_contain_text(appearance.text("pid"))
    expect(page.locator(".rest")).to_contain_text(appearance.text("signInForFigures"))


def test_an_unknown_plugin(open_signed_in: Callable[..., Page], appearance: Appearance) -> None:
    page = open_signed_in("#/plugin/nobody")
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("goneTitle", "nobody"))
    page.get_by_role("link", name=appearance.text("back")).click()
    expect(page.locator(".row").first).to_be_visible()
