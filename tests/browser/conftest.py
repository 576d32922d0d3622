"""A real Chromium and a real Plugvisor. A test fails if the console of a page that it opened has an error."""

from __future__ import annotations

import os
import re
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.fake_installation import FakeInstallation
from tests.helpers.page import OPPOSITES, Appearance, launch_chromium
from tests.helpers.page_events import PageEvents
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, QUICK, ROOT, PlugvisorStack, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Request

    AddIdentity = Callable[..., str]
    OpenWith = Callable[..., tuple[Page, PageEvents]]
    OpenInstalling = Callable[..., tuple[Page, FakeInstallation]]

IS_REQUIRED = os.environ.get("PLUGVISOR_TEST_REQUIRE_BROWSER") == "1"
"""Set by .ci/run, where these tests must not be skipped."""
if find_spec("playwright") is None and not IS_REQUIRED:
    collect_ignore_glob = ["test_[!b]*.py"]  # they import it; test_browser_is_there.py skips and says why

STACK_IDS = ["colours", "crashed", "disabled", "heartbeat", "invalid", "stopped"]
COLOURS = """\
import signal
for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
    words = (f"\\x1b[3{colour}mtext\\x1b[0m \\x1b[4{colour}mground\\x1b[0m" for colour in range(8))
    print("2026-11-22 12:00:00", level, *words, flush=True)
signal.pause()
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests first and one after another: so they share a browser and a Plugvisor, whatever the order."""
    folder = str(ROOT / "tests" / "browser")
    items.sort(key=lambda item: not str(item.path).startswith(folder))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for these tests, and for no other: Playwright keeps an asyncio loop running in this thread."""
    try:
        from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - an extra that may be missing
    except ImportError:
        _skip("Playwright is not installed; scripts/install browser")
    expect.set_options(timeout=DEADLINE_SECONDS * 1000)
    with sync_playwright() as playwright:
        try:
            browser = launch_chromium(playwright)
        except FileNotFoundError as error:
            _skip(str(error))
        yield browser
        browser.close()


def _skip(why: str) -> None:
    if IS_REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(params=OPPOSITES, ids=str)
def appearance(request: pytest.FixtureRequest) -> Appearance:
    """Runs a test twice: between them both languages, both themes and both widths."""
    appearance: Appearance = request.param
    return appearance


def load(page: Page, url: str, *, is_whole: bool = False) -> None:
    """Open an address, and again if something was not fetched because a network interface has changed.

    Chromium drops what it is fetching then, and other tests' containers make such changes.

    Args:
        is_whole: wait for what the page fetches only for an admin, too; its events must be those of a test.
    """
    asked: list[str] = []
    failed: list[str] = []

    def note_request(request: Request) -> None:
        asked.append(request.url)

    def note_failure(request: Request) -> None:
        failed.append(f"{request.url}: {request.failure}")

    def is_dropped() -> bool:
        return bool(failed) and all("ERR_NETWORK_CHANGED" in failure for failure in failed)

    def has_begun() -> bool:
        page.evaluate("true")  # else Playwright reports nothing meanwhile
        return is_dropped() or any(url.endswith("/administration.js") for url in asked)

    page.on("request", note_request)
    page.on("requestfailed", note_failure)
    while True:
        asked.clear()
        failed.clear()
        page.goto(url)
        if is_whole:
            wait_for(has_begun, "what the page fetches for an admin")
            page.wait_for_load_state("networkidle")
        if not is_dropped():
            break
        page.goto("about:blank")
    page.remove_listener("request", note_request)
    page.remove_listener("requestfailed", note_failure)
    # a script that could not be fetched leaves the page empty; the console does not say why
    assert page.locator("#top:empty").count() == 0, failed


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a browser session of its own; at the end no console may have an error."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_page(
        url: str,
        appearance: Appearance | None = None,
        *,
        code: str | None = None,
        first_visit: bool = False,
        expected: str = "Failed to load resource",
        **options: Any,
    ) -> Page:
        appearance = appearance or Appearance()
        context = browser.new_context(
            locale=appearance.locale,
            color_scheme=appearance.theme,
            viewport={"width": appearance.width, "height": 900},
            **options,
        )
        context.set_default_timeout(DEADLINE_SECONDS * 1000)
        if not first_visit:
            context.add_init_script("if (location.host) localStorage.setItem('plugvisor.welcomed', 'yes')")
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
        # Chromium itself logs every error response and every failed request
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and not re.match(f"Failed to load resource|.*({expected})", message.text)
                and errors.append(message.text)
            ),
        )
        load(page, f"{url}/#code={code}" if code else url)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not errors, errors


@pytest.fixture(scope="package")
def stack() -> Iterator[PlugvisorStack]:
    """A Plugvisor with a plugin of every kind, `STACK_IDS`. No test changes these; `add` adds others."""
    with run_stack() as stack:
        stack.write_plugin("colours", COLOURS)
        runtime = "supervisor.startretries = 0\nsupervisor.startsecs = 60"  # a busy machine takes its time to run it
        stack.write_plugin("crashed", "raise SystemExit('no settings')\n", runtime=runtime)
        stack.write_plugin("disabled", runtime="enabled = false")
        shutil.copytree(ROOT / "plugins" / "heartbeat", stack.plugins_dir / "heartbeat")
        (stack.plugins_dir / "invalid").mkdir()
        (stack.plugins_dir / "invalid" / "plugin.toml").write_text('[plugin]\nid = "invalid"\ncommand = = 1\n')
        stack.write_plugin("stopped", runtime="auto_start = false")
        stack.up()
        for plugin_id in ("colours", "heartbeat"):
            stack.wait_for_status(plugin_id, "running")
        stack.wait_for_state("crashed", "FATAL")
        yield stack


@pytest.fixture
def add(stack: PlugvisorStack) -> Iterator[Callable[..., Path]]:
    """Adds a plugin to the shared Plugvisor, running or stopped; returns its folder. What was added is removed."""

    def add(
        plugin_id: str, code: str = OBEDIENT, *, runtime: str = QUICK, is_running: bool = True, about: str = ""
    ) -> Path:
        (stack.log_dir / f"{plugin_id}.log").unlink(missing_ok=True)  # an earlier test's
        folder = stack.write_plugin(plugin_id, code, runtime=runtime)
        manifest = folder / "plugin.toml"
        manifest.write_text(manifest.read_text().replace("[plugin]\n", f"[plugin]\n{about}\n"))
        refreshed = stack.post("/plugins/refresh")
        assert plugin_id in refreshed.json()["added"], refreshed.text
        if is_running:
            stack.start_running(plugin_id)
        return folder

    yield add
    for folder in stack.plugins_dir.iterdir():
        if folder.name not in STACK_IDS:
            shutil.rmtree(folder)
    assert stack.post("/plugins/refresh").status_code == 200


@pytest.fixture
def add_identity(stack: PlugvisorStack) -> Iterator[AddIdentity]:
    """Adds an identity and returns its token; what was added is removed."""
    names: list[str] = []

    def add_identity(name: str, role: str, *plugins: str) -> str:
        names.append(name)
        return stack.add_identity(name, role, plugins=plugins or ("*",))

    yield add_identity
    for name in names:
        stack.remove_identity(name)


@pytest.fixture
def open_signed_in(
    stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> Callable[..., Page]:
    """Opens the page of the shared Plugvisor, signed in."""

    def open_signed_in(path: str = "", **options: Any) -> Page:
        page = open_page(stack.url, appearance, code=ADMIN_CODE, **options)
        if path:
            page.goto(f"{stack.url}/{path}")
        return page

    return open_signed_in


@pytest.fixture
def open_with(stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> OpenWith:
    """Opens the page, signed in, with these plugins."""

    def open_with(*items: dict[str, Any], width: int = 0, plugin_id: str = "") -> tuple[Page, PageEvents]:
        page = open_page("about:blank", Appearance(appearance.language, appearance.theme, width or appearance.width))
        events = PageEvents(page)
        load(page, f"{stack.url}/#code={ADMIN_CODE}")
        events.show(*items)
        if plugin_id:
            page.evaluate("(id) => { location.hash = `#/plugin/${id}`; }", plugin_id)
            page.locator("article.plugin").wait_for()
        return page, events

    return open_with


@pytest.fixture
def open_installing(stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> OpenInstalling:
    """Opens the page, signed in, with these plugins and a fake of installation, some fields of which can be set."""

    def open_installing(*items: dict[str, Any], plugin_id: str = "", **fields: Any) -> tuple[Page, FakeInstallation]:
        page = open_page("about:blank", appearance)
        events = PageEvents(page)
        fake = FakeInstallation(page, events)
        for name, value in fields.items():
            setattr(fake, name, value)
        load(page, f"{stack.url}/#code={ADMIN_CODE}", is_whole=True)
        events.show(*items)
        if plugin_id:
            page.evaluate("(id) => { location.hash = `#/plugin/${id}`; }", plugin_id)
            page.locator(".installed").wait_for()
        return page, fake

    return open_installing
