"""`plugvisor logs` against a running service."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from tests.helpers.plugin_code import CRASHING
from tests.helpers.printer_plugin import PRINTER, print_text
from tests.helpers.running_command import run_command, run_unread
from tests.helpers.stack import QUICK, PlugvisorStack
from tests.helpers.terminal import open_terminal
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def show(plugvisor: PlugvisorStack, *arguments: str, **environ: str) -> list[str]:
    """The lines of `plugvisor logs …`."""
    done = plugvisor.command("logs", *arguments, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def add_printer(shared: PlugvisorStack, add: Callable[..., str], suffix: str = "") -> str:
    """Add a plugin that prints what the test says, and start it."""
    plugin_id = add(PRINTER, runtime=QUICK, suffix=suffix)
    shared.start_running(plugin_id)
    return plugin_id


def test_the_newest_lines(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add_printer(shared, add)
    print_text(
        shared, plugin_id, b"1\tone\n2026-11-30 06:03:53,889 WARNING slow: 2 s\n\x1b[31mred\x1b[0m \x1b]0;title\x07\n"
    )
    assert show(shared, plugin_id, "-n", "3") == [
        "1\tone",
        "2026-11-30 06:03:53.889  WARNING   slow: 2 s",
        "red \\x1b]0;title\\x07",
    ]
    assert show(shared, plugin_id, "-n", "0") == []
    assert show(shared, plugin_id, "--level", "warning", "--search", "SLOW") == show(shared, plugin_id, "-n", "2")[:1]
    assert show(shared, plugin_id, "--since", "2026-11-30T06:03:53", "-n", "1") == ["red \\x1b]0;title\\x07"]
    assert show(shared, plugin_id, "--since", "2026-11-30T06:03:54") == []
    last = json.loads(show(shared, plugin_id, "--json", "-n", "1")[0])
    assert last == {
        "plugin_id": plugin_id,
        "timestamp": None,
        "level": None,
        "file": None,
        "line": None,
        "message": "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    }


def test_several_logs_by_time(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    first, second = (add_printer(shared, add, suffix) for suffix in ("-a", "-b"))
    print_text(shared, first, b"2026-11-30 06:00:01 INFO one\nno time\n2026-11-30 06:00:03 INFO three\n")
    print_text(shared, second, b"2026-11-30 06:00:02 INFO two\n2026-11-30 06:00:04 INFO four\n")
    pattern = first.removesuffix("a") + "*"
    shown = show(shared, pattern, "-n", "2")
    assert [line.split(" | ")[0] for line in shown] == [first, second, first, second]
    assert [line.split()[-1] for line in shown] == ["time", "two", "three", "four"]
    coloured = show(shared, second, first, "-n", "1", FORCE_COLOR="1")
    assert [line.partition("m")[0] for line in coloured] == ["\x1b[36", "\x1b[35"], "each has its own"


def test_what_cannot_be_shown(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    done = shared.command("logs", plugin_id[:-1])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"plugvisor: there is no plugin {plugin_id[:-1]!r}; did you mean {plugin_id!r}? ")
    for wrong in (["-n", "10001"], ["-n", "-1"], ["--since", "soon"], ["--level", "loud"]):
        done = shared.command("logs", *wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert wrong[0] in done.stderr
    assert show(shared, plugin_id) == [], "it has not printed anything"
    assert show(shared, "_server", "-n", "1"), "the service's own log"


def test_more_logs_than_can_be_followed(plugvisor: PlugvisorStack) -> None:
    for number in range(65):
        plugvisor.write_plugin(f"p{number}", runtime="auto_start = false")
    plugvisor.up()
    done = plugvisor.command("logs", "-f")
    assert done.returncode == 1
    assert done.stderr == ("plugvisor: cannot follow 65 logs: the service lets at most 64 be followed; name some\n")
    assert show(plugvisor) == [], "without --follow there is no limit"


def test_following_across_restarts(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    """Of the service and of a plugin: every line is there once."""
    for plugin_id in ("a", "b"):
        plugvisor.write_plugin(plugin_id, PRINTER, runtime=QUICK)
    plugvisor.up()
    for plugin_id in ("a", "b"):
        plugvisor.start_running(plugin_id)
    print_text(plugvisor, "a", b"before\n")
    with run_command(plugvisor, tmp_path, "logs", "-f", "-n", "1") as follower:
        wait_for(lambda: follower.lines == ["a | before", "b | ready"], "what is there already")
        print_text(plugvisor, "b", b"now\n")
        wait_for(lambda: follower.lines[2:] == ["b | now"], "a new line")
        os.kill(plugvisor.service_pid, signal.SIGKILL)
        print_text(plugvisor, "b", b"during 1\nduring 2\n")
        wait_for(plugvisor.is_ready, "the service")
        wait_for(lambda: len(follower.lines) == 5, "the lines of meanwhile")
        assert plugvisor.post("/plugin/a/stop").status_code == 200
        (plugvisor.plugins_dir / "a" / "printed").unlink()
        plugvisor.start_running("a")
        print_text(plugvisor, "a", b"after\n")
        wait_for(lambda: follower.lines[-1:] == ["a | after"], "the lines of its next process")
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.wait(DEADLINE_SECONDS) == 128 + signal.SIGINT
        assert follower.lines[3:] == ["b | during 1", "b | during 2", "a | ready", "a | after"]
        assert "Traceback" not in follower.words
        assert "missing" not in follower.words


def test_following_what_has_no_log_yet(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    first = add_printer(shared, add, "-a")
    second = add(CRASHING, runtime=f'{QUICK}\nsupervisor.autorestart = "false"', suffix="-b")
    with run_command(shared, tmp_path, "logs", "-f", first, second) as follower:
        wait_for(lambda: follower.lines == [f"{first} | ready"], "both to be followed")
        shared.post(f"/plugin/{second}/start")
        wait_for(lambda: follower.lines[1:] == [f"{second} | ready"], "the first line of the other")


def test_following_some_lines_only(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id = add_printer(shared, add)
    print_text(shared, plugin_id, b"".join(b"WARNING: %d\nINFO: %d\n" % (number, number) for number in range(200)))
    with run_command(
        shared, tmp_path, "logs", "-f", plugin_id, "--level", "warning", "--search", "9", "-n", "2"
    ) as follower:
        wait_for(lambda: follower.lines == ["WARNING   198", "WARNING   199"], f"the newest that fit: {follower.lines}")
        print_text(shared, plugin_id, b"INFO: 9\nWARNING: 8\nWARNING: 9\n")
        wait_for(lambda: follower.lines[2:] == ["WARNING   9"], "the new one that fits")


def test_following_what_begins_again(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    """A log whose file is removed while the service is away: it cannot be known what was there."""
    plugin_id = add_printer(shared, add)
    with run_command(shared, tmp_path, "logs", "-f", plugin_id) as follower:
        wait_for(lambda: follower.lines == ["ready"], "what is there already")
        os.kill(shared.service_pid, signal.SIGKILL)
        (shared.log_dir / f"{plugin_id}.log").write_bytes(b"all that is left\n")
        wait_for(lambda: follower.lines == ["ready", "all that is left"], "the new file")
        assert f"lines of '{plugin_id}' may be missing here" in follower.words


def test_following_ends_with_the_token(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    plugin_id = add_printer(shared, add)
    token = shared.add_identity("log-reader", "viewer")
    with run_command(shared, tmp_path, "logs", "-f", plugin_id, PLUGVISOR_TOKEN=token) as follower:
        wait_for(lambda: follower.lines, "the first line")
        shared.remove_identity("log-reader")
        assert follower.process.wait(DEADLINE_SECONDS) == 1
        assert token not in follower.words
        assert "it came from PLUGVISOR_TOKEN" in follower.words


def test_colours_on_a_terminal(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add_printer(shared, add)
    print_text(shared, plugin_id, b"\x1b[1;32mgreen \x1b[2J\x1b[8;1;1t\n")
    with open_terminal(shared, "logs", "-f", plugin_id, "-n", "1") as terminal:
        terminal.wait_for("green")
        terminal.type("\x03")
        assert terminal.wait() == 128 + signal.SIGINT
        assert "\x1b[1;32mgreen \\x1b[2J\\x1b[8;1;1t\x1b[0m\r\n" in terminal.output, (
            "colours alone, until the line ends"
        )
        assert "Traceback" not in terminal.text
    with open_terminal(shared, "logs", plugin_id, "-n", "1", NO_COLOR="1") as terminal:
        assert terminal.wait() == 0
        assert terminal.output == "green \\x1b[2J\\x1b[8;1;1t\r\n"


def test_output_that_nobody_reads(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add_printer(shared, add)
    print_text(shared, plugin_id, b"a line\n")
    for options in ([], ["-f"]):
        done = run_unread(shared, "logs", plugin_id, *options)
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
