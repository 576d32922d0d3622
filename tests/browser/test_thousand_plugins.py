"""A thousand plugins in the page; `-s` prints how smooth it is, which depends on the machine."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.conftest import load
from tests.helpers.page import find_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack

COUNT = 1000

SCROLL = """() => new Promise((resolve) => {
  const frames = [];
  let last = performance.now();
  const step = (now) => {
    frames.push(now - last);
    last = now;
    scrollBy(0, 400);
    const isAtEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
    if (!isAtEnd && frames.length < 400) return requestAnimationFrame(step);
    frames.sort((one, other) => one - other);
    resolve({ frames: frames.length, median: frames[frames.length >> 1], p95: frames[Math.floor(frames.length * 0.95)],
      worst: frames.at(-1) });
  };
  requestAnimationFrame(step);
})"""


def test_a_thousand_plugins(plugvisor: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    for number in range(COUNT):
        plugvisor.write_plugin(f"plugin-{number:04}", runtime="auto_start = false")
    plugvisor.up()
    page = open_page("about:blank")
    page.add_init_script(
        "window.long = [];"
        "new PerformanceObserver((list) => long.push(...list.getEntries().map((one) => one.duration)))"
        ".observe({ type: 'longtask', buffered: true });"
    )
    began = time.monotonic()
    load(page, plugvisor.url)
    expect(page.locator(".row")).to_have_count(COUNT)
    figures = {"shown after (s)": round(time.monotonic() - began, 2), "long tasks loading (ms)": take_long_tasks(page)}
    figures["frames scrolling (ms)"] = page.evaluate(SCROLL)
    expect(find_row(page, f"plugin-{COUNT - 1:04}")).to_be_in_viewport()
    figures["long tasks scrolling (ms)"] = take_long_tasks(page)
    page.get_by_role("searchbox").fill("0999")
    expect(page.locator(".row")).to_have_count(1)
    figures["long tasks searching (ms)"] = take_long_tasks(page)
    print(json.dumps(figures))  # noqa: T201 - they depend on the machine: nothing is asserted


def take_long_tasks(page: Page) -> list[float]:
    """The times of 50 ms or more during which the page did not react."""
    taken: list[float] = page.evaluate("long.splice(0)")
    return taken
