"""A plugin attacks the install folder while it is updated: nothing outside is changed, and everything else goes on.

CHAOS_ATTACKS=500 makes as many requests; CHAOS_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.chaos.updates import attacker
from tests.helpers.installation import install, installed, list_folders, wait_for_end
from tests.helpers.packages import make_plugin_package
from tests.helpers.processes import is_alive
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.helpers.stack import PlugvisorStack

REQUESTS = int(os.environ.get("CHAOS_ATTACKS", "20"))
UNDERSTOOD = {
    "already_installed", "already_running", "build_failed", "cancelled", "insufficient_storage", "interrupted",
    "invalid_manifest", "invalid_package", "no_previous_version", "not_installed", "not_running", "not_supported",
    "plugin_disabled", "plugin_not_found", "plugins_unreadable", "precondition_failed", "read_only", "start_failed",
    "too_many_operations",
}  # fmt: skip
"""What may be said of a plugin in whose folder anything may be."""


def describe_folder(folder: Path) -> list[str]:
    """All that is in a folder, with what it consists of."""
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found.append(f"{path.relative_to(folder)} {status.st_mode:o} {status.st_uid} {content!r}")
    return found


@contextlib.contextmanager
def attack(stack: PlugvisorStack, user: str | None, how: str, seed: int) -> Iterator[None]:
    """Have a process of the plugins' user attack the folder of `echo`."""
    own, outside = stack.plugins_dir / "echo", stack.root / "outside"
    command = [sys.executable, attacker.__file__, str(own), str(outside), str(seed), how]
    more = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", text=True, **more)  # type: ignore[call-overload]
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert int(said.split()[1]) > 0, said


class Client:
    """Asks for everything that concerns the folder."""

    def __init__(self, stack: PlugvisorStack, chance: random.Random) -> None:
        self.codes: Counter[str] = Counter()
        self._stack = stack
        self._chance = chance
        self._number = 1

    def request(self) -> None:
        """Make one request, and check the answer."""
        stack, chance = self._stack, self._chance
        self._number += 1
        package = make_plugin_package("echo", version=str(self._number), runtime=QUICK)
        headers = {"Authorization": f"Bearer {ADMIN_CODE}", "Content-Type": "application/toml"}
        manifest = f'[plugin]\nid = "echo"\nversion = "{self._number}"\ncommand = "true"\n'
        kind = chance.randrange(10)
        if kind < 4:
            response = install(stack, package, replace=True, start=chance.random() < 0.5)
        elif kind == 4:
            response = stack.post("/plugin/echo/rollback", params={"wait": "50"})
        elif kind == 5:
            purge = chance.choice(["true", "false"])
            response = stack.delete("/plugin/echo", params={"wait": "50", "purge": purge})
        elif kind == 6:
            response = stack.http.put("/plugin/echo/config/toml", content=manifest, headers=headers)
        elif kind == 7:
            response = stack.get(chance.choice(["/plugin/echo/versions", "/plugin/echo/config", "/plugins"]))
        elif kind == 8:
            response = stack.post("/plugins/refresh")
        else:
            response = stack.post(f"/plugin/echo/{chance.choice(['start', 'stop', 'reload'])}")
        self._check(response)

    def _check(self, response: httpx.Response) -> None:
        problem = {} if response.is_success else response.json()
        if response.status_code == 202:  # what may be tried again is, for half a minute
            problem = wait_for_end(self._stack, response.json()["id"]).get("problem", {})
        code = problem.get("code", "ok")
        assert code in {"ok", *UNDERSTOOD}, response.text
        assert str(self._stack.root) not in problem.get("detail", "")
        self.codes[code] += 1


@pytest.mark.parametrize("users", ["one user", "two users"])
@pytest.mark.parametrize("how", ["its own folder", "everything"])
def test_a_plugin_attacks_the_install_folder(plugvisor: PlugvisorStack, how: str, users: str) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown if the test fails, and by -s
    chance, user = random.Random(seed), None
    outside, aside = plugvisor.root / "outside", plugvisor.root / "aside"
    for folder in (outside, outside / "versions" / "1-000000000000", outside / "data", aside):
        folder.mkdir(parents=True)
    for name in ("installed.json", "plugin.toml", "versions/1-000000000000/plugin.toml", "data/kept"):
        (outside / name).write_text("{}")
    if users == "two users":
        use_two_users(plugvisor)
        user = "nobody"
        for folder in (plugvisor.plugins_dir, aside, outside, *outside.rglob("*")):
            shutil.chown(folder, user)
    plugvisor.up()
    pids = (plugvisor.supervisord_pid, plugvisor.service_pid)
    installed(plugvisor, make_plugin_package("other", runtime=QUICK), start=True)
    installed(plugvisor, make_plugin_package("echo", runtime=QUICK), start=True)
    other = plugvisor.wait_for_status("other", "running")["pid"]
    before = describe_folder(outside), describe_folder(plugvisor.plugins_dir / "other")
    client = Client(plugvisor, chance)
    with attack(plugvisor, user, how, seed):
        for number in range(REQUESTS):
            if plugvisor.plugins_dir.joinpath("echo").exists() or chance.random() < 0.7:
                client.request()
            if how == "its own folder" and number % 5 == 0:
                installed(plugvisor, make_plugin_package(f"new-{number}", runtime=QUICK))
            if number == REQUESTS // 2:
                plugvisor.restart_service()
                pids = (pids[0], plugvisor.service_pid)
    print(client.codes)  # noqa: T201
    assert before == (describe_folder(outside), describe_folder(plugvisor.plugins_dir / "other"))
    assert (plugvisor.supervisord_pid, plugvisor.service_pid) == pids
    assert all(map(is_alive, pids))
    assert plugvisor.status("other")["pid"] == other
    assert "Traceback" not in plugvisor.service_log, plugvisor.service_log[-5000:]
    # whoever removes the folder by hand can install it again
    folder = plugvisor.plugins_dir / "echo"
    if folder.is_symlink() or folder.exists():
        subprocess.run(["find", folder, "-type", "d", "-exec", "chmod", "u+w", "{}", "+"], check=True)  # for no root
        subprocess.run(["rm", "-rf", folder], check=True)
    wait_for(lambda: plugvisor.post("/plugins/refresh").status_code == 200, "a refresh")
    installed(plugvisor, make_plugin_package("echo", version="last", runtime=QUICK), start=True)
    plugvisor.wait_for_status("echo", "running")
    assert len(list_folders(plugvisor.plugins_dir, "echo")) == 1
