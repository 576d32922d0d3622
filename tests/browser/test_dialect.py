"""The dialect in a browser: a page elsewhere that asks as the existing front end does, and the built-in page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.helpers.front_end_server import serve_front_end
from tests.helpers.page import find_row
from tests.helpers.stack import ADMIN_CODE, QUICK, PlugvisorStack, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.helpers.front_end_server import FrontEndServer
    from tests.helpers.page import Appearance

SCRIPT = """
window.ask = async (method, path, body) => {
  const headers = { Accept: "application/json, text/plain, */*", "Content-Type": "application/json",
                    Authorization: `Bearer ${code}` };
  const response = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
};
window.listen = (path, first) => new Promise((resolve) => {
  const socket = new WebSocket(API.replace("http", "ws") + path), seen = [];
  socket.onopen = () => { seen.push("open"); if (first) for (const each of first) socket.send(JSON.stringify(each)); };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    seen.push(message);
    if (!first || message.type === "resp") socket.close(1000);
  };
  socket.onclose = (event) => resolve([...seen, event.code]);
});
window.follow = () => new Promise((resolve) => {
  const source = new EventSource(API + "/events");
  source.addEventListener("snapshot", (event) => { source.close(); resolve(JSON.parse(event.data)); });
});
"""


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEndServer]:
    """A server of another origin with an empty page."""
    folder: Path = tmp_path_factory.mktemp("front-end")
    (folder / "index.html").write_text('<!doctype html><link rel="icon" href="data:,"><title>front end</title>')
    with serve_front_end(folder) as server:
        yield server


@pytest.fixture(scope="module")
def neko(front_end: FrontEndServer) -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        made.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_CORS_ORIGINS": front_end.url}
        made.write_plugin("waits", runtime="auto_start = false\nsupervisor.startsecs = 1")
        made.write_plugin("crashed", "raise SystemExit(3)", runtime="supervisor.startretries = 0")
        made.write_plugin("quick", runtime=QUICK)
        made.up()
        made.wait_for_state("crashed", "FATAL")
        yield made


def open_front_end(open_page: Callable[..., Page], front_end: FrontEndServer, neko: PlugvisorStack, code: str) -> Page:
    page = open_page(f"{front_end.url}/ui/", expected="WebSocket connection")
    page.evaluate(f"window.API = '{neko.url}'; window.code = '{code}'; {SCRIPT}; null")
    return page


def test_what_the_front_end_asks_from_another_origin(
    neko: PlugvisorStack, front_end: FrontEndServer, open_page: Callable[..., Page]
) -> None:
    page = open_front_end(open_page, front_end, neko, ADMIN_CODE.upper())

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = page.evaluate("([method, path, body]) => ask(method, path, body)", [method, path, body])
        assert answer["status"] == 200, answer
        return answer["body"]

    listed = ask("GET", "/plugins")["plugins"]
    assert {item["id"]: item["status"] for item in listed}["crashed"] == "crashed"
    assert ask("GET", "/server/info")["sdk_version"]
    assert ask("POST", "/plugin/waits/start")["success"] is True
    assert ask("GET", "/plugin/status?plugin_id=waits")["status"] == "running"
    config = ask("GET", "/plugin/waits/config")["config"]
    config["plugin"]["name"] = "Renamed"
    assert ask("PUT", "/plugin/waits/config", {"config": config})["config"] == config
    assert ask("GET", "/plugins")["plugins"][2]["name"] == "Renamed"
    for method in ("PUT", "DELETE"):
        refused = page.evaluate(f"ask('{method}', '/plugin/waits/config/profiles/x', {{}})")
        assert (refused["status"], refused["body"]["code"]) == (501, "not_supported")
    assert "crashed" in str(page.evaluate("follow()"))


def test_the_web_sockets_of_the_front_end(
    neko: PlugvisorStack, front_end: FrontEndServer, open_page: Callable[..., Page]
) -> None:
    page = open_front_end(open_page, front_end, neko, ADMIN_CODE)
    listen = "([path, first]) => listen(path, first)"
    request = {"type": "req", "id": "1", "method": "runs.list", "params": {}}
    answered = page.evaluate(listen, ["/ws/admin", [{"type": "auth", "code": ADMIN_CODE}, request]])
    assert answered == ["open", {"type": "resp", "id": "1", "ok": True, "result": []}, 1000]
    assert page.evaluate(listen, ["/ws/admin", [{"type": "auth", "code": "WXYZ"}]]) == ["open", 1008]
    opened, initial, code = page.evaluate(listen, [f"/ws/logs/_server?code={ADMIN_CODE}", None])
    assert (opened, initial["type"], code) == ("open", "initial", 1000)
    for path in ("/ws/logs/_server?code=WXYZ", "/ws/logs/_server", f"/ws/logs/nobody?code={ADMIN_CODE}"):
        assert page.evaluate(listen, [path, None]) == [1006], "it never opens, so that a page gives up trying again"


def test_another_origin_gets_no_web_socket(
    neko: PlugvisorStack, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    (tmp_path / "index.html").write_text('<!doctype html><link rel="icon" href="data:,"><title>evil</title>')
    with serve_front_end(tmp_path) as evil:
        page = open_front_end(open_page, evil, neko, ADMIN_CODE)
        for path in ("/ws/admin", f"/ws/logs/_server?code={ADMIN_CODE}"):
            assert page.evaluate("(path) => listen(path, [])", path) == [1006]


def test_the_built_in_page_works_with_the_dialect(
    neko: PlugvisorStack, open_page: Callable[..., Page], appearance: Appearance
) -> None:
    page = open_page(neko.url, appearance, code=ADMIN_CODE)
    expect(find_row(page, "crashed").locator(".word")).to_have_text(appearance.text("error"))
    row = find_row(page, "quick")
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))
    row.get_by_role("button", name=appearance.text("start")).first.click()
    expect(row.locator(".word")).to_have_text(appearance.text("running"))
    row.get_by_role("button", name=appearance.text("stop")).first.click()
    expect(row.locator(".word")).to_have_text(appearance.text("stopped"))
    page.evaluate("location.hash = '#/plugin/quick'")
    page.get_by_role("button", name=appearance.text("editManifest")).click()
    area = page.get_by_role("dialog").get_by_role("textbox", name="plugin.toml")
    expect(area).to_have_value((neko.plugins_dir / "quick" / "plugin.toml").read_text())
