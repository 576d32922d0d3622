"""Variables whose values are in files on the service's machine: who reads them there, and where the values are."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from tests.engines.test_environment_files import FAILURE, PRINTS, runtime_with, wait_for_line
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.swarm.stack import SwarmStack

SECRET = "s3cret-from-a-file"


def add(stack: SwarmStack, plugin_id: str, path: str | Path) -> None:
    stack.write_plugin(plugin_id, PRINTS, runtime=runtime_with(path))
    response = stack.post("/plugins/refresh")
    assert response.status_code == 200, response.text + stack.service_log


def test_the_value_is_in_the_secret_alone(swarm_shared: SwarmStack) -> None:
    stack = swarm_shared
    file = stack.root / "key"
    file.write_text(SECRET)
    add(stack, "keyed", file)
    stack.start_running("keyed")
    wait_for_line(stack, "keyed", SECRET.encode())
    assert SECRET not in json.dumps(stack.inspect_service("keyed"))
    assert SECRET not in stack.docker("secret", "inspect", *stack.docker("secret", "ls", "--quiet").split())
    told = [stack.get(path).text for path in ("/plugins", "/plugin/keyed/manifest", "/plugin/status", "/journal")]
    assert not [text for text in [*told, stack.service_log] if SECRET in text]
    assert stack.get("/plugin/keyed/manifest").json()["manifest"]["environment_files"] == ["KEY"]
    # a crash of the plugin is the swarm's to repair, which knows the value of the last start alone
    file.unlink()
    stack.kill_container("keyed")
    wait_for(lambda: stack.read_log("keyed").count(f"key: {SECRET.encode()!r}") == 2, "the restart")
    stack.wait_for_status("keyed", "running")
    # a reload that cannot read it changes nothing
    failed = stack.post("/plugin/keyed/reload")
    assert failed.json()["code"] == "start_failed"
    assert FAILURE in failed.json()["detail"]
    assert stack.status("keyed")["status"] == "running"
    stack.change("keyed", "stop")


def test_the_plugins_user_reads_it(swarm_stack: SwarmStack) -> None:
    stack = swarm_stack
    use_two_users(stack)
    stack.up()
    allowed, services = stack.root / "allowed", stack.root / "services"
    for file in (allowed, services):
        file.write_text("value")
        file.chmod(0o400)
    os.chown(allowed, 65534, 65534)
    os.mkfifo(stack.root / "fifo")
    (stack.root / "link").symlink_to("/etc/shadow")
    (stack.root / "large").write_bytes(b"x" * 10_000_000)
    named = {
        "service": (services, "Permission denied"),
        "shadow": ("/etc/shadow", "Permission denied"),
        "link": (stack.root / "link", "Permission denied"),
        "code": (f"/proc/{stack.service_pid}/environ", "Permission denied"),
        "socket": (stack.lab.nodes[0].socket, "Permission denied|No such device or address"),
        "fifo": (stack.root / "fifo", "it is no regular file"),
        "device": ("/dev/zero", "it is no regular file"),
        "large": (stack.root / "large", "it is longer than a variable can be"),
    }
    for name, (path, _) in named.items():
        stack.write_plugin(name, PRINTS, runtime=runtime_with(path))
    add(stack, "allowed", allowed)
    for name, (_, words) in named.items():
        failed = stack.post(f"/plugin/{name}/start").json()
        assert failed["code"] == "start_failed", name
        assert re.search(f"the variable 'KEY': ({words})", failed["detail"]), (name, failed["detail"])
    stack.start_running("allowed")
    wait_for_line(stack, "allowed", b"value")


def test_what_each_node_keeps_of_a_log(swarm_shared: SwarmStack) -> None:
    stack = swarm_shared
    stack.write_plugin("kept", runtime=f'{QUICK}\nlogs.max_size = "64K"\nlogs.backups = 1')
    assert stack.post("/plugins/refresh").status_code == 200
    stack.start_running("kept")
    driver = stack.inspect_service("kept")["Spec"]["TaskTemplate"]["LogDriver"]
    assert driver == {"Name": "json-file", "Options": {"max-size": "65536", "max-file": "2"}}
    stack.write_plugin("kept", runtime=QUICK)
    stack.change("kept", "reload")
    assert "LogDriver" not in stack.inspect_service("kept")["Spec"]["TaskTemplate"]
    stack.change("kept", "stop")
