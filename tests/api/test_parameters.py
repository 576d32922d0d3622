"""Query parameters and bodies: what is accepted, and the words about what is not."""

from __future__ import annotations

import json
import math
from urllib.parse import quote

import pytest
from plugvisor.api.endpoint import BODY_EXAMPLE
from plugvisor.api.parameters import (
    HistoryQuery,
    LogQuery,
    PluginQuery,
    Query,
    WaitQuery,
    decode_body,
    decode_query,
)
from plugvisor.errors import InvalidRequest
from plugvisor.models.outcome import MOST_PLUGINS, PluginIds

BAD_BODIES = [
    b"x", b" \n", b"[]", b"1", b"null", b'"a"', b'{"plugin_ids": null}', b'{"plugin_ids": "a"}', b'{"plugin_ids": [1]}',
    b'{"plugin_ids": [null]}', b'{"plugin_ids": ["a"], "more": 1}', b'{"more": []}', b'{"plugin_ids": [[]]}',
    b'{"plugin_ids": ["\\ud800"]}', b'{"plugin_ids": NaN}', b"[" * 100_000, b'{"plugin_ids":' * 50_000, b"9" * 10_000,
    b'{"more":' + b"[" * 100_000, b'{"plugin_ids": ["a"]', b"\xff\xfe", b'\xef\xbb\xbf{"plugin_ids": 1}', b"\0",
    b'{"plugin_ids": ["\xff"]}', json.dumps({"plugin_ids": ["a"] * (MOST_PLUGINS + 1)}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_bad_bodies(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body must be JSON like"):
        decode_body(PluginIds, body, BODY_EXAMPLE)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", None),
        (b"{}", None),
        (b'{"plugin_ids": []}', []),
        (BODY_EXAMPLE.encode(), ["one", "other"]),
        ('{"plugin_ids": ["ä", "", "a"]}'.encode(), ["ä", "", "a"]),
    ],
)
def test_good_bodies(body: bytes, names: list[str] | None) -> None:
    decoded = decode_body(PluginIds, body, BODY_EXAMPLE)
    assert decoded == (PluginIds() if names is None else PluginIds(plugin_ids=names))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", None),
        (b"wait=", None),
        (b"other=1", None),
        (b"wait=0", 0.0),
        (b"wait=300", 300.0),
        (b"wait=0.25&other=x", 0.25),
        (b"wait=1&other=" + b"x" * 1000, 1.0),
    ],
)
def test_good_waits(query: bytes, expected: float | None) -> None:
    assert decode_query(WaitQuery, query).wait_seconds == expected


@pytest.mark.parametrize("text", ["-1", "300.01", "nan", "inf", "-inf", "1e999", "x", "1s", "null", "true", "½", "1,5"])
def test_bad_waits(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^`wait` must be a number from 0 to 300$") as caught:
        decode_query(WaitQuery, f"wait={quote(text)}".encode())
    assert caught.value.parameter == "wait"


@pytest.mark.parametrize(
    ("kind", "query", "words"),
    [
        (HistoryQuery, "limit=0", "`limit` must be a whole number from 1 to 600"),
        (HistoryQuery, "limit=601", "`limit` must be a whole number from 1 to 600"),
        (HistoryQuery, "limit=1e2", "`limit` must be a whole number from 1 to 600"),
        (HistoryQuery, "limit=5.0", "`limit` must be a whole number from 1 to 600"),
        (HistoryQuery, "limit=1.5", "`limit` must be a whole number from 1 to 600"),
        (LogQuery, "lines=-5", "`lines` must be a whole number from 1 to 10000"),
        (LogQuery, "search=" + "x" * 201, "`search` must be text of at most 200 characters"),
    ],
)
def test_words_about_what_is_invalid(kind: type[Query], query: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_query(kind, query.encode())
    assert str(caught.value) == words
    assert caught.value.parameter == query.partition("=")[0]


def test_an_empty_parameter_counts_as_absent() -> None:
    assert decode_query(PluginQuery, b"plugin_id=") == PluginQuery()
    assert decode_query(HistoryQuery, b"limit=&start_time=&end_time=") == HistoryQuery()
    assert decode_query(HistoryQuery, b"").period == (-math.inf, math.inf)


def test_times() -> None:
    query = decode_query(HistoryQuery, b"start_time=1970-01-01T00:00:01Z&end_time=1970-01-01T01:00:02%2B01:00")
    assert query.period == (1.0, 2.0)
    for bad in (b"start_time=x", b"end_time=2026-13-01", b"start_time=2026-01-02&end_time=2026-01-01"):
        with pytest.raises(InvalidRequest):
            decode_query(HistoryQuery, bad).period  # noqa: B018 - it is computed when it is read


@pytest.mark.parametrize("query", [b"wait=1&wait=1", b"wait=1&wait=2", b"wait=&wait=1", b"wait=x&other=1&wait=1"])
def test_a_parameter_is_given_once(query: bytes) -> None:
    with pytest.raises(InvalidRequest, match="`wait` can be given once") as caught:
        decode_query(WaitQuery, query)
    assert caught.value.parameter == "wait"
    assert decode_query(WaitQuery, b"other=1&other=2&wait=1").wait == 1.0
