"""Completion of the command by real shells, in which somebody types and presses Tab."""

from __future__ import annotations

import os
import pty
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.requirements import SHELLS, skip_or_fail
from tests.helpers.terminal import Terminal
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.stack import PlugvisorStack

INTERACTIVE = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(plugvisor completion bash)"'),
    "zsh": (["-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(plugvisor completion zsh)"'),
}
PROGRAM = Path(sys.executable).parent / "plugvisor"


@contextmanager
def open_shell(plugvisor: PlugvisorStack, name: str, **environ: str) -> Iterator[Terminal]:
    """An interactive shell on a terminal, which completes the command."""
    require(name)
    options, setup = INTERACTIVE[name]
    descriptor, other_end = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", name, *options],
        env=plugvisor.environ | {"TERM": "xterm", "HOME": str(plugvisor.root), "PS1": "", "PROMPT": ""} | environ,
        cwd=plugvisor.root,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    )
    try:
        terminal = Terminal(descriptor, process, other_end)
        terminal.type(f"{setup}; echo is'-'ready\n")
        terminal.wait_for("is-ready")
        yield terminal
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
        os.close(other_end)
        os.close(descriptor)


def require(shell: str) -> None:
    if shutil.which(shell) is None:
        skip_or_fail(f"there is no {shell}", SHELLS)
    assert PROGRAM.exists(), "the command that shells complete"


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_commands_options_and_ids(shared: PlugvisorStack, add: Callable[..., str], shell: str) -> None:
    plugin_id = add()
    with open_shell(shared, shell) as terminal:
        for typed, completed in (
            ("plugvisor identity rot", "plugvisor identity rotate"),
            ("plugvisor ls --wat", "plugvisor ls --watch"),
            (f"plugvisor start {plugin_id[:-3]}", f"plugvisor start {plugin_id}"),
            (f"plugvisor config get {plugin_id[:-3]}", f"plugvisor config get {plugin_id}"),
        ):
            terminal.type(f"{typed}\t")
            wait_for(lambda expected=completed: expected in squeeze(terminal.text), f"{completed}: {terminal.text!r}")
            terminal.type("\x15")
        assert "Traceback" not in terminal.text


def squeeze(text: str) -> str:
    """What was typed and completed, as one line of it shows it."""
    return text.replace("\r", "").replace("\n", "").replace("\x07", "").replace("\x08", "")


def test_in_fish(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    require("fish")
    plugin_id = add()
    script = 'plugvisor completion fish | source; complete --do-complete "$LINE"'
    for typed, completed in (
        ("plugvisor st", {"start", "status", "stop"}),
        ("plugvisor ls --wat", {"--watch"}),
        (f"plugvisor start {plugin_id[:-3]}", {plugin_id}),
    ):
        done = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env=shared.environ | {"LINE": typed, "HOME": str(shared.root)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert {line.split("\t")[0] for line in done.stdout.splitlines()} == completed, done.stderr


# -- what a shell asks for


def ask(plugvisor: PlugvisorStack, line: str, **environ: str) -> tuple[str, str]:
    """What the command answers to a shell, by descriptor 8, and what it prints where a person would see it."""
    done = subprocess.run(
        ["/bin/bash", "-c", "exec 8>&1 9>/dev/null; exec python -m plugvisor 1>&2"],
        env=plugvisor.environ
        | {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line.encode()))}
        | {"_ARGCOMPLETE_SHELL": "bash", "COMP_TYPE": "9"}
        | environ,
        cwd=plugvisor.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.stderr


def test_it_is_silent_without_a_service(shared: PlugvisorStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        for url in ("http://127.0.0.1:1", f"http://127.0.0.1:{silent.getsockname()[1]}", "nonsense"):
            assert ask(shared, "plugvisor start x", PLUGVISOR_URL=url) == ("", "")
            assert ask(shared, f"plugvisor start --url {url} x") == ("", "")


def test_the_service_that_the_line_names_is_asked(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    line = f"plugvisor status --url {shared.url} {plugin_id[:-3]}"
    answer, printed = ask(shared, line, PLUGVISOR_PORT="", PLUGVISOR_RUN_DIR="/nonexistent")
    assert (answer.strip(), printed) == (plugin_id, "")
