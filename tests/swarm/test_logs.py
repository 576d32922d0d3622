"""Logs of plugins on other nodes: each line is in a file here once, whatever happens in between."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.helpers.log_clients import following, messages_of, open_websocket, receive
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

PRINTER = """\
import signal, time
run, count, ended = time.time_ns(), 0, False
def print_more(*_):
    global count
    for _ in range(2500):
        count += 1
        print(run, count, "x" * 1100)
    print(flush=True)
def end(*_):
    global ended
    ended = True
signal.signal(signal.SIGUSR1, print_more)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while not ended:
    time.sleep(0.01)
print(run, "last words", flush=True)
"""
"""Prints 2,500 lines at each SIGUSR1."""


def print_more(stack: SwarmStack, plugin_id: str) -> None:
    """Have the printer print 2,500 lines more."""
    [pid] = find_plugin(stack, plugin_id)
    os.kill(pid, signal.SIGUSR1)


def read_lines(stack: SwarmStack, plugin_id: str) -> list[list[str]]:
    """The printer's lines in all files of its log, in words, oldest first; its time first."""
    paths = sorted(stack.log_dir.glob(f"{plugin_id}.log*"), key=lambda path: path.name, reverse=True)
    assert all(path.name[len(plugin_id) :] in (".log", ".log.1", ".log.2", ".log.3") for path in paths)
    text = b"".join(path.read_bytes() for path in paths).decode()
    return [line.split() for line in text.splitlines() if line and line != "ready"]


def wait_for_count(stack: SwarmStack, plugin_id: str, count: int) -> None:
    """Ask for the log's end until so many of the printer's lines are in the files."""

    def is_there() -> bool:
        assert stack.get(f"/plugin/{plugin_id}/logs?lines=1").status_code in (200, 503)  # of a busy manager
        return len(read_lines(stack, plugin_id)) >= count

    wait_for(is_there, f"{count} lines", 2 * DEADLINE_SECONDS)


def test_ten_thousand_lines_over_restarts_a_stop_and_a_rotation(swarm_stack: SwarmStack) -> None:
    stack, name = swarm_stack, "printer"
    stack.write_plugin(name, PRINTER, runtime=QUICK)
    stack.up()
    stack.start_running(name)
    print_more(stack, name)
    wait_for_count(stack, name, 2500)

    assert stack.process is not None
    stack.process.kill()
    stack.process.wait()
    print_more(stack, name)
    stack.up()
    wait_for_count(stack, name, 5000)

    with following(stack, name, lines="1") as listener, open_websocket(stack, name) as websocket:
        assert receive(websocket)["type"] == "initial"
        print_more(stack, name)
        wait_for(lambda: len(messages_of(listener)) >= 2501, "what is followed")
        stack.restart_service()
    print_more(stack, name)
    stack.change(name, "stop")
    wait_for(lambda: read_lines(stack, name)[-1][1:] == ["last", "words"], "what was printed while it was stopped")

    stack.start_running(name)
    print_more(stack, name)
    wait_for_count(stack, name, 12_501)
    lines = read_lines(stack, name)
    first, second = lines[0][0], lines[-1][0]
    assert [(run, number) for run, number, _ in lines] == [
        *((first, str(number)) for number in range(1, 10_001)),
        (first, "last"),
        *((second, str(number)) for number in range(1, 2501)),
    ]
    assert (stack.log_dir / f"{name}.log.1").stat().st_size >= 10_485_760


def test_what_a_plugin_prints_is_not_changed(swarm_stack: SwarmStack) -> None:
    code = """\
import os, signal
for text in (b"nul \\0 \\x1b[31mred\\x1b[0m\\n", b"x" * 100_000 + b"\\n", b"carriage\\r\\n", b"\\n", b"no end"):
    os.write(1, text)
os.write(2, b" of it\\n")
signal.pause()
"""
    swarm_stack.write_plugin("odd", code, runtime=QUICK)
    swarm_stack.up()
    assert swarm_stack.post("/plugin/odd/start?wait=50").status_code == 200
    path = swarm_stack.log_dir / "odd.log"

    def read() -> bytes:
        assert swarm_stack.get("/plugin/odd/logs").status_code == 200
        return path.read_bytes() if path.exists() else b""

    wait_for(lambda: b"of it" in read(), "all of it")
    text = path.read_bytes()
    assert text == b"nul \0 \x1b[31mred\x1b[0m\n" + b"x" * 100_000 + b"\ncarriage\r\n\nno end of it\n"


def test_each_line_of_replicas_says_whose_it_is(swarm_stack: SwarmStack) -> None:
    swarm_stack.write_plugin(
        "twice", 'import signal\nprint("here", flush=True)\nsignal.pause()\n', runtime=f"replicas = 2\n{QUICK}"
    )
    swarm_stack.up()
    assert swarm_stack.post("/plugin/twice/start?wait=50").status_code == 200
    wait_for(lambda: swarm_stack.read_log("twice").count("here") == 2, "both replicas")
    starts = {line.partition("@")[0] for line in swarm_stack.read_log("twice").splitlines()}
    assert starts == {"[1", "[2"}
