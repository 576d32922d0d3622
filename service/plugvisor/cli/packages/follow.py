"""Follows an operation until it has ended."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from plugvisor.cli.client import NoAnswer
from plugvisor.cli.connection.paths import quote_part
from plugvisor.cli.output import make_printable, print_notice
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.cli.client import Client

Operation = dict[str, Any]

SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.5
RETRY_SECONDS = 0.5
GIVE_UP_SECONDS = 60.0
"""How long the service may not answer: it may be restarting, and then says that the operation was interrupted."""


def follow(client: Client, operation: Operation, *, quiet: bool) -> Operation:
    """Show an operation until it has ended; returns how.

    The first Ctrl-C cancels it, or says that it cannot be cancelled any more; the second one ends the command.

    Args:
        quiet: show nothing.

    Raises:
        KeyboardInterrupt: Ctrl-C has cancelled it, or ended the command alone; which of both was said.
    """
    path = path_of(operation["id"])
    view = None if quiet else _View()
    has_cancelled = False
    pause = SHORTEST_PAUSE_SECONDS
    while True:
        try:
            operation = _read_patiently(client, path)
            if view is not None:
                view.show(operation)
            if operation["state"] == "cancelled" and has_cancelled:
                break
            if operation["state"] != "running":
                return operation
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except KeyboardInterrupt:
            if view is not None:
                view.clear()
            if has_cancelled:
                print_notice(f"the operation goes on; `plugvisor operations {operation['id']}` shows it")
                raise
            has_cancelled = True
            _cancel(client, path)
    print_notice("cancelled; nothing has changed")
    raise KeyboardInterrupt


def finish(operation: Operation, sentence: str, *, as_json: bool) -> int:
    """Print how an operation has ended; returns the exit status.

    Args:
        sentence: what it has done, if it has succeeded.

    Raises:
        CommandRejected: it has failed, or somebody has cancelled it.
    """
    if as_json:
        print(json.dumps(operation))
    state, problem = operation["state"], operation.get("problem", {})
    if state == "succeeded":
        if not as_json:
            print(make_printable(sentence))
        return 0
    if not as_json:
        print_last_lines(problem, sys.stderr)
    words = problem.get("detail") or f"the operation has ended as {state}"
    raise CommandRejected(make_printable(words, sys.stderr.encoding), problem.get("status", 500))


def print_last_lines(problem: Mapping[str, Any], stream: TextIO) -> None:
    """Print what a version has printed that has not started; those of a build are in the operation's log."""
    if problem.get("code") == "start_failed" and problem.get("log"):
        print("the last lines of its log since the change began:", file=stream)
        for line in problem["log"]:
            print(f"  {make_printable(line, stream.encoding)}", file=stream)


def path_of(operation_id: str) -> str:
    """The path of an operation."""
    return f"/operations/{quote_part(operation_id)}"


def _read_patiently(client: Client, path: str) -> Operation:
    """Read an operation, also while the service restarts."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    has_said = False
    while True:
        try:
            operation: Operation = client.call("GET", path)
            return operation
        except (NoAnswer, CommandRejected) as error:
            can_pass = isinstance(error, NoAnswer) or error.retry_after is not None
            if not can_pass or time.monotonic() > deadline:
                raise
            if not has_said:
                print_notice(f"{error}; trying again")
                has_said = True
        time.sleep(RETRY_SECONDS)


def _cancel(client: Client, path: str) -> None:
    try:
        client.call("DELETE", path)
    except (NoAnswer, CommandRejected) as error:
        print_notice(f"{error}; the operation goes on, and Ctrl-C ends this command alone")


class _View:
    """Prints the lines of an operation's log as they come; on a terminal, what it is at stands below them."""

    def __init__(self) -> None:
        self._count = 0
        self._is_terminal = sys.stderr.isatty()

    def show(self, operation: Mapping[str, Any]) -> None:
        """Print what has not been printed yet; lines that the service has dropped are counted."""
        self.clear()
        log, count = operation.get("log", ()), operation["lines"]
        new = count - self._count
        if new > len(log):
            self._print(f"… {new - len(log)} lines are missing here")
        for line in log[max(0, len(log) - new) :]:
            if line != operation.get("problem", {}).get("detail"):  # which is the command's last word
                self._print(line)
        self._count = count
        if self._is_terminal and operation["state"] == "running":
            print(
                f"{operation['percent']:3d} %  {make_printable(operation['phase'])}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def clear(self) -> None:
        """Remove what stands below the lines."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _print(self, line: str) -> None:
        print(f"  {make_printable(line, sys.stderr.encoding)}", file=sys.stderr, flush=True)
