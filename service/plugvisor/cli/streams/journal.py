"""`plugvisor journal`."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import make_query
from plugvisor.cli.moments import read_past, show_time
from plugvisor.cli.output import has_color, make_printable, paint, print_notice
from plugvisor.cli.plugins.matching import find_only, make_filter
from plugvisor.cli.plugins.words import STATUS_COLORS
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

MOST_PER_REQUEST = 1000


def run_journal(arguments: argparse.Namespace) -> int:
    """Print what has happened, oldest first; then, if it was asked for, what happens."""
    if arguments.lines < 0:
        raise ConfigurationError(f"cannot use -n {arguments.lines}: it must be a number from 0")
    patterns = arguments.plugin or []
    only = find_only(patterns)
    query = {"plugin_id": only, "kind": ",".join(arguments.kind or ())}
    # the service selects one plugin; several are selected here
    fits = make_filter(patterns) if patterns and not only else None
    since = read_past("--since", arguments.since) if arguments.since else ""
    client = Client.from_env(os.environ)
    path = f"/journal/stream{make_query(query)}"
    colored = has_color(sys.stdout)
    show = show_json if arguments.json else partial(show_line, colored=colored)
    show_again = show_json if arguments.json else partial(show_latest_line, colored=colored)
    # before the entries that there are: none of those that come meanwhile is missed
    stream = FollowedStream(client, path) if arguments.follow else None
    shown = read_entries(client, {**query, "since": since}, arguments.lines, fits)
    for entry in shown:
        show(entry)
    sys.stdout.flush()
    if stream is not None:
        versions = {entry["id"]: entry.get("times") for entry in shown}
        for event in stream:
            entry = event.data
            if event.name == "gap":
                print_notice("some entries are missing here: the journal has dropped them")
            elif (
                event.name == "entry"
                and (fits is None or fits(entry.get("plugin_id", "")))
                and (entry["id"] not in versions or versions.pop(entry["id"]) != entry.get("times"))
            ):
                show_again(entry)
                sys.stdout.flush()
    return 0


def read_entries(
    client: Client, query: Mapping[str, str], limit: int, fits: Callable[[str], bool] | None = None
) -> list[dict[str, Any]]:
    """The newest entries that fit the query, at most `limit`, oldest first.

    Args:
        fits: whether those of a plugin are wanted; default: of each.
    """
    entries: list[dict[str, Any]] = []
    after = ""
    while len(entries) < limit:
        count = min(limit - len(entries), MOST_PER_REQUEST) if fits is None else MOST_PER_REQUEST
        page = client.call("GET", f"/journal{make_query({**query, 'limit': count, 'after': after})}")
        entries += [entry for entry in page["entries"] if fits is None or fits(entry.get("plugin_id", ""))]
        after = page.get("after", "")
        if not after:
            break
    return entries[:limit][::-1]


def show_json(entry: Mapping[str, Any]) -> None:
    """Print an entry as the API has it."""
    print(json.dumps(entry))


def show_line(entry: Mapping[str, Any], *, colored: bool) -> None:
    """Print an entry of a list."""
    words = describe(entry)
    if "times" in entry:
        words += f", {entry['times']} times until {show_time(entry['until'])}"
    _print_line(entry["at"], entry, words, colored=colored)


def show_latest_line(entry: Mapping[str, Any], *, colored: bool) -> None:
    """Print an entry that has just been added or has counted up."""
    words = describe(entry)
    if "times" in entry:
        words += f", {entry['times']} times since {show_time(entry['at'])}"
    _print_line(entry.get("until", entry["at"]), entry, words, colored=colored)


def _print_line(at: str, entry: Mapping[str, Any], words: str, *, colored: bool) -> None:
    words = make_printable(words)
    head = [f"{entry.get('plugin_id', '-'):<16}", f"{entry['kind']:<9}"]
    if colored:
        words = paint(words, _choose_color(entry))
    print("  ".join([show_time(at), *map(make_printable, head), words]))


def _choose_color(entry: Mapping[str, Any]) -> str:
    """Red for what has failed, and for a status that of `plugvisor events`."""
    has_failed = entry.get("outcome", "ok") != "ok" or entry.get("health") == "unhealthy"
    if has_failed or (entry["kind"] == "service" and entry.get("verb") in ("lost", "unavailable", "incomplete")):
        return "red"
    return STATUS_COLORS.get(entry.get("status", ""), "")


def describe(entry: Mapping[str, Any]) -> str:
    """An entry in words: what happened, and who did it."""
    words = []
    names = ("subject", "verb") if entry["kind"] == "service" else ("verb", "subject")
    words.append(" ".join(entry[name] for name in names if name in entry))
    if "status" in entry:
        words.append(f"{entry['status']} ({entry['state']})" if "state" in entry else entry["status"])
    words += [entry[name] for name in ("health", "outcome") if name in entry]
    if "milliseconds" in entry:
        words.append(f"{entry['milliseconds']} ms")
    words += [f"{len(ids)} {change}" for change, ids in entry.get("changes", {}).items() if ids]
    if "last_exit" in entry and "detail" not in entry:  # else that says it
        ended = entry["last_exit"]
        how = f"exit code {ended['code']}" if "code" in ended else str(ended.get("signal", ""))
        words.append(f"after {how}" if entry.get("status") == "starting" else how)
    if "identity" in entry:
        words.append(f"by {entry['identity']}" + (f" from {entry['address']}" if "address" in entry else ""))
    if "detail" in entry:
        words.append(entry["detail"])
    return ", ".join(word for word in words if word)
