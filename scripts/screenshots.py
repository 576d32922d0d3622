"""Takes the pictures in docs/images: run it as `scripts/screenshots`."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import expect, sync_playwright  # noqa: E402 - the project's folder comes first

from scripts import command_pictures  # noqa: E402
from tests.helpers.installation import install, installed  # noqa: E402
from tests.helpers.packages import make_plugin_package  # noqa: E402
from tests.helpers.page import find_row, launch_chromium  # noqa: E402
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WORKER = """\
import logging, math, random, sys, time
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
random.seed(1)
kept, number = [], 0
while True:
    number += 1
    until = time.monotonic() + 0.12 + 0.1 * math.sin(number / 3)
    while time.monotonic() < until:
        pass
    kept.append(bytearray(400_000) if number % 12 else kept.clear() or b"")
    logging.info("\\x1b[36mGET\\x1b[0m /items/%d \\x1b[32m200\\x1b[0m in %d ms", number, random.randint(3, 40))
    if number % 5 == 2:
        logging.debug("cache: %d entries", len(kept))
    if number % 7 == 3:
        logging.warning("upstream is slow: %.1f s", random.uniform(1, 3))
    if number % 17 == 9:
        logging.error("cannot reach \\x1b[1mexample.org\\x1b[0m: timed out; trying again")
    time.sleep(0.5)
"""
NAMES = {
    "catalog": ("Catalog", "2.4.1", "Serves the product catalog and keeps it in memory"),
    "danmaku": ("弹幕助手", "0.3.0", "读取直播间弹幕并转发给其他插件"),
    "mailer": ("Mailer", "1.1.0", "Sends queued mail, one message at a time"),
}


def prepare(plugvisor: PlugvisorStack) -> None:
    """Write plugins that look like real ones, beside the samples."""
    for name in ("failing", "heartbeat", "stubborn"):
        shutil.copytree(ROOT / "plugins" / name, plugvisor.plugins_dir / name)
    for plugin_id, (name, version, description) in NAMES.items():
        folder = plugvisor.write_plugin(plugin_id, WORKER)
        path = folder / "plugin.toml"
        about = f'name = "{name}"\nversion = "{version}"\ndescription = "{description}"\nauthor = "Ada"\n'
        path.write_text(path.read_text().replace("[plugin]\n", f"[plugin]\n{about}"))


def open_page(browser: Browser, url: str, language: str, theme: str, size: tuple[int, int]) -> Page:
    """Open the page signed in, without the welcome text of a first visit."""
    context = browser.new_context(
        locale=language, color_scheme=theme, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce"
    )
    context.add_init_script("localStorage.setItem('plugvisor.welcomed', 'yes')")
    page = context.new_page()
    page.goto(f"{url}/#code={ADMIN_CODE}")
    expect(page.locator(".row").first).to_be_visible()
    return page


def show_installation(plugvisor: PlugvisorStack, browser: Browser, folder: Path) -> None:
    """Take the screenshots of an update that fails, and of a manifest with an error."""
    runtime = "auto_start = false\nsupervisor.startsecs = 5\nsupervisor.startretries = 0"
    installed(plugvisor, make_plugin_package("importer", WORKER, version="1.0.0", runtime=runtime), start=True)
    page = open_page(browser, plugvisor.url, "en-GB", "light", (1200, 900))
    page.goto(f"{plugvisor.url}/#/plugin/importer")
    expect(page.locator(".versions li")).to_have_count(1)
    failing = 'print("reading settings.toml", flush=True)\nraise SystemExit("settings.toml: no [source]")\n'
    install(plugvisor, make_plugin_package("importer", failing, version="1.1.0", runtime=runtime), replace=True)
    expect(page.locator(".operation details pre")).to_contain_text("settings.toml")
    page.screenshot(path=folder / "update.png", clip={"x": 0, "y": 0, "width": 1200, "height": 620})
    page.get_by_role("button", name="Edit plugin.toml…").click()
    area = page.get_by_role("textbox", name="plugin.toml")
    expect(area).to_have_value(re.compile("startretries"))
    area.fill(area.input_value().replace("startretries = 0", "startretries = = 3"))
    page.get_by_role("button", name="Review changes").click()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".band")).to_be_visible()
    page.get_by_role("dialog").screenshot(path=folder / "editor.png")
    plugvisor.delete("/plugin/importer?purge=true&wait=20")


def main() -> None:
    """Take every picture."""
    folder = Path(os.environ.get("PLUGVISOR_SCREENSHOTS_DIR", ROOT / "docs" / "images"))
    with run_stack() as plugvisor:
        prepare(plugvisor)
        plugvisor.up()
        for plugin_id in NAMES:
            plugvisor.wait_for_status(plugin_id, "running")
        command_pictures.take_all(plugvisor, folder)
    if sys.argv[1:] != ["command"]:
        take_screenshots(folder)


def take_screenshots(folder: Path) -> None:
    """Take every picture of the page."""
    expect.set_options(timeout=30_000)
    with run_stack() as plugvisor, sync_playwright() as playwright:
        prepare(plugvisor)
        plugvisor.up()
        for plugin_id in NAMES:
            plugvisor.wait_for_status(plugin_id, "running")
        browser = launch_chromium(playwright)
        page = open_page(browser, plugvisor.url, "en-GB", "light", (1200, 560))
        watched = open_page(browser, plugvisor.url, "en-GB", "dark", (1200, 1060))
        watched.goto(f"{plugvisor.url}/#/plugin/catalog")
        plugvisor.post("/plugin/stubborn/start?wait=10")
        operator = {"name": "night-shift", "role": "operator", "plugins": ["mail*", "catalog"]}
        token = plugvisor.post("/identities", json=operator).json()["token"]
        plugvisor.post("/plugin/catalog/reload", code=token)
        plugvisor.post("/plugin/mailer/disable", code=token)
        plugvisor.post("/plugin/mailer/start", code=token)
        plugvisor.post("/plugin/mailer/enable")
        plugvisor.post("/plugin/mailer/start")
        # until the charts show something
        page.wait_for_timeout(1000 * int(os.environ.get("PLUGVISOR_SCREENSHOTS_WAIT", "75")))
        stubborn = find_row(page, "stubborn")
        stubborn.locator("button").first.click()
        expect(stubborn.locator(".count")).to_contain_text("SIGKILL")
        page.screenshot(path=folder / "list.png")
        plugvisor.post("/plugin/failing/start")
        failing = find_row(page, "failing")
        expect(failing.locator(".tail")).to_contain_text("settings.toml")
        expect(failing.locator(".word")).to_have_text("Error")
        plugvisor.wait_for_status("stubborn", "stopped")
        expect(failing.locator(".detail")).to_contain_text("given up")
        failing.screenshot(path=folder / "failure.png")
        watched.screenshot(path=folder / "plugin.png")
        page.goto(f"{plugvisor.url}/#/journal")
        expect(page.locator(".entries li").first).to_be_visible()
        page.screenshot(path=folder / "journal.png")
        phone = open_page(browser, plugvisor.url, "zh-CN", "light", (390, 780))
        expect(find_row(phone, "catalog").locator(".figure").first).to_contain_text("%")
        phone.screenshot(path=folder / "phone.png")
        show_installation(plugvisor, browser, folder)
        browser.close()


if __name__ == "__main__":
    main()
