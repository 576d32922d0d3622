"""Nothing of a plugin can run in the page: hostile manifests and logs in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.test_list import row_of
from tests.helpers.stack import ADMIN_CODE, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.helpers.stack import PlugvisorStack

MARKUP = "<img src=x onerror=hacked()><script>hacked()</script>"
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


@pytest.fixture(scope="module")
def hostile() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        folder = made.write_plugin("hostile", PRINTER, runtime="auto_start = false")
        (folder / "plugin.toml").write_text(
            f"[plugin]\nid = \"hostile\"\nname = '''{NAME}'''\nversion = \"{MARKUP.replace(chr(34), '')}\"\n"
            f"description = '''{DESCRIPTION}'''\nauthor = '{MARKUP}'\ncommand = ['python', 'main.py', '{MARKUP}']\n"
            f"[plugin_runtime]\nauto_start = false\n[plugin_runtime.supervisor]\nstartretries = 0\n"
        )
        broken = made.plugins_dir / "<img src=x onerror=hacked()>"
        broken.mkdir()
        (broken / "plugin.toml").write_text(f"[plugin]\nid = '''{MARKUP}'''\n")
        made.up()
        made.post("/plugin/hostile/reload")
        yield made


def watch(page: Page) -> None:
    page.context.add_init_script(
        """window.crimes = [];
        window.hacked = () => window.crimes.push("ran");
        document.addEventListener("securitypolicyviolation", (event) => window.crimes.push(event.violatedDirective));"""
    )


def test_hostile_texts_are_texts(hostile: PlugvisorStack, open_page: Callable[..., Page]) -> None:
    page = open_page("about:blank")
    watch(page)
    page.goto(f"{hostile.url}/#code={ADMIN_CODE}")
    row = row_of(page, "hostile")
    expect(row.get_by_role("link")).to_have_text(NAME)
    expect(row.locator(".description")).to_have_text(DESCRIPTION)
    expect(row.locator(".tail")).to_contain_text(MARKUP)
    expect(page.locator(".row")).to_have_count(2)
    page.goto(f"{hostile.url}/#/plugin/hostile")
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
    assert page.evaluate("window.crimes") == []


def test_the_policy_would_stop_what_got_in_all_the_same(
    hostile: PlugvisorStack, open_page: Callable[..., Page]
) -> None:
    page = open_page("about:blank", expected=r"Content Security Policy|Trusted")
    watch(page)
    response = page.goto(hostile.url)
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
    crimes = page.evaluate("window.crimes")
    assert "ran" not in crimes
    assert crimes
