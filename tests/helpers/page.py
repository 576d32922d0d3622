"""The page in a browser: Chromium, the page's texts, and the ways in which people see it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.api.http.static import PAGE_DIR

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Playwright

CHROMIUM = os.environ.get("PLUGVISOR_TEST_CHROMIUM", "chromium")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip

_TABLES = [
    table
    for name in (
        "cluster_texts.js",
        "i18n.js",
        "administration_texts.js",
        "facts.js",
    )  # the first has texts of others, too
    for table in re.findall(r"`\n(.*?)`", (PAGE_DIR / name).read_text(), re.DOTALL)
]
_TEXTS = {
    key: (english or key[0].upper() + key[1:], chinese)
    for table in _TABLES
    for key, english, chinese in (line.split("|") for line in table.splitlines())
}


@dataclass(frozen=True)
class Appearance:
    """Language, theme and window width."""

    language: str = "en"
    theme: str = "light"
    width: int = 1440

    @property
    def locale(self) -> str:
        """The browser's language, and the page's `lang` if it is Chinese."""
        return {"en": "en-GB", "zh": "zh-CN"}[self.language]

    def text(self, key: str, *values: object) -> str:
        """A text of the page."""
        text = _TEXTS[key][self.language == "zh"]
        return re.sub(r"\{(\d)\}", lambda match: str(values[int(match[1])]), text)

    def __str__(self) -> str:
        return f"{self.language}-{self.theme}-{self.width}"


OPPOSITES = [Appearance("en", "light", 1440), Appearance("zh", "dark", 390)]
"""Both languages, both themes and both widths."""
ALL_PAIRS = [
    Appearance("en", "light", 1440), Appearance("en", "dark", 390), Appearance("zh", "light", 390),
    Appearance("zh", "dark", 1440),
]  # fmt: skip
"""Every language with every theme, every language with every width, every theme with every width."""


def launch_chromium(playwright: Playwright) -> Browser:
    """Start the installed Chromium; raises `FileNotFoundError`."""
    path = shutil.which(CHROMIUM)
    if path is None:
        raise FileNotFoundError(
            f"there is no {CHROMIUM!r}; apt-get install chromium, or name one in PLUGVISOR_TEST_CHROMIUM"
        )
    return playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)


def find_row(page: Page, plugin_id: str) -> Locator:
    """A plugin's row in the list."""
    return page.locator(f'.row[data-id="{plugin_id}"]')


def reload(page: Page) -> None:
    """Load the page again, until it is there: Chromium drops its scripts whenever a network interface changes."""
    page.reload()
    for _ in range(5):
        if not page.locator("#top:empty").count():
            return
        page.reload()
    raise AssertionError("the page stays empty")
