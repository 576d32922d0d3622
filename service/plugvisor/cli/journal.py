"""`plugvisor journal`."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from plugvisor.cli.client import Client, NoAnswer
from plugvisor.cli.moments import read_past, show_time
from plugvisor.cli.output import make_printable
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from plugvisor.cli.client import EventStream

MOST_PER_REQUEST = 1000
RETRY_SECONDS = 1.0


def run_journal(arguments: argparse.Namespace) -> int:
    """Print what has happened, oldest first; then, if it was asked for, what happens."""
    if arguments.limit < 0:
        raise ConfigurationError("cannot use --limit: it must be a number from 0")
    query = {"plugin_id": arguments.plugin or "", "kind": ",".join(arguments.kind or ())}
    since = read_past("--since", arguments.since) if arguments.since else ""
    client = Client.from_env(os.environ)
    path = f"/journal/stream?{_encode(query)}"
    show = _show_json if arguments.json else _show_line
    show_again = _show_json if arguments.json else _show_latest_line
    # before the entries that there are: none of those that come meanwhile is missed
    stream = client.stream(path) if arguments.follow else None
    shown = read_entries(client, {**query, "since": since}, arguments.limit)
    for entry in shown:
        show(entry)
    sys.stdout.flush()
    if stream is not None:
        versions = {entry["id"]: entry.get("times") for entry in shown}
        for entry in follow(client, stream, path):
            if entry["id"] not in versions or versions.pop(entry["id"]) != entry.get("times"):
                show_again(entry)
                sys.stdout.flush()
    return 0


def read_entries(client: Client, query: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
    """The newest entries, at most `limit`, oldest first."""
    entries: list[dict[str, Any]] = []
    after = ""
    while len(entries) < limit:
        count = min(limit - len(entries), MOST_PER_REQUEST)
        page = client.call("GET", f"/journal?{_encode({**query, 'limit': str(count), 'after': after})}")
        entries += page["entries"]
        after = page.get("after", "")
        if not after:
            break
    return entries[::-1]


def follow(client: Client, stream: EventStream, path: str) -> Iterator[dict[str, Any]]:
    """Each entry as it is added or changes, without an end: the stream is resumed whenever it breaks.

    Raises:
        CommandRejected: the service does not admit this client any more.
    """
    while True:
        try:
            for event in stream:
                if event.name == "gap":
                    print("plugvisor: some entries are missing here: the journal has dropped them", file=sys.stderr)
                elif event.name == "entry":
                    yield event.data
        except NoAnswer as error:
            print(f"plugvisor: {error}", file=sys.stderr)
        stream = _resume(client, path, stream.last_id)


def _resume(client: Client, path: str, last_id: str) -> EventStream:
    while True:
        time.sleep(RETRY_SECONDS)
        try:
            return client.stream(path, last_id)
        except NoAnswer:
            continue
        except CommandRejected as error:
            if error.retry_after is None:
                raise
            time.sleep(error.retry_after)


def _encode(query: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in query.items() if value}, errors="surrogateescape")


def _show_json(entry: Mapping[str, Any]) -> None:
    print(json.dumps(entry))


def _show_line(entry: Mapping[str, Any]) -> None:
    words = describe(entry)
    if "times" in entry:
        words += f", {entry['times']} times until {show_time(entry['until'])}"
    _print_line(entry["at"], entry, words)


def _show_latest_line(entry: Mapping[str, Any]) -> None:
    """Print an entry that has just been added or has counted up."""
    words = describe(entry)
    if "times" in entry:
        words += f", {entry['times']} times since {show_time(entry['at'])}"
    _print_line(entry.get("until", entry["at"]), entry, words)


def _print_line(at: str, entry: Mapping[str, Any], words: str) -> None:
    print(f"{show_time(at)}  {entry.get('plugin_id', '-'):<16}  {entry['kind']:<9}  {make_printable(words)}")


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
