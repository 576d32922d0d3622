"""Accessibility checks of an open page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

_OPTIONS = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def check_accessibility(page: Page) -> None:
    """Assert that axe finds no violation and that nothing is wider than the window."""
    # during an animation a colour is between two others; one that goes on for ever has no end to go to
    page.evaluate("""document.getAnimations().forEach((animation) =>
        animation[animation.effect.getComputedTiming().endTime === Infinity ? "pause" : "finish"]())""")
    results = Axe().run(page, options=_OPTIONS)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
