"""The existing front end that the dialect is for, through every view, from the same origin and from another.

It is not part of this repository: `PLUGVISOR_TEST_FRONT_END` names the folder that its build has made, whose base path
is `/ui/`. Without it these tests are skipped. A version that asks for no code has a proxy that adds it.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.helpers.front_end_server import OWN_ORIGIN, serve_front_end
from tests.helpers.stack import PlugvisorStack, run_stack
from tests.helpers.token_proxy import run_token_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page

FOLDER = os.environ.get("PLUGVISOR_TEST_FRONT_END", "")
if not FOLDER:
    pytest.skip("PLUGVISOR_TEST_FRONT_END names no built front end", allow_module_level=True)

ASKS_FOR_CODE = any("/login" in file.read_text() for file in Path(FOLDER).rglob("*.js"))
CODE = "ABCD"
ITS_OWN = "Response error"
"""What it logs itself of every response that is an error."""
ONE_LINE = "import signal\nprint('2026-11-22 12:00:00 WARNING a line of a log', flush=True)\nsignal.pause()\n"
MANIFEST = """\
# A comment that stays.
[plugin]
id = "slow"
name = "A slow one"
command = ["python", "main.py"]
[plugin_runtime]
auto_start = false
supervisor.startsecs = 2
[settings]
count = 3
"""


class FrontEnd:
    """One page of it, signed in."""

    def __init__(self, page: Page, stack: PlugvisorStack, url: str, api_url: str) -> None:
        self.page = page
        self.stack = stack
        self.url = url
        self.api_url = api_url

    def open(self, path: str = "") -> Locator:
        """Open a view; returns its main part."""
        self.page.goto(f"{self.url}/ui/{path}")
        return self.page.locator("main")

    def open_with_socket(self, path: str, socket: str) -> Locator:
        """Open a view that opens a WebSocket; returns its main part."""
        with self.page.expect_websocket(lambda opened: f"/ws/{socket}" in opened.url):
            return self.open(path)


@pytest.fixture(scope="module", params=["same origin", "other origin"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[PlugvisorStack, str, str]]:
    """A Plugvisor with the dialect, and the addresses of the front end and of the API."""
    folder = Path(FOLDER)
    assert (folder / "index.html").is_file(), f"{FOLDER} is no built front end"
    with contextlib.ExitStack() as exits:
        stack = exits.enter_context(run_stack())
        api_url = stack.url if ASKS_FOR_CODE else exits.enter_context(run_token_proxy(stack, CODE))
        server = exits.enter_context(serve_front_end(folder, api_url))
        stack.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_ADMIN_CODE": CODE}
        if is_same := request.param == "same origin":
            stack.environ["PLUGVISOR_PAGE_DIR"] = str(folder)
        else:
            assert any(OWN_ORIGIN in file.read_text() for file in folder.rglob("*.js")), "its API address is another"
            stack.environ["PLUGVISOR_CORS_ORIGINS"] = server.url
        stack.write_plugin("talks", ONE_LINE)
        stack.write_plugin("failed", "raise SystemExit(3)", runtime="supervisor.startretries = 0")
        stack.write_plugin("off", runtime="enabled = false")
        (stack.write_plugin("slow") / "plugin.toml").write_text(MANIFEST)
        stack.up()
        stack.wait_for_state("failed", "FATAL")
        stack.wait_for_state("talks", "RUNNING")
        yield stack, api_url if is_same else server.url, api_url


@pytest.fixture
def sign_in(
    served: tuple[PlugvisorStack, str, str], open_page: Callable[..., Page]
) -> Iterator[Callable[..., FrontEnd]]:
    """Opens it and signs in; its console may have no error but what is expected, and nothing it asks for is 404."""
    missing: list[str] = []

    def sign_in(**options: str) -> FrontEnd:
        signed_in = FrontEnd(open_page("about:blank", **options), *served)
        signed_in.page.on("response", lambda response: response.status == 404 and missing.append(response.url))
        if not ASKS_FOR_CODE:
            return signed_in
        signed_in.open("login")
        signed_in.page.locator("input").first.fill(CODE.lower())  # it makes capitals of them
        signed_in.page.keyboard.press("Enter")  # later versions send them by themselves
        signed_in.page.wait_for_url(re.compile(r"/ui/$"))
        return signed_in

    yield sign_in
    assert not missing


@pytest.fixture
def front_end(sign_in: Callable[..., FrontEnd]) -> FrontEnd:
    """It, signed in."""
    return sign_in()


def test_the_dashboard_counts(front_end: FrontEnd) -> None:
    main = front_end.open()
    expect(main).to_contain_text(re.compile(r"4\D+1\D+1\D+1"))  # all, running, stopped, crashed
    expect(main).to_contain_text(front_end.stack.get("/server/info", CODE).json()["sdk_version"])


@pytest.mark.skipif(not ASKS_FOR_CODE, reason="this version asks for no code")
def test_a_wrong_code_is_refused(served: tuple[PlugvisorStack, str, str], open_page: Callable[..., Page]) -> None:
    _, url, _ = served
    page = open_page(f"{url}/ui/login")
    page.locator("input").first.fill("WXYZ")
    expect(page.locator(".el-message--error")).to_be_visible()
    assert page.url.endswith("/login")


def test_the_list_has_a_word_for_each(front_end: FrontEnd) -> None:
    main = front_end.open("plugins")
    for name in ("talks", "failed", "off", "A slow one"):
        expect(main).to_contain_text(name)
    expect(main.locator(".status-indicator, .el-tag").first).to_be_visible()
    main.get_by_role("button").first.click()  # shows what each uses
    expect(main).to_contain_text(re.compile(r"[0-9.]+ MB"))


def test_a_start_shows_running(front_end: FrontEnd) -> None:
    front_end.open("plugins/slow")
    buttons = front_end.page.locator(".plugin-actions button")
    expect(buttons).to_have_count(2)
    start = buttons.first.inner_text()
    buttons.first.click()
    expect(buttons.first).not_to_have_text(start)
    assert front_end.stack.status("slow")["status"] == "running"
    buttons.first.click()  # now it stops
    front_end.page.locator(".el-message-box__btns .el-button--primary").click()
    expect(buttons.first).to_have_text(start)
    assert front_end.stack.status("slow")["state"] == "STOPPED"


def test_a_failure_is_said(sign_in: Callable[..., FrontEnd]) -> None:
    front_end = sign_in(expected=ITS_OWN)
    front_end.open("plugins/failed")
    front_end.page.locator(".plugin-actions button").first.click()
    expect(front_end.page.locator(".el-message--error").filter(has_text="exit code 3")).to_be_visible()


def test_a_disabled_one_has_no_start(front_end: FrontEnd) -> None:
    front_end.open("plugins/off")
    buttons = front_end.page.locator(".plugin-actions button")
    expect(buttons).to_have_count(1)
    expect(buttons).to_be_disabled()


def test_a_configuration_is_shown_and_saved(sign_in: Callable[..., FrontEnd]) -> None:
    """Its editor saves profiles alone, which are not there; its client for the configuration itself saves that."""
    front_end = sign_in(expected=ITS_OWN)
    main = front_end.open("plugins/slow")
    page = front_end.page
    page.locator("#tab-config").click()
    for text in ("slow/plugin.toml", '"count": 3', '"startsecs": 2'):
        expect(main).to_contain_text(text)
    page.locator(".profiles-header button").click()
    page.locator(".el-message-box input").fill("mine")
    page.locator(".el-message-box__btns .el-button--primary").click()
    expect(page.locator(".el-message--error").filter(has_text="there are no configuration profiles")).to_be_visible()
    saved = page.evaluate(
        """async ([url, code]) => {
          const headers = { "Content-Type": "application/json", Authorization: `Bearer ${code}` };
          const { config } = await (await fetch(url, { headers })).json();
          config.settings.count = 4;
          return (await fetch(url, { method: "PUT", headers, body: JSON.stringify({ config }) })).json();
        }""",
        [f"{front_end.api_url}/plugin/slow/config", CODE],
    )
    assert saved["success"], saved
    file = front_end.stack.plugins_dir / "slow" / "plugin.toml"
    assert file.read_text() == MANIFEST.replace("count = 3", "count = 4")
    page.locator(".plugin-config-editor .actions button").first.click()
    expect(main).to_contain_text('"count": 4')
    file.write_text(MANIFEST)


def test_a_configuration_is_saved_from_its_form(front_end: FrontEnd) -> None:
    """In versions of December 2025, whose form saves the configuration itself."""
    front_end.open("plugins/slow")
    page = front_end.page
    page.locator("#tab-config").click()
    count = page.locator(".plugin-config-editor input").last
    expect(page.locator(".plugin-config-editor")).to_be_visible()
    if page.locator(".profiles-header").count() or not count.count():
        pytest.skip("this version saves profiles alone")
    expect(count).to_have_value("3")
    count.fill("4")
    count.press("Tab")
    page.locator(".plugin-config-editor .el-button--primary").first.click()
    expect(page.locator(".el-message--success")).to_be_visible()
    file = front_end.stack.plugins_dir / "slow" / "plugin.toml"
    assert file.read_text() == MANIFEST.replace("count = 3", "count = 4")
    file.write_text(MANIFEST)


def test_each_tab_of_a_plugin_opens(front_end: FrontEnd) -> None:
    main = front_end.open("plugins/talks")
    for name, text in (("info", "talks"), ("entries", ""), ("metrics", " MB"), ("config", "plugin_runtime")):
        front_end.page.locator(f"#tab-{name}").click()
        expect(main.locator(f"#pane-{name}")).to_contain_text(text)


def test_the_menu_of_runs_is_an_empty_page(front_end: FrontEnd) -> None:
    main = front_end.open_with_socket("runs", "admin")
    expect(main.locator(".el-empty")).to_have_count(2)
    expect(main.locator(".el-alert--warning")).to_have_count(0)  # "disconnected"
    expect(front_end.page.locator(".el-message--error")).to_have_count(0)


@pytest.mark.parametrize("plugin_id", ["talks", "_server"])
def test_a_log_is_followed(front_end: FrontEnd, plugin_id: str) -> None:
    main = front_end.open_with_socket(f"logs/{plugin_id}", f"logs/{plugin_id}")
    expect(main).to_contain_text("a line of a log" if plugin_id == "talks" else "listening on")
    expect(main.locator(".el-tag--success").first).to_be_visible()  # "connected"
    path = front_end.stack.log_dir / f"{plugin_id}.log"
    with path.open("a") as log:
        log.write("2026-11-22 12:00:01 INFO one more line\n")
    expect(main).to_contain_text("one more line")
