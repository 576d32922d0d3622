"""The editor of a manifest. The service's part comes from `FakeInstallation`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.helpers.accessibility import check_accessibility
from tests.helpers.page_events import make_item

if TYPE_CHECKING:
    from typing import Any

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import OpenInstalling
    from tests.helpers.fake_installation import FakeInstallation
    from tests.helpers.page import Appearance

LINES = ["[plugin]", 'id = "demo"', 'command = ["python", "main.py"]', "", *(f"# line {n}" for n in range(5, 61))]
TEXT = "\n".join(LINES) + "\n"


def open_editor(
    open_installing: OpenInstalling, appearance: Appearance, text: str = TEXT, **fields: Any
) -> tuple[Page, FakeInstallation, Locator]:
    """Open the editor of `demo`; the last is its text field."""
    page, fake = open_installing(make_item("demo"), plugin_id="demo", text=text, **fields)
    page.locator(".installed").get_by_role("button", name=appearance.text("editManifest")).click()
    area = page.get_by_role("dialog").get_by_role("textbox", name="plugin.toml")
    expect(area).to_have_value(text.replace("\r\n", "\n"))
    return page, fake, area


def press(page: Page, name: str) -> None:
    """Press a button of the editor."""
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def find_caret(area: Locator) -> tuple[int, int]:
    """Line and column of the caret, from 1."""
    before: str = area.evaluate("(area) => area.value.slice(0, area.selectionStart)")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def test_a_change_is_reviewed_and_saved(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake, area = open_editor(open_installing, appearance)
    dialog = page.get_by_role("dialog")
    expect(area).to_be_focused()
    expect(dialog.locator(".numbers span")).to_have_count(len(LINES) + 1)
    expect(dialog.get_by_role("button", name=appearance.text("reload"))).to_be_hidden()
    check_accessibility(page)
    press(page, appearance.text("review"))
    expect(dialog.locator(".note")).to_have_text(appearance.text("nothingChanged"))
    area.fill(TEXT.replace('"main.py"', '"other.py"').replace("# line 40\n", ""))
    press(page, appearance.text("review"))
    diff = dialog.locator(".diff")
    expect(diff).to_be_focused()
    expect(diff.locator(".removed code")).to_have_text(['command = ["python", "main.py"]', "# line 40"])
    expect(diff.locator(".added code")).to_have_text('command = ["python", "other.py"]')
    # the signs are there without colours, and in words for who sees neither
    expect(diff.locator(".added .sign")).to_have_text(f"+{appearance.text('added')}")
    expect(diff.locator(".gap")).to_have_count(1)
    expect(dialog.locator(".review .hint")).to_have_text(appearance.text("differences", 1, 2))
    check_accessibility(page)
    assert not fake.requests
    etag = fake.etag
    fake.config["reload_needed"] = True
    dialog.get_by_role("button", name=appearance.text("save")).dblclick()
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    assert fake.headers["if-match"] == etag
    assert '"other.py"' in fake.text
    assert fake.requests == [("PUT", "/plugin/demo/config/toml", {})]
    check_accessibility(page)

    with page.expect_request("**/plugin/demo/reload"):
        press(page, appearance.text("reload"))
    # what was saved is what further changes are compared to
    press(page, appearance.text("review"))
    expect(dialog.locator(".note")).to_have_text(appearance.text("nothingChanged"))
    press(page, appearance.text("close"))
    expect(dialog).to_have_count(0)
    edit = page.locator(".installed").get_by_role("button", name=appearance.text("editManifest"))
    expect(edit).to_be_focused()


def test_a_double_click_saves_once(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake, area = open_editor(open_installing, appearance)
    dialog = page.get_by_role("dialog")
    area.fill("# changed")
    press(page, appearance.text("review"))
    save = dialog.get_by_role("button", name=appearance.text("save"), exact=True)
    save.evaluate("(button) => { button.click(); button.click(); }")
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    assert len(fake.requests) == 1
    area.fill("# changed again")
    press(page, appearance.text("review"))
    press(page, appearance.text("save"))
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    assert fake.text == "# changed again"


def test_an_error_is_marked_at_its_line(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake, area = open_editor(open_installing, appearance)
    area.fill(TEXT + "wrong = = 1\n")
    fake.problems["PUT /plugin/demo/config/toml"] = {
        "status": 422, "code": "invalid_manifest", "detail": "a value is missing", "line": 61, "column": 9
    }  # fmt: skip
    press(page, appearance.text("review"))
    press(page, appearance.text("save"))
    expect(area).to_be_focused()
    expect(area).to_have_attribute("aria-invalid", "true")
    expect(area).to_have_accessible_description(
        f"{appearance.text('atColumn', 61, 9)} a value is missing {appearance.text('goToLine', 61)} "
        f"{appearance.text('tabHint')}"
    )
    assert find_caret(area) == (61, 9)
    assert fake.text == TEXT
    # the band lies behind its line, which is in view
    band = page.locator(".band")
    expect(band).to_be_visible()
    where = area.evaluate("""(area) => {
        const field = area.parentElement.getBoundingClientRect();
        const band = area.previousElementSibling.getBoundingClientRect();
        return [band.top - field.top, field.height, area.scrollTop];
    }""")
    assert where[0] == 10 + 60 * 20 - where[2], where
    assert 0 < where[0] < where[1] - 20, where
    check_accessibility(page)
    area.press("ControlOrMeta+Home")
    press(page, appearance.text("goToLine", 61))
    assert find_caret(area) == (61, 9)
    area.press("Backspace")
    expect(band).to_be_hidden()
    expect(page.locator("#manifest-problem")).to_be_empty()


def test_what_was_invalid_before_is_marked_at_once(open_installing: OpenInstalling, appearance: Appearance) -> None:
    config = {"writable": True, "reload_needed": False, "problem": "a value is missing", "line": 3}
    page, _, area = open_editor(open_installing, appearance, config=config)
    expect(page.locator("#manifest-problem")).to_contain_text(appearance.text("atLine", 3))
    expect(page.locator(".band")).to_be_visible()
    assert find_caret(area) == (3, 1)


def test_it_was_changed_meanwhile(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake, area = open_editor(open_installing, appearance)
    dialog = page.get_by_role("dialog")
    area.fill(TEXT.replace("# line 10", "# mine"))
    fake.text = TEXT.replace("# line 20", "# theirs")
    press(page, appearance.text("review"))
    press(page, appearance.text("save"))
    expect(dialog).to_contain_text(appearance.text("conflictTitle"))
    expect(dialog.locator(".removed code")).to_have_text(["# line 10", "# theirs"])
    expect(dialog.locator(".added code")).to_have_text(["# mine", "# line 20"])
    check_accessibility(page)
    press(page, appearance.text("takeNewer"))
    expect(area).to_have_value(fake.text)

    area.fill(TEXT.replace("# line 10", "# mine"))
    fake.text = TEXT.replace("# line 20", "# again theirs")
    press(page, appearance.text("review"))
    press(page, appearance.text("save"))
    expect(dialog).to_contain_text(appearance.text("conflictTitle"))
    press(page, appearance.text("overwrite"))
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    assert fake.text == TEXT.replace("# line 10", "# mine")


def test_an_earlier_text_comes_back(open_installing: OpenInstalling, appearance: Appearance) -> None:
    earlier = [TEXT.replace("main", "before"), TEXT.replace("main", "first")]
    page, fake, area = open_editor(open_installing, appearance, earlier=list(earlier))
    dialog = page.get_by_role("dialog")
    choose = dialog.get_by_role("combobox", name=appearance.text("earlier"))
    expect(choose.get_by_role("option")).to_have_count(3)
    choose.select_option("2")
    expect(area).to_have_value(earlier[1])
    expect(dialog.locator(".note")).to_have_text(appearance.text("earlierTaken"))
    # it is a change like any other: taking another one asks
    choose.select_option("1")
    press(page, appearance.text("cancel"))
    expect(area).to_have_value(earlier[1])
    press(page, appearance.text("review"))
    press(page, appearance.text("save"))
    expect(dialog.locator(".note b")).to_have_text(appearance.text("saved"))
    assert fake.text == earlier[1]
    expect(choose.get_by_role("option")).to_have_count(4)


def test_changes_are_not_lost_by_accident(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake, area = open_editor(open_installing, appearance)
    area.press("Escape")
    area.press("Escape")
    expect(area).to_have_count(0)  # nothing to lose
    page.locator(".installed").get_by_role("button", name=appearance.text("editManifest")).click()
    expect(area).to_have_value(TEXT)
    area.press("x")
    area.press("Escape")
    area.press("Escape")
    question = page.get_by_role("dialog", name=appearance.text("discardTitle"))
    expect(question).to_be_visible()
    check_accessibility(page)
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(area).to_have_value("x" + TEXT)
    # another address, and another page
    page.evaluate("location.hash = '#/'")
    expect(page.locator(".row")).to_have_count(1)
    area.press("/")  # anywhere else it moves to the search field
    expect(area).to_have_value("x/" + TEXT)
    area.press("Backspace")
    page.once("dialog", lambda dialog: dialog.dismiss())
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    expect(area).to_have_value("x" + TEXT)
    press(page, appearance.text("close"))
    question.locator(".primary").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not fake.requests


def test_the_tab_key(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, _, area = open_editor(open_installing, appearance)
    area.press("Tab")
    expect(area).to_have_value("  " + TEXT)
    area.press("ControlOrMeta+z")
    expect(area).to_have_value(TEXT)
    area.press("Escape")
    expect(page.locator("#spoken")).to_contain_text(appearance.text("tabLeaves"))
    expect(area).to_be_visible()
    area.press("Tab")
    expect(area).not_to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(area).to_be_focused()
    area.press("Tab")
    expect(area).to_have_value("  " + TEXT)
    area.press("Shift+Tab")
    expect(area).not_to_be_focused()


def test_line_breaks_stay_as_they_are(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, fake, area = open_editor(open_installing, appearance, TEXT.replace("\n", "\r\n"))
    press(page, appearance.text("review"))
    expect(page.locator(".editor .note")).to_have_text(appearance.text("nothingChanged"))
    area.fill(TEXT + "# more\n")
    press(page, appearance.text("review"))
    expect(page.locator(".diff .added")).to_have_count(1)
    press(page, appearance.text("save"))
    expect(page.locator(".editor .note b")).to_have_text(appearance.text("saved"))
    assert fake.text == (TEXT + "# more\n").replace("\n", "\r\n")


def test_what_cannot_be_written(open_installing: OpenInstalling, appearance: Appearance) -> None:
    page, _, area = open_editor(open_installing, appearance, config={"writable": False, "reload_needed": False})
    expect(area).not_to_be_editable()
    expect(page.locator(".editor .note")).to_have_text(appearance.text("notWritable"))
    expect(page.get_by_role("dialog").get_by_role("button", name=appearance.text("review"))).to_have_count(0)
    check_accessibility(page)
    area.press("Tab")
    expect(area).not_to_be_focused()


def test_a_text_that_cannot_be_fetched(open_installing: OpenInstalling, appearance: Appearance) -> None:
    problem = {"status": 503, "code": "supervisor_unavailable", "detail": "it does not answer"}
    page, _ = open_installing(make_item("demo"), plugin_id="demo", problems={"GET /plugin/demo/config": problem})
    page.locator(".installed").get_by_role("button", name=appearance.text("editManifest")).click()
    expect(page.locator("#manifest-problem")).to_contain_text("it does not answer")
    press(page, appearance.text("close"))
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_text_is_only_ever_text(open_installing: OpenInstalling, appearance: Appearance) -> None:
    text = "# <img src=x onerror=alert(1)>\n# ${1+1} &amp;\n"
    page, _, area = open_editor(open_installing, appearance, text)
    area.fill(text + "# <script>alert(1)</script>\n")
    press(page, appearance.text("review"))
    expect(page.locator(".diff code").first).to_have_text("# <img src=x onerror=alert(1)>")
    expect(page.locator(".diff").locator("img, script")).to_have_count(0)


def test_differences_lead_from_one_text_to_the_other(open_installing: OpenInstalling) -> None:
    """With random texts; a text that is too long for an exact comparison, too."""
    page, _ = open_installing(make_item("demo"))
    chance = random.Random(14)
    pairs = [["", ""], ["a\n", "a"], ["a\nb\nc", "a\nc"]]
    pairs += [["\n".join(chance.choices("abcd", k=chance.randrange(12))) for _ in range(2)] for _ in range(200)]
    pairs.append(["\n".join(chance.choices("abcd", k=3000)) for _ in range(2)])
    script = """async (pairs) => {
        const { compare } = await import("/ui/diff.js");
        return pairs.map(([before, after]) => compare(before, after));
    }"""
    for (before, after), lines in zip(pairs, page.evaluate(script, pairs), strict=True):
        assert [line for kind, line, _ in lines if kind != "added"] == before.split("\n")
        assert [line for kind, line, _ in lines if kind != "removed"] == after.split("\n")
        if len(before) < 100:
            kept = sum(kind == "same" for kind, _, _ in lines)
            assert kept == find_longest(before.split("\n"), after.split("\n"))


def find_longest(one: list[str], other: list[str]) -> int:
    """The length of a longest common subsequence."""
    row = [0] * (len(other) + 1)
    for left in one:
        last = row
        row = [0]
        for index, right in enumerate(other):
            row.append(last[index] + 1 if left == right else max(last[index + 1], row[-1]))
    return row[-1]
