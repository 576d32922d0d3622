"""The page to try the API out, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from plugvisor.api.routes import ROUTES

from tests.helpers.stack import ADMIN_CODE, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page

    from tests.helpers.stack import PlugvisorStack

MARKUP = "<img src=x onerror=hacked()>"


@pytest.fixture(scope="module")
def site() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        folder = made.write_plugin("other", runtime="auto_start = false")
        manifest = folder / "plugin.toml"
        manifest.write_text(manifest.read_text().replace("[plugin]", f"[plugin]\ndescription = '{MARKUP}'", 1))
        made.up()
        yield made


@pytest.fixture
def docs(site: PlugvisorStack, open_page: Callable[..., Page]) -> Page:
    return open_page(f"{site.url}/docs")


def open_operation(page: Page, method: str, path: str) -> Locator:
    place = (
        page.locator("#operations > details")
        .filter(has=page.get_by_text(method, exact=True), has_text=f"{method}{path}")
        .filter(has=page.get_by_text(path, exact=True))
    )
    place.locator("> summary").click()
    return place


def read_answer(place: Locator) -> tuple[str, str]:
    """The line of the status, and the body beneath it."""
    output = place.locator("form pre")
    expect(place.get_by_role("button", name="Send")).to_be_enabled()
    head, _, body = output.inner_text().partition("\n\n")
    return head, body


def test_every_operation_is_there(docs: Page) -> None:
    expect(docs.locator("#operations > details")).to_have_count(len(ROUTES))
    assert docs.title() == "Plugvisor API"
    found = Axe().run(docs)
    assert found.violations_count == 0, found.generate_report()


def test_an_operation_is_tried_out(site: PlugvisorStack, docs: Page) -> None:
    place = open_operation(docs, "POST", "/plugin/{plugin_id}/start")
    place.get_by_label("plugin_id").fill("other")
    place.get_by_role("button", name="Send").click()
    head, body = read_answer(place)
    assert head.startswith("401 ")
    assert json.loads(body)["code"] == "unauthorized"
    docs.get_by_label("Admin code").fill(ADMIN_CODE)
    place.get_by_role("button", name="Send").click()
    head, body = read_answer(place)
    assert head.startswith("200 ")
    assert json.loads(body)["pid"] == site.status("other")["pid"]


def test_what_comes_from_a_plugin_is_text(docs: Page) -> None:
    place = open_operation(docs, "GET", "/plugins")
    place.get_by_role("button", name="Send").click()
    head, body = read_answer(place)
    assert head.startswith("200 ")
    assert json.loads(body)["plugins"][0]["description"] == MARKUP


def test_a_stream_is_shown_as_it_comes_and_can_be_stopped(site: PlugvisorStack, docs: Page) -> None:
    place = open_operation(docs, "GET", "/events")
    place.get_by_role("button", name="Send").click()
    output = place.locator("form pre")
    expect(output).to_contain_text("event: snapshot")
    site.post("/plugin/other/reload")
    expect(output).to_contain_text("event: status")
    place.get_by_role("button", name="Stop").click()
    expect(output).to_contain_text("stopped")
