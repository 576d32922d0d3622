"""Text from manifests and logs never becomes markup or script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import load
from tests.helpers.page import Appearance, find_row
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack

IMAGE = "<img src=x onerror=hacked()>"
MARKUP = f"{IMAGE}<script>hacked()</script>"
NAME = f"{MARKUP}\u202egpj.exe"
DESCRIPTION = "</p><svg onload=hacked()>'\\\"><style>*{display:none}</style><a href='javascript:hacked()'>x</a>"
PRINTER = f"""\
import sys
for line in (
    {MARKUP!r},
    "\\x1b[31m" + {MARKUP!r} + "\\x1b[0m",
    "\\x1b]8;;javascript:hacked()\\x07link\\x1b]8;;\\x07",
    "\\x1b[38;5;999999m\\x1b[;;;;m\\x1b[99999999999999999999mnumbers",
    "\\x1b[" + "1;" * 1500 + "mmany",
    "\\x9b31mC1 \\x00\\x08\\x1b(0 \\x1bPq#0\\x1b\\\\ controls",
    "INFO data-rank='x' class=\\"y\\"",
    "x" * 100_000,
):
    print(line)
sys.stdout.buffer.write(b"\\xff\\xfe bytes\\n")
print({MARKUP!r}, file=sys.stderr, flush=True)
sys.exit(1)
"""


def watch(page: Page) -> None:
    """Record scripts that run and violations of the policy."""
    page.context.add_init_script(
        """window.incidents = [];
        window.hacked = () => window.incidents.push("ran");
        document.addEventListener("securitypolicyviolation", (event) => window.incidents.push(event.violatedDirective));
        """
    )


def test_text_is_only_ever_text(
    stack: PlugvisorStack, open_page: Callable[..., Page], add: Callable[..., Path]
) -> None:
    folder = add("hostile", PRINTER, is_running=False)
    (folder / "plugin.toml").write_text(
        f"[plugin]\nid = \"hostile\"\nname = '''{NAME}'''\nversion = '{MARKUP}'\n"
        f"description = '''{DESCRIPTION}'''\nauthor = '{MARKUP}'\ncommand = ['python', 'main.py', '{MARKUP}']\n"
        "[plugin_runtime]\nauto_start = false\nsupervisor.startretries = 0\nsupervisor.startsecs = 60\n"
    )
    invalid = stack.plugins_dir / IMAGE
    invalid.mkdir()
    (invalid / "plugin.toml").write_text(f"[plugin]\nid = '''{MARKUP}'''\n")
    assert IMAGE in stack.post("/plugins/refresh").json()["invalid"]
    stack.post("/plugin/hostile/reload")
    page = open_page("about:blank")
    watch(page)
    load(page, f"{stack.url}/#code={ADMIN_CODE}")
    row = find_row(page, "hostile")
    expect(row.get_by_role("link")).to_have_text(NAME)
    expect(row.locator(".description")).to_have_text(DESCRIPTION)
    expect(row.locator(".tail")).to_contain_text(MARKUP)
    expect(page.get_by_role("link", name=IMAGE, exact=True)).to_be_visible()
    page.goto(f"{stack.url}/#/plugin/hostile")
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    expect(page.locator(".facts")).to_contain_text(f"'{MARKUP}'")
    lines = page.locator(".line")
    expect(lines).to_have_count(10)
    assert lines.nth(0).inner_text() == MARKUP
    expect(lines.nth(1).locator(".fg1")).to_have_text(MARKUP)
    assert lines.nth(2).inner_text() == "link"
    assert lines.nth(3).inner_text() == "numbers"
    assert lines.nth(4).inner_text() == "many"
    assert "\x1b" not in page.content()
    assert page.locator("img, style, a[href^=javascript], #view script").count() == 0
    assert page.locator("[onload], [onerror], [style]").count() == 0
    assert page.evaluate("window.incidents") == []


def test_the_policy_stops_markup_that_got_in(stack: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    page = open_page("about:blank", expected=r"Content Security Policy|Trusted")
    watch(page)
    response = page.goto(stack.url)
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    tried = page.evaluate(
        """async () => {
          const outcomes = [];
          try { document.body.innerHTML = "<img src=x onerror=hacked()>"; outcomes.push("markup"); } catch { }
          const script = document.createElement("script");
          try { script.text = "hacked()"; document.body.append(script); } catch { }
          try { document.body.setAttribute("onclick", "hacked()"); document.body.click(); } catch { }
          await fetch("https://example.com/").then(() => outcomes.push("fetched"), () => {});
          return outcomes;
        }"""
    )
    assert tried == []
    incidents = page.evaluate("window.incidents")
    assert "ran" not in incidents
    assert incidents


@pytest.mark.parametrize("name", ["%", "%E4%", "%zz/x"])
def test_an_address_that_cannot_be_decoded(stack: PlugvisorStack, open_page: Callable[..., Page], name: str) -> None:
    page = open_page(f"{stack.url}/#/plugin/{name}")
    expect(page.locator(".empty h1")).to_be_visible()
    expect(page.locator(".empty h1")).to_contain_text(name)
    page.evaluate("location.hash = '#/'")
    expect(find_row(page, "heartbeat")).to_be_visible()


def test_ids_that_every_object_has(
    stack: PlugvisorStack, open_page: Callable[..., Page], add: Callable[..., Path]
) -> None:
    """They are keys like any other."""
    for plugin_id in ("constructor", "toString"):
        add(plugin_id, is_running=False)
        page = open_page(stack.url, code=ADMIN_CODE)
        row = find_row(page, plugin_id)
        button = row.locator("button").first
        for text in ("stop", "start"):
            button.click()
            expect(button).to_have_text(Appearance().text(text))
        stack.wait_for_status(plugin_id, "stopped")
        expect(button).to_have_attribute("aria-disabled", "false")
        expect(row.locator(".trouble")).to_be_hidden()
        assert row.locator(".trouble").text_content() == ""
        assert "undefined" not in str(page.locator("#spoken").text_content())
