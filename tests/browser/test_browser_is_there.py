"""Whether the tests of the page can run; without a browser this one is skipped and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_there_is_a_browser(browser: Browser) -> None:
    assert browser.is_connected()
