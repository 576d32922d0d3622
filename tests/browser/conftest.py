"""A real Chromium before a real Plugvisor; every page that a test opens must end without an error in its console."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.http.static import PAGE_DIR

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("PLUGVISOR_TEST_CHROMIUM", "chromium")
IS_REQUIRED = os.environ.get("PLUGVISOR_TEST_REQUIRE_BROWSER") == "1"
"""Set where the tests must not be skipped: by .ci/run."""
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
if find_spec("playwright") is None and not IS_REQUIRED:
    collect_ignore_glob = ["test_[!b]*.py"]  # they import it; test_browser.py skips and says why
PLUGINS = Path(__file__).parents[2] / "plugins"

_TABLE = re.search(r"`\n(.*?)`", (PAGE_DIR / "i18n.js").read_text(), re.DOTALL)
assert _TABLE
TEXTS = {key: texts for key, *texts in (line.split("|") for line in _TABLE[1].splitlines())}


@dataclass(frozen=True)
class Look:
    """How a person sees the page."""

    language: str = "en"
    theme: str = "light"
    width: int = 1440

    def say(self, key: str, *values: object) -> str:
        """A text of the page."""
        text = TEXTS[key][self.language == "zh"]
        return re.sub(r"\{(\d)\}", lambda match: str(values[int(match[1])]), text)

    def __str__(self) -> str:
        return f"{self.language}-{self.theme}-{self.width}"


LOOKS = [
    Look(language, theme, width) for language in ("en", "zh") for theme in ("light", "dark") for width in (1440, 390)
]
OPPOSITES = [Look(), Look("zh", "dark", 390)]
"""Between them both languages, both themes and both widths."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file, and not for longer: while Playwright is there, asyncio has a loop that runs."""
    try:
        from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - an extra that may be missing
    except ImportError:
        _miss("Playwright is not installed; scripts/install browser")
    path = shutil.which(CHROMIUM)
    if path is None:
        _miss("there is no Chromium; apt-get install chromium, or name one in PLUGVISOR_TEST_CHROMIUM")
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


def _miss(why: str) -> None:
    if IS_REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(params=OPPOSITES, ids=str)
def look(request: pytest.FixtureRequest) -> Look:
    """Each flow is gone through twice."""
    look: Look = request.param
    return look


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a session of its own; closes all of them at the end, when no console may hold an error."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_page(
        url: str,
        look: Look | None = None,
        *,
        code: str | None = None,
        first_visit: bool = False,
        expected: str = "Failed to load resource",
        **options: Any,
    ) -> Page:
        look = look or Look()
        context = browser.new_context(
            locale={"en": "en-GB", "zh": "zh-CN"}[look.language],
            color_scheme=look.theme,
            viewport={"width": look.width, "height": 900},
            **options,
        )
        context.set_default_timeout(DEADLINE_SECONDS * 1000)
        if not first_visit:
            context.add_init_script("if (location.host) localStorage.setItem('plugvisor.welcomed', 'yes')")
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
        # Chromium itself notes each answer that is no success, and each that does not come; some tests want those
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and not re.match(f"Failed to load resource|.*({expected})", message.text)
                and errors.append(message.text)
            ),
        )
        page.goto(f"{url}/#code={code}" if code else url)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not errors, errors


SAMPLES = ("failing", "heartbeat", "stubborn")
QUIET_EXIT = "import sys\nprint('cannot start: no settings', file=sys.stderr, flush=True)\nsys.exit(3)\n"


def copy_samples(plugvisor: PlugvisorStack) -> None:
    """The sample plugins that need no port."""
    for name in SAMPLES:
        shutil.copytree(PLUGINS / name, plugvisor.plugins_dir / name)


@pytest.fixture(scope="module")
def site() -> Iterator[PlugvisorStack]:
    """A Plugvisor with plugins of each kind, for the tests that leave them as they were."""
    with run_stack() as made:
        copy_samples(made)
        for number in range(1, 4):
            made.write_plugin(f"worker-{number}", OBEDIENT)
        made.write_plugin("disabled", runtime="enabled = false")
        broken = made.plugins_dir / "broken"
        broken.mkdir()
        (broken / "plugin.toml").write_text('[plugin]\nid = "broken"\ncommand = = 1\n')
        made.up()
        made.wait_for_status("heartbeat", "running")
        yield made


@pytest.fixture
def enter(site: PlugvisorStack, open_page: Callable[..., Page], look: Look) -> Callable[..., Page]:
    """Opens the page of the shared Plugvisor, signed in."""

    def enter(path: str = "", **options: Any) -> Page:
        page = open_page(site.url, look, code=ADMIN_CODE, **options)
        if path:
            page.goto(f"{site.url}/{path}")
        return page

    return enter
