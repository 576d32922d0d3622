"""`plugvisor run ID` and the launch script: an operator runs a plugin as supervisord does."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord.run_folder import write_users_conf
from plugvisor.settings import Settings

from tests.helpers.stack import QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

DESCRIBE = """\
import json, os, signal, sys
print(json.dumps({
    "arguments": [os.fsencode(argument).hex() for argument in sys.argv],
    "environment": {name.hex(): value.hex() for name, value in os.environb.items()},
    "directory": os.getcwd(),
    "ignored": open("/proc/self/status").read().partition("SigIgn:")[2].split()[0],
}), flush=True)
"""
"""A plugin that prints what it was given, and ends."""
ARGUMENTS = ["plain", "", "two words", "a'b\"c", "$HOME `id` $(id)", "line\nbreak", "你好 🐼", "%d;#", "*", "--", "\\"]
ENVIRONMENT = {"EMPTY": "", "QUOTES": "'\"", "BREAK": "a\nb\r\t", "TEXT": "你好 100%", "EXPANDED": "$PATH ${HOME}"}


def write_describer(stack: PlugvisorStack) -> Path:
    folder = stack.write_plugin("describer", DESCRIBE)
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in ENVIRONMENT.items()]
    (folder / "plugin.toml").write_text(
        f'[plugin]\nid = "describer"\ncommand = {json.dumps(["python", "main.py", *ARGUMENTS], ensure_ascii=False)}\n'
        f"[plugin_runtime]\n{QUICK}\n[plugin_runtime.environment]\n" + "\n".join(lines)
    )
    return folder


def read_description(text: str) -> dict[str, Any]:
    """What the plugin has printed, without what differs with who starts it."""
    description: dict[str, Any] = json.loads(text)
    environment = {
        bytes.fromhex(name).decode(): bytes.fromhex(value).decode()
        for name, value in description["environment"].items()
    }
    environment.pop("PLUGVISOR_PLUGIN", None)  # the process tag: supervisord does not know what was run by hand
    environment.pop("LC_CTYPE", None)  # Python's own (PEP 538)
    return description | {"environment": environment}


def run_by_supervisord(stack: PlugvisorStack) -> dict[str, Any]:
    stack.up()
    assert stack.post("/plugin/describer/start").status_code == 200
    wait_for(lambda: stack.read_log("describer").endswith("\n"), "what it prints")
    return read_description(stack.read_log("describer"))


@pytest.mark.parametrize("how", ["command", "script"])
def test_it_is_given_the_same_by_hand(plugvisor: PlugvisorStack, how: str) -> None:
    folder = write_describer(plugvisor)
    expected = run_by_supervisord(plugvisor)
    assert expected["directory"] == str(folder)
    assert [bytes.fromhex(argument).decode() for argument in expected["arguments"]] == ["main.py", *ARGUMENTS]
    assert ENVIRONMENT.items() <= expected["environment"].items()
    assert not [name for name in expected["environment"] if name.startswith(("PLUGVISOR", "SUPERVISOR"))]
    if how == "command":
        done = plugvisor.command("run", "describer")
    else:
        script = plugvisor.run_dir / "launch" / "describer.sh"
        # by a relative path, from anywhere, and with the operator's own environment
        done = subprocess.run(
            ["/bin/sh", script.name],
            cwd=script.parent,
            env=plugvisor.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert read_description(done.stdout) == expected


def test_its_signals_and_its_exit_status_are_its_own(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("waits", "import signal\nprint('ready', flush=True)\nsignal.pause()\n", runtime=QUICK)
    plugvisor.write_plugin("fails", "raise SystemExit(7)\n", runtime=QUICK)
    assert plugvisor.command("render").returncode == 0
    assert plugvisor.command("run", "fails").returncode == 7
    process = plugvisor.spawn("run", "waits")
    wait_for(lambda: "ready" in plugvisor.output_path.read_text(), "the plugin")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == -signal.SIGTERM


def test_what_cannot_be_run_is_said_in_one_sentence(plugvisor: PlugvisorStack) -> None:
    folder = plugvisor.write_plugin("gone", runtime=QUICK)
    plugvisor.write_plugin("damaged", runtime=QUICK)
    assert plugvisor.command("render").returncode == 0
    (plugvisor.run_dir / "launch" / "damaged.sh").write_text('#!/bin/sh\n{"arguments": ["secret"]}\n')
    folder.rename(plugvisor.root / "away")
    for arguments in (["gone"], ["damaged"], ["nobody"], ["--file", str(plugvisor.root / "none.sh")], []):
        done = plugvisor.command("run", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("plugvisor: cannot run "), arguments
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr


@pytest.fixture
def two_users(plugvisor: PlugvisorStack) -> pwd.struct_passwd:
    """Run all of it as root, the service and the plugins as two ordinary users; returns the plugins' user."""
    if os.geteuid() != 0:
        pytest.skip("only root can run processes as other users")
    users = [entry for entry in pwd.getpwall() if entry.pw_name in ("daemon", "games")]
    if len(users) < 2:
        pytest.skip("there are no users `daemon` and `games` here")
    service, plugins = users
    plugvisor.root.chmod(0o755)
    plugvisor.environ |= {"PLUGVISOR_SERVICE_USER": service.pw_name, "PLUGVISOR_PLUGIN_USER": plugins.pw_name}
    return plugins


@pytest.mark.parametrize("knows_the_users", [True, False])
def test_as_root_it_becomes_the_plugins_user(
    plugvisor: PlugvisorStack, two_users: pwd.struct_passwd, knows_the_users: bool
) -> None:
    """Also in a shell in which nothing says who that is."""
    folder = plugvisor.write_plugin("ids", runtime=QUICK)
    (folder / "plugin.toml").write_text(f'[plugin]\nid = "ids"\ncommand = "/usr/bin/id"\n[plugin_runtime]\n{QUICK}\n')
    assert plugvisor.command("render").returncode == 0
    write_users_conf(Settings.from_env(plugvisor.environ))  # as `up` does; the tests' own Python may be root's alone
    environ = {} if knows_the_users else {"PLUGVISOR_SERVICE_USER": "", "PLUGVISOR_PLUGIN_USER": ""}
    done = plugvisor.command("run", "ids", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    expected = subprocess.run(["/usr/bin/id", two_users.pw_name], capture_output=True, text=True, check=True)
    assert done.stdout == expected.stdout
