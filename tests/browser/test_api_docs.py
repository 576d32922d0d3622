"""`GET /docs`, the page to try the API."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from plugvisor.api.routes import ROUTES

from tests.helpers.accessibility import check_accessibility
from tests.helpers.packages import make_plugin_package
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.helpers.stack import PlugvisorStack

MARKUP = "<img src=x onerror=hacked()>"


@pytest.fixture
def docs(stack: PlugvisorStack, open_page: Callable[..., Page]) -> Page:
    return open_page(f"{stack.url}/docs")


def open_operation(page: Page, method: str, path: str) -> Locator:
    operation = (
        page.locator("#operations > details")
        .filter(has=page.get_by_text(method, exact=True), has_text=f"{method}{path}")
        .filter(has=page.get_by_text(path, exact=True))
    )
    operation.locator("> summary").click()
    return operation


def send(operation: Locator) -> tuple[str, str]:
    """Send the request; returns the status line, and the body below it."""
    button = operation.get_by_role("button", name="Send")
    button.click()
    expect(button).to_be_enabled()
    head, _, body = operation.locator("form pre").inner_text().partition("\n\n")
    return head, body


def test_it_shows_every_operation(docs: Page) -> None:
    expect(docs.locator("#operations > details")).to_have_count(len(ROUTES))
    assert docs.title() == "Plugvisor API"
    notes = docs.locator("#operations > details > summary .note")
    expect(notes.filter(has_text="Every plugin, with its metadata")).to_contain_text("Needs no token")
    expect(notes.filter(has_text=re.compile("^Start a plugin"))).to_contain_text("Needs the role operator.")
    expect(docs.locator("#about code").first).to_have_text("detail")
    check_accessibility(docs)


def test_an_operation_is_tried(stack: PlugvisorStack, docs: Page, add: Callable[..., Path]) -> None:
    add("other", is_running=False)
    operation = open_operation(docs, "POST", "/plugin/{plugin_id}/start")
    operation.get_by_label("plugin_id").fill("other")
    head, body = send(operation)
    assert head.startswith("401 ")
    assert json.loads(body)["code"] == "unauthorized"
    docs.get_by_label("Token or admin code").fill(ADMIN_CODE)
    head, body = send(operation)
    assert head.startswith("200 ")
    assert json.loads(body)["pid"] == stack.status("other")["pid"]


@pytest.fixture
def tried(stack: PlugvisorStack) -> Iterator[str]:
    """The id of a plugin that a test installs, and that is gone afterwards."""
    yield "tried"
    assert stack.delete("/plugin/tried", params={"purge": "true", "wait": "50"}).status_code in (200, 404)


def test_a_package_is_a_file(docs: Page, tmp_path: Path, tried: str) -> None:
    package = tmp_path / "tried.zip"
    package.write_bytes(make_plugin_package(tried, runtime="auto_start = false"))
    docs.get_by_label("Token or admin code").fill(ADMIN_CODE)
    operation = open_operation(docs, "POST", "/plugins/install")
    operation.get_by_label("body (a file)").set_input_files(package)
    operation.get_by_label("wait (query").fill("60")
    head, body = send(operation)
    assert head.startswith("201 "), body
    assert json.loads(body)["plugin_id"] == tried


def test_a_body_may_be_of_several_types(docs: Page) -> None:
    docs.get_by_label("Token or admin code").fill(ADMIN_CODE)
    operation = open_operation(docs, "PUT", "/plugin/{plugin_id}/config/toml")
    operation.get_by_label("plugin_id").fill("gone")
    types = operation.get_by_label("type of the body")
    assert {"application/json", "application/toml"} <= {*types.locator("option").all_inner_texts()}
    types.select_option("application/toml")
    operation.get_by_label("body", exact=True).fill("[plugin]")
    head, body = send(operation)
    assert head.startswith("404 "), body


def test_text_of_a_plugin_is_not_markup(docs: Page, add: Callable[..., Path]) -> None:
    add("other", is_running=False, about=f"description = '{MARKUP}'")
    head, body = send(open_operation(docs, "GET", "/plugins"))
    assert head.startswith("200 ")
    assert MARKUP in {plugin["description"] for plugin in json.loads(body)["plugins"]}


def test_a_stream_is_shown_as_it_arrives_and_can_be_stopped(
    stack: PlugvisorStack, docs: Page, add: Callable[..., Path]
) -> None:
    add("other")
    operation = open_operation(docs, "GET", "/events")
    operation.get_by_role("button", name="Send").click()
    output = operation.locator("form pre")
    expect(output).to_contain_text("event: snapshot")
    stack.post("/plugin/other/reload")
    expect(output).to_contain_text("event: status")
    operation.get_by_role("button", name="Stop").click()
    expect(output).to_contain_text("stopped")
