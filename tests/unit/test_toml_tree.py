"""A JSON object written into a manifest's text: what stays is as it was, and what is there is what was sent."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.api.dialects.neko.toml_tree import MOST_LEVELS, MOST_VALUES, put_tree
from plugvisor.errors import InvalidRequest
from plugvisor.manager.installation.manifest_file import make_json

TEXT = """\
# What this is.
[plugin]
id = 'slow'   # not to be changed
command = ["python", "main.py"]

[plugin_runtime]
auto_start = false
supervisor.startsecs = 3

[settings]
# how many
count = 0x10
ratio = 1.0
since = 1979-05-27T07:32:00Z
day = 1979-05-27
never = inf
large = 9007199254740993
hosts = [
  "a", # the first
  "b",
]

[[plugin.dependency]]
id = "one" # needed
[[plugin.dependency]]
id = "other"
"""


def read(text: str) -> dict[str, Any]:
    """The values as a browser has them: it knows but one kind of number, and none is larger than 2^53."""
    tree: dict[str, Any] = make_json(tomllib.loads(text))
    tree["settings"]["ratio"] = 1
    tree["settings"]["large"] = 9007199254740992
    return tree


def put(tree: dict[str, Any], text: str = TEXT) -> str:
    return put_tree(text.encode(), tree).decode()


def test_a_number_that_no_browser_has() -> None:
    text = f"large = {'9' * 4000}\n"
    assert put({"large": float("inf")}, text) == text
    assert put({"large": 1}, text) == "large = 1\n"


def test_the_same_values_leave_the_text_as_it_is() -> None:
    assert put(read(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ("settings.count", 17, "count = 0x10", "count = 17"),
        ("settings.ratio", 2, "ratio = 1.0", "ratio = 2.0"),
        ("settings.ratio", 1.5, "ratio = 1.0", "ratio = 1.5"),
        ("settings.ratio", True, "ratio = 1.0", "ratio = true"),
        ("settings.day", "1980-01-01", "day = 1979-05-27\n", "day = 1980-01-01\n"),
        ("settings.day", "someday", "day = 1979-05-27\n", 'day = "someday"\n'),
        ("settings.since", "1980-01-01T00:00:00+00:00", "1979-05-27T07:32:00Z", "1980-01-01T00:00:00Z"),
        ("settings.large", 1, "9007199254740993", "1"),
        ("settings.hosts", ["a", "c"], '"b"', '"c"'),
        ("settings.hosts", ["x", "b"], '"a", # the first', '"x", # the first'),
        ("plugin.id", "fast", "'slow'   # not", '"fast"   # not'),
        ("plugin_runtime.supervisor.startsecs", 4, "startsecs = 3", "startsecs = 4"),
        ("plugin.dependency.0.id", "two", '"one" # needed', '"two" # needed'),
    ],
)
def test_one_value_changes_one_place(path: str, value: Any, before: str, after: str) -> None:
    tree = read(TEXT)
    *parents, last = path.split(".")
    table: Any = tree
    for name in parents:
        table = table[int(name)] if name.isdigit() else table[name]
    table[last] = value
    assert put(tree) == TEXT.replace(before, after)


def test_what_is_not_sent_is_removed_and_what_is_new_is_added() -> None:
    tree = read(TEXT)
    del tree["settings"]["count"]
    del tree["plugin"]["dependency"][1]
    tree["settings"]["new"] = {"a": [1, {"b": "c"}]}
    tree["more"] = {"x": "line\nbreak", "": 'quo"te'}
    text = put(tree)
    assert make_json(tomllib.loads(text)) == make_json(tomllib.loads(TEXT)) | {
        "settings": {key: value for key, value in make_json(tomllib.loads(TEXT))["settings"].items() if key != "count"}
        | {"new": {"a": [1, {"b": "c"}]}},
        "plugin": tree["plugin"],
        "more": tree["more"],
    }
    assert "# What this is." in text
    assert '"a", # the first' in text


def test_a_byte_order_mark_stays() -> None:
    assert put_tree(b"\xef\xbb\xbfa = 1 # one\n", {"a": 2}) == b"\xef\xbb\xbfa = 2 # one\n"


def test_line_breaks_of_windows_stay() -> None:
    text = b'[a]\r\nb = """\r\none\r\ntwo"""\r\nc = 1 # one\r\n'
    tree: dict[str, Any] = {"a": {"b": "one\ntwo", "c": 1}}
    assert put_tree(text, tree) == text
    tree["a"] |= {"c": 2, "d": "\r\n"}
    written = put_tree(text, tree)
    assert written == text.replace(b"1 # one", b"2 # one") + b'd = "\\r\\n"\r\n'
    assert tomllib.loads(written.decode()) == tree


@pytest.mark.parametrize("value", [None, [None], {"b": None}])
def test_null_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="null"):
        put_tree(b"a = 1\n", {"a": value})


def nest(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return {"a": value}


@pytest.mark.parametrize(
    ("text", "tree", "words"),
    [
        ("", nest(MOST_LEVELS), "levels"),
        ("", nest(5000), "levels"),
        ("", {"a": [1] * MOST_VALUES}, "values"),
        ("", {str(number): {"b": 1} for number in range(MOST_VALUES // 2)}, "values"),
        (f"a = {[1] * MOST_VALUES}\n", {}, "values"),
    ],
    ids=range(5),
)
def test_what_would_take_long_is_refused(text: str, tree: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        put(tree, text)


def test_as_much_as_there_may_be() -> None:
    tree = {"a": [1] * (MOST_VALUES - 2)}
    assert tomllib.loads(put(nest(MOST_LEVELS - 2), "")) == nest(MOST_LEVELS - 2)
    assert tomllib.loads(put(tree, "")) == tree


KEYS = st.text(max_size=4) | st.sampled_from(["a", "b", "c", "x"])
LEAVES = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)
TEXTS = ["", TEXT, "a.b.c = 1\na.d = 2\n[x]\ny = {z = 1, w = [1, 2]}\n[b]\n[c.d]\nq = 1\n[b.e]\nr = 2\n"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(TEXTS) | TREES.map(tomlkit.dumps), TREES)
def test_whatever_is_sent_is_what_is_there(before: str, tree: dict[str, Any]) -> None:
    try:
        tomllib.loads(before)
    except tomllib.TOMLDecodeError:  # tomlkit writes some keys as it cannot read them
        return
    written = put_tree(before.encode(), tree)
    assert tomllib.loads(written.decode()) == tree
    assert put_tree(written, tree) == written
