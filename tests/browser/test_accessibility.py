"""Every view for every pair of language, theme and width: accessible, and nothing is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import load
from tests.helpers.accessibility import check_accessibility
from tests.helpers.fake_installation import FakeInstallation, make_version
from tests.helpers.page import ALL_PAIRS, Appearance, find_row
from tests.helpers.page_events import PageEvents, make_item
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack


@pytest.mark.parametrize("appearance", ALL_PAIRS, ids=str)
def test_every_view(stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> None:
    page = open_page(stack.url, appearance, first_visit=True)
    row = find_row(page, "colours")
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    check_accessibility(page)
    row.locator("button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check_accessibility(page)
    page.keyboard.press("Escape")

    page.goto(f"{stack.url}/#code={ADMIN_CODE}")
    find_row(page, "crashed").scroll_into_view_if_needed()
    expect(find_row(page, "crashed").locator(".tail")).to_have_text("no settings")
    page.get_by_role("checkbox", name=appearance.text("selectAll")).check()
    page.locator(".bar button").nth(1).click()
    expect(page.get_by_role("dialog")).to_contain_text(appearance.text("confirmStop", 3))
    check_accessibility(page)
    page.keyboard.press("Escape")
    expect(page.locator(".bar")).to_be_visible()
    check_accessibility(page)

    page.goto(f"{stack.url}/#/plugin/colours")
    expect(page.locator(".line")).to_have_count(4)
    expect(page.locator(".chart path[d^=M]")).to_have_count(6)
    expect(page.locator(".facts")).to_contain_text("python main.py")
    expect(page.locator(".entries li")).not_to_have_count(0)
    check_accessibility(page)
    stack.post("/plugin/colours/start")  # it runs: an entry with a link, newer than those of other tests
    page.goto(f"{stack.url}/#/journal")
    expect(page.locator(".entries a")).not_to_have_count(0)
    check_accessibility(page)
    page.context.set_offline(True)
    page.goto(f"{stack.url}/#/plugin/nobody", wait_until="commit")
    expect(page.get_by_role("heading", level=1)).to_have_text(appearance.text("goneTitle", "nobody"))
    check_accessibility(page)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_narrowest_window(stack: PlugvisorStack, open_page: Callable[..., Page], language: str) -> None:
    """320 pixels, which WCAG 1.4.10 names: a desktop window at 400 % has them too."""
    appearance = Appearance(language, width=320)
    page = open_page(stack.url, appearance, code=ADMIN_CODE)
    expect(find_row(page, "colours").locator(".word")).to_have_text(appearance.text("running"))
    expect(page.get_by_role("button", name=appearance.text("signOut"))).to_be_in_viewport(ratio=1)
    check_accessibility(page)
    page.goto(f"{stack.url}/#/plugin/colours")
    expect(page.locator(".line")).to_have_count(4)
    check_accessibility(page)
    page.goto(f"{stack.url}/#/journal")
    expect(page.locator(".entries li")).not_to_have_count(0)
    check_accessibility(page)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_widest_header_in_the_narrowest_window(
    stack: PlugvisorStack, open_page: Callable[..., Page], language: str
) -> None:
    """A name of 64 letters without a hyphen, while supervisord cannot be reached."""
    appearance = Appearance(language, width=320)
    page = open_page("about:blank", appearance)
    identity = {"name": "x" * 64, "role": "operator", "plugins": ["*"]}
    page.route("**/whoami", lambda route: route.fulfill(json=identity))
    problem = {"status": 503, "code": "supervisor_unavailable", "detail": "supervisord does not answer"}
    page.route("**/events", lambda route: route.fulfill(status=503, json=problem))
    load(page, f"{stack.url}/#code={ADMIN_CODE}")
    expect(page.locator(".who")).to_contain_text("x" * 64)
    expect(page.locator(".connection")).to_have_text(appearance.text("unavailable"))
    for button in page.locator("#top button").all():
        expect(button).to_be_in_viewport(ratio=1)
    check_accessibility(page)


@pytest.mark.parametrize(
    "appearance", [*ALL_PAIRS, Appearance("en", width=320), Appearance("zh", "dark", 320)], ids=str
)
def test_what_only_an_admin_sees(stack: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance) -> None:
    page = open_page("about:blank", appearance)
    events = PageEvents(page)
    fake = FakeInstallation(page, events)
    version = make_version("1.3.0", current=True, environment=True, python="3.11.2", source="x" * 200)
    fake.versions = {"installed": True, "versions": [version, make_version("1.2.0", previous=True)]}
    fake.text = "[plugin]\n" + "x" * 500 + "\n"
    running = fake.begin("update", phase="environment", percent=40, version="1.3.0", previous_version="1.2.0")
    fake.begin("install", None, by="x" * 64)
    load(page, f"{stack.url}/#code={ADMIN_CODE}", is_whole=True)
    events.show(make_item("demo", name="x" * 64))
    expect(page.locator(".operation")).to_have_count(2)
    check_accessibility(page)
    log = ["Traceback", "x" * 300]
    problem = {"status": 500, "code": "start_failed", "detail": "x" * 300, "rolled_back": True, "log": log}
    fake.advance(running, "x" * 300, state="failed", problem=problem | {"entry": "x" * 300})
    expect(page.locator(".operation details")).to_be_visible()
    page.get_by_role("button", name=appearance.text("showLog")).click()
    check_accessibility(page)
    page.evaluate("location.hash = '#/plugin/demo'")
    card = page.locator(".installed")
    expect(card.locator("li")).to_have_count(2)
    check_accessibility(page)
    for name in ("updatePackage", "rollBack", "removePlugin"):
        card.get_by_role("button", name=appearance.text(name)).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check_accessibility(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
    card.get_by_role("button", name=appearance.text("editManifest")).click()
    area = page.get_by_role("textbox", name="plugin.toml")
    expect(area).to_have_value(fake.text)
    check_accessibility(page)
    area.fill(fake.text.replace("x", "y"))
    page.get_by_role("button", name=appearance.text("review")).click()
    expect(page.locator(".diff")).to_be_focused()
    check_accessibility(page)
    for button in page.locator("dialog .buttons button").all():
        expect(button).to_be_in_viewport(ratio=1)
    fake.text += "# changed meanwhile"
    page.get_by_role("button", name=appearance.text("save")).click()
    expect(page.locator(".review h3.problem")).to_be_visible()
    check_accessibility(page)
    expect(page.locator("dialog .buttons button")).to_have_count(3)
    for button in page.locator("dialog .buttons button").all():
        expect(button).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("width", [320, 390, 720])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_head_of_the_list_in_a_narrow_window(
    stack: PlugvisorStack, open_page: Callable[..., Page], language: str, width: int
) -> None:
    """Every filter, order and action is in view without scrolling sideways, large enough for a finger."""
    appearance = Appearance(language, width=width)
    page = open_page("about:blank", appearance)
    events = PageEvents(page)
    load(page, f"{stack.url}/#code={ADMIN_CODE}")
    version = "2026.11.30-alpha.1+build.20261130"
    sick = make_item("sick", name="一个名字很长的插件" * 3, health="unhealthy", version=version)
    stopped = [make_item(f"stopped-{number}", "stopped") for number in range(100)]
    events.show(sick, make_item("down", "error"), make_item("new", "starting", "sick"), *stopped)
    everything = page.get_by_role("checkbox", name=appearance.text("selectAll"))
    everything.check()
    parts = page.locator(".chip:visible, .toolbar button:visible, .bar button, .columns input")
    assert parts.count() >= 13
    for part in [*parts.all(), *(page.locator(".column").all() if width > 320 else [])]:
        assert page.evaluate("([part]) => part.getBoundingClientRect().right <= innerWidth", [part.element_handle()])
    for box in (everything, find_row(page, "sick").get_by_role("checkbox")):
        size = box.bounding_box()
        assert size is not None
        assert (size["width"], size["height"]) == (22, 22)
    assert page.evaluate(
        "([name, version]) => version.getBoundingClientRect().top >= name.getBoundingClientRect().bottom - 4",
        [find_row(page, "sick").locator(one).element_handle() for one in ("h2 a", ".version")],
    )
    check_accessibility(page)


def test_the_header_at_twice_the_size(stack: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    """A desktop window at 200 % is 720 pixels wide: the header reads as it does in a wide one."""
    page = open_page(stack.url, Appearance(width=720), code=ADMIN_CODE)
    expect(page.locator(".who")).to_have_text("admin")
    parts = [page.locator(one).bounding_box() for one in (".brand", "nav", ".who", "#top > button")]
    lefts = [part["x"] for part in parts if part is not None]
    assert lefts == sorted(lefts)
    assert len({round(part["y"] + part["height"] / 2) for part in parts if part is not None}) == 1
