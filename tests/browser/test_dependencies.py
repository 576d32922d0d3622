"""What a plugin needs and what needs it: in the list, in its own view, in the graph, and when it is stopped.

Most plugins come from the test: `PageEvents`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page import find_row
from tests.helpers.page_events import connect, make_item
from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from playwright.sync_api import Page, Route

    from tests.browser.conftest import OpenWith
    from tests.helpers.page import Appearance
    from tests.helpers.stack import PlugvisorStack

CHECK = 'checks.file = { exec = ["test", "-e", "ok"], period = 0.2, startup = 20 }'


def make_shop() -> tuple[dict[str, Any], ...]:
    """A web plugin that waits, a worker that lacks what it needs, what they need, and one that needs nothing."""
    return connect(
        make_item("database", name="Database", health="healthy"),
        make_item("cache", health="starting"),
        make_item("migrate", "stopped", "database"),
        make_item(
            "web", "starting", "database", "cache", "gone", state="STOPPED", queued=True, unmet=["cache", "gone"]
        ),
        make_item("worker", "running", "database", "migrate", unmet=["migrate"]),
        make_item("lonely"),
    )


def test_what_a_plugin_waits_for(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(*make_shop())
    row = find_row(page, "web")
    expect(row.locator(".word")).to_have_text(appearance.text("queued"))
    expect(row.locator(".status svg.queued")).to_be_visible()
    expect(row.locator(".needs")).to_have_text(f"{appearance.text('waitsFor')} cache, gone")
    expect(row.locator(".needs a")).to_have_attribute("href", "#/plugin/cache")
    expect(find_row(page, "worker").locator(".needs")).to_have_text(f"{appearance.text('lacks')} migrate")
    expect(find_row(page, "database").locator(".needs")).to_be_hidden()
    check_accessibility(page)

    requests: list[str] = []

    def stop(route: Route) -> None:
        requests.append(urlsplit(route.request.url).path)
        events.change(make_item("web", "stopped"))
        route.fulfill(json={"plugin_id": "web", "status": "stopped", "state": "STOPPED", "message": ""})

    page.route("**/stop", stop)
    button = row.locator(".actions button").first
    expect(button).to_have_text(appearance.text("stop"))
    button.click()
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))
    expect(row.locator(".needs")).to_be_hidden()
    assert requests == ["/plugin/web/stop"]


def test_its_own_view(open_with: OpenWith, appearance: Appearance) -> None:
    items = make_shop()
    items[3]["depends_on"][1] |= {"condition": "started", "required": False}
    page, _ = open_with(*items, plugin_id="web", width=320 if appearance.width < 1000 else 0)
    expect(page.locator(".needs")).to_contain_text(appearance.text("waitsFor"))
    facts = page.locator(".facts .card", has_text=appearance.text("dependencies"))
    expect(facts.locator("dd").first).to_have_text(
        f"Database{appearance.text('bracketed', appearance.text('until_ready'))}"
    )
    condition = appearance.text("comma").join((appearance.text("until_started"), appearance.text("optional")))
    expect(facts.locator("dd").nth(1)).to_have_text(f"cache{appearance.text('bracketed', condition)}")
    check_accessibility(page)
    facts.get_by_role("link", name="Database").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")
    expect(facts).to_contain_text(appearance.text("neededBy"))
    expect(facts.get_by_role("link")).to_have_text(["migrate", "web", "worker"])


def test_the_graph_of_one_plugin(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(*make_shop(), plugin_id="migrate")
    boxes = page.locator(".graph .box")
    expect(boxes).to_have_count(3)
    columns = [box.bounding_box() for box in boxes.all()]
    names = [box.locator(".description").inner_text() for box in boxes.all()]
    assert all(columns)
    lefts = dict(zip(names, (column["x"] for column in columns if column), strict=True))
    assert lefts["Database"] < lefts["migrate"] < lefts["worker"]
    worker = page.get_by_role("link", name=f"worker {appearance.text('running')}").and_(boxes)
    expect(worker.locator("svg.running")).to_have_count(1)
    expect(page.locator(".graph path")).to_have_count(3)
    page.evaluate("document.querySelector('.graph .box').marked = true")
    events.change(make_item("worker", "running", health="unhealthy"))
    words = f"{appearance.text('running')}, {appearance.text('unhealthy')}"
    expect(page.get_by_role("link", name=f"worker {words}").and_(boxes).locator("svg.unhealthy")).to_have_count(1)
    assert page.evaluate("document.querySelector('.graph .box').marked"), "a status does not draw it again"

    page.get_by_text(appearance.text("asList")).click()
    expect(page.locator("details li")).to_have_count(3)
    expect(page.locator("details li").last).to_have_text(
        f"worker {words} · {appearance.text('dependsOn')}: Database, migrate"
    )
    check_accessibility(page)
    boxes.first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")
    page.evaluate("location.hash = '#/plugin/lonely'")
    expect(page.get_by_role("heading", level=1)).to_have_text("lonely")
    expect(page.locator(".graph")).to_be_hidden()


def test_two_plugins_fit_on_a_phone(open_with: OpenWith) -> None:
    items = connect(make_item("store"), make_item("page", "running", "store"))
    page, _ = open_with(*items, width=390, plugin_id="page")
    expect(page.locator(".graph .box")).to_have_count(2)
    assert page.locator(".graph").evaluate("(node) => node.scrollWidth <= node.clientWidth")


def name_below(rank: int, place: int) -> str:
    return f"plugin-{rank - 1}-{place % 20:02}"


def test_the_graph_of_a_hundred(open_with: OpenWith, appearance: Appearance) -> None:
    """Twenty in each of five ranks, and some that go past a rank, that are missing, or that form a cycle."""
    items = [
        make_item(f"plugin-{rank}-{place:02}", "running", *(name_below(rank, place * 7 + k) for k in (0, 3) if rank))
        for rank in range(5)
        for place in range(20)
    ]
    items[99]["depends_on"] += [
        {"id": "plugin-0-00", "condition": "ready", "required": False},
        {"id": "gone", "condition": "ready", "required": True},
    ]
    cycle = [make_item("egg", "error", "hen"), make_item("hen", "error", "egg")]
    page, events = open_with(*connect(*items, *cycle, make_item("lonely")))
    button = page.get_by_role("button", name=appearance.text("graph"))
    button.click()
    dialog = page.get_by_role("dialog", name=appearance.text("graph"))
    boxes = dialog.locator(".box")
    expect(boxes).to_have_count(103)
    places = page.evaluate(
        """[...document.querySelectorAll('dialog foreignObject')].map(
             (box) => ['x', 'y', 'width', 'height'].map((name) => box[name].baseVal.value))"""
    )
    for index, (x, y, width, height) in enumerate(places):
        for other_x, other_y, _, _ in places[:index]:
            assert abs(x - other_x) >= width or abs(y - other_y) >= height, "boxes do not overlap"
    assert page.evaluate("(([graph]) => graph.scrollHeight > graph.clientHeight)(document.querySelectorAll('.graph'))")
    expect(dialog.locator("path.optional")).to_have_count(1)
    expect(boxes.filter(has_text="gone")).to_have_attribute("data-status", "missing")
    check_accessibility(page)

    events.change(make_item("plugin-4-19", "error"))
    expect(boxes.filter(has_text="plugin-4-19")).to_have_attribute("data-status", "error")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    button.click()
    dialog.get_by_role("link", name="hen").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("hen")
    expect(dialog).to_have_count(0)


def test_without_dependencies_there_is_no_graph(open_with: OpenWith, appearance: Appearance) -> None:
    page, events = open_with(make_item("lonely"))
    expect(find_row(page, "lonely")).to_be_visible()
    button = page.get_by_role("button", name=appearance.text("graph"))
    expect(button).to_be_hidden()
    events.show(*connect(make_item("lonely"), make_item("other", "running", "lonely")))
    expect(button).to_be_visible()


def test_a_stop_names_what_needs_it(open_with: OpenWith, appearance: Appearance) -> None:
    page, _ = open_with(*make_shop())
    requests: list[str] = []

    def stop(route: Route) -> None:
        address = urlsplit(route.request.url)
        requests.append(f"{address.path}?{address.query}")
        route.fulfill(
            json={"plugin_id": "database", "status": "stopped", "state": "STOPPED", "message": "", "results": []}
        )

    page.route("**/stop*", stop)
    button = find_row(page, "database").locator(".actions button").first
    dialog = page.get_by_role("dialog")
    button.click()
    expect(dialog).to_contain_text(f"{appearance.text('neededBy')}: web, worker")
    check_accessibility(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert not requests
    button.click()
    with page.expect_response("**/stop"):
        dialog.get_by_role("button", name=appearance.text("stop")).click()
    expect(dialog).to_have_count(0)
    expect(button).to_have_attribute("aria-disabled", "false")
    button.click()
    dialog.get_by_label(appearance.text("alsoStop")).check()
    with page.expect_response("**/stop?*"):
        dialog.get_by_role("button", name=appearance.text("stop")).click()
    expect(button).to_have_attribute("aria-disabled", "false")
    assert requests == ["/plugin/database/stop?", "/plugin/database/stop?dependents=true"]

    for plugin_id in ("database", "worker"):
        find_row(page, plugin_id).get_by_role("checkbox").check()
    page.locator('.bar [data-name="stop"]').click()
    expect(dialog).to_contain_text(appearance.text("confirmStop", 2))
    expect(dialog).to_contain_text(f"{appearance.text('neededBy')}: web")
    dialog.get_by_label(appearance.text("alsoStop")).check()
    with page.expect_response("**/plugins/stop?*"):
        dialog.get_by_role("button", name=appearance.text("stop")).click()
    expect(button).to_have_attribute("aria-disabled", "false")
    assert requests[2:] == ["/plugins/stop?dependents=true"]

    with page.expect_response("**/stop"):
        find_row(page, "lonely").locator(".actions button").first.click()
    assert requests[3:] == ["/plugin/lonely/stop?"], "nothing needs it: no question"


def test_a_start_whose_dependency_failed(open_with: OpenWith) -> None:
    page, _ = open_with(*make_shop())
    problem = {
        "type": "about:blank", "title": "Conflict", "status": 409, "code": "dependency_failed", "plugin_id": "migrate",
        "dependency": "database", "detail": "cannot start 'migrate': its dependency 'database' is disabled",
    }  # fmt: skip
    page.route(
        "**/start", lambda route: route.fulfill(status=409, content_type="application/problem+json", json=problem)
    )
    row = find_row(page, "migrate")
    row.locator(".actions button").first.click()
    expect(row.locator(".trouble")).to_contain_text("its dependency 'database' is disabled")
    check_accessibility(page)
    row.locator(".trouble").get_by_role("link", name="Database").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")


def test_real_plugins(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    folder = add("store", runtime=f"{QUICK}\n{CHECK}", is_running=False)
    add("front", runtime=f"{QUICK}\ndepends_on.store = {{}}", is_running=False)
    page = open_signed_in()
    store, front = find_row(page, "store"), find_row(page, "front")
    front.locator(".actions button").first.click()
    expect(front.locator(".word")).to_have_text(appearance.text("queued"))
    expect(front.locator(".needs")).to_have_text(f"{appearance.text('waitsFor')} store")
    expect(store.locator(".health")).to_have_text(appearance.text("unready"))
    front.locator(".needs a").click()
    expect(page.locator(".graph .box")).to_have_count(2)
    expect(page.locator(".facts")).to_contain_text(appearance.text("neededBy"))
    (folder / "ok").touch()
    boxes = page.locator(".graph .box")
    expect(boxes.filter(has_text="store").locator("svg.healthy")).to_have_count(1)
    expect(boxes.filter(has_text="front").locator("svg.running")).to_have_count(1)

    page.get_by_role("link", name=appearance.text("back")).click()
    store.locator(".actions button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{appearance.text('neededBy')}: front")
    dialog.get_by_role("button", name=appearance.text("stop")).click()
    expect(store.locator(".word")).to_have_text(appearance.text("stopped"))
    expect(front.locator(".needs")).to_have_text(f"{appearance.text('lacks')} store")
    store.locator(".actions button").first.click()
    expect(front.locator(".needs")).to_be_hidden()
    store.locator(".actions button").first.click()
    dialog.get_by_label(appearance.text("alsoStop")).check()
    dialog.get_by_role("button", name=appearance.text("stop")).click()
    expect(store.locator(".word")).to_have_text(appearance.text("stopped"))
    expect(front.locator(".word")).to_have_text(appearance.text("stopped"))

    (folder / "plugin.toml").write_text((folder / "plugin.toml").read_text() + "enabled = false\n")
    assert stack.post("/plugins/refresh").json()["changed"] == ["store"]
    front.locator(".actions button").first.click()
    expect(front.locator(".trouble")).to_contain_text("'store'")
    expect(front.locator(".trouble a")).to_have_attribute("href", "#/plugin/store")


def test_a_real_cycle(open_signed_in: Callable[..., Page], stack: PlugvisorStack, add: Callable[..., Path]) -> None:
    """The message names it, and an example of a manifest would not help."""
    add("egg", is_running=False)
    for plugin_id, other in (("hen", "egg"), ("egg", "hen")):
        stack.write_plugin(plugin_id, runtime=f"{QUICK}\ndepends_on.{other} = {{}}")
    assert stack.post("/plugins/refresh").json()["invalid"] == ["egg", "hen", "invalid"]
    page = open_signed_in()
    trouble = find_row(page, "hen").locator(".trouble")
    expect(trouble).to_contain_text("hen -> egg -> hen")
    expect(trouble.locator("pre")).to_have_count(0)


def test_a_real_start_that_waits_is_cancelled(
    stack: PlugvisorStack, open_signed_in: Callable[..., Page], add: Callable[..., Path], appearance: Appearance
) -> None:
    add("store", runtime=f"{QUICK}\n{CHECK}", is_running=False)
    add("front", runtime=f"{QUICK}\ndepends_on.store = {{}}", is_running=False)
    page = open_signed_in("#/plugin/front")
    button, word = page.locator(".head .actions button").first, page.locator(".head .word")
    button.click()
    expect(word).to_have_text(appearance.text("queued"))
    expect(button).to_have_text(appearance.text("stop"))
    button.click()
    expect(word).to_have_text(appearance.text("stopped"))
    assert "queued" not in stack.status("front")
