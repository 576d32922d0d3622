"""A disk is full at any point of an update: it is said, everything is as before, and it succeeds when there is room."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.chaos.updates.subject import PLUGIN, Subject, make_update
from tests.helpers.disks import fill, mount_tmpfs, needs_mounts
from tests.helpers.installation import install, installed, list_left_overs
from tests.helpers.processes import is_alive
from tests.helpers.stack import ADMIN_CODE, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.helpers.stack import PlugvisorStack

pytestmark = needs_mounts
DISK_KILOBYTES = 24_000
COARSE, FINE = 64 * 1024, 4096
MOST = 4 * 1024 * 1024
"""More than any of these updates needs."""


class SmallDisk:
    """A disk of which a test decides how much is left."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def leave(self, size_bytes: int) -> None:
        """Leave so much."""
        filler = fill(self._path)
        os.truncate(filler, max(0, filler.stat().st_size - size_bytes))

    def free(self) -> None:
        """Leave nearly all of it."""
        (self._path / "filler").unlink()


@contextlib.contextmanager
def run_on_small_disk(folder: str, *, environment: bool = False) -> Iterator[tuple[PlugvisorStack, SmallDisk]]:
    """A Plugvisor with one of its folders on a small disk, in which version 1 runs."""
    with run_stack() as stack, contextlib.ExitStack() as exits:
        exits.enter_context(mount_tmpfs(stack.root / folder, DISK_KILOBYTES))
        exits.callback(stack.down)
        disk = SmallDisk(stack.root / folder)
        stack.up()
        installed(stack, make_update(1, environment=environment), start=True)
        yield stack, disk


def check_refused(response: httpx.Response, stack: PlugvisorStack, *codes: str) -> None:
    """Check that it was said, and says nothing of this machine."""
    problem = response.json()
    assert problem["code"] in codes, response.text
    assert response.status_code == {"insufficient_storage": 507, "store_unavailable": 503}[problem["code"]]
    assert str(stack.root) not in response.text


@pytest.mark.parametrize("environment", [False, True], ids=["no environment", "an environment"])
def test_the_disk_of_the_install_folder_is_full(environment: bool) -> None:
    """From nothing on more and more is left, until it is enough; in small steps when that is near."""
    with run_on_small_disk("plugins", environment=environment) as (stack, disk):
        subject = Subject(stack, environment=environment)
        assert subject.check() == 1
        pid = stack.status(PLUGIN)["pid"]
        package = make_update(2, environment=environment)
        refused = enough = 0
        for enough in range(0, MOST, COARSE):
            disk.leave(enough)
            response = install(stack, package, replace=True)
            if response.status_code == 201:
                break
            refused += 1
            check_refused(response, stack, "insufficient_storage")
            assert subject.check() == 1
        assert refused > (3 if environment else 0)
        assert subject.check() == 2
        assert not is_alive(pid)
        current, pid = 2, stack.status(PLUGIN)["pid"]
        for left in range(max(0, enough - COARSE), enough + FINE, FINE):
            disk.leave(left)
            response = install(stack, make_update(current + 1, environment=environment), replace=True)
            if response.status_code == 201:
                current += 1
            else:
                check_refused(response, stack, "insufficient_storage")
                assert stack.status(PLUGIN)["pid"] == pid
            assert subject.check() == current
            pid = stack.status(PLUGIN)["pid"]
        disk.free()
        installed(stack, make_update(current + 1, environment=environment), replace=True)
        assert subject.check() == current + 1


def test_the_disk_of_the_state_folder_is_full() -> None:
    """It is needed for the upload, and to remember the operation."""
    with run_on_small_disk("state") as (stack, disk):
        subject, current, codes = Subject(stack, environment=False), 1, set()
        pid = stack.status(PLUGIN)["pid"]
        for left in range(0, 160 * 1024, FINE):
            disk.leave(left)
            response = install(stack, make_update(current + 1, environment=False), replace=True)
            if response.status_code == 201:
                current += 1
            else:
                codes.add(response.json()["code"])
                check_refused(response, stack, "insufficient_storage", "store_unavailable")
                assert stack.status(PLUGIN)["pid"] == pid
            disk.free()
            wait_for(lambda: stack.http.get("/available").json()["store"]["status"] == "ok", "the store")
            assert subject.check() == current
            pid = stack.status(PLUGIN)["pid"]
            if current > 3:
                break
        assert codes
        operations = stack.get("/operations").json()["operations"]
        assert {each["state"] for each in operations} <= {"succeeded", "failed", "interrupted"}


def test_the_disk_of_the_run_folder_is_full() -> None:
    """It has the programs, and the logs."""
    with run_on_small_disk("run") as (stack, disk):
        disk.leave(0)
        subject = Subject(stack, environment=False)
        response = install(stack, make_update(2, environment=False), replace=True)
        assert response.status_code == 500, response.text
        problem = response.json()
        assert (problem["code"], problem["rolled_back"]) == ("start_failed", True)
        assert "its program cannot be written: No space left on device" in problem["detail"]
        assert subject.check() == 1
        disk.free()
        installed(stack, make_update(3, environment=False), replace=True)
        assert subject.check() == 3


@pytest.mark.parametrize("folder", ["plugins", "state"])
def test_a_manifest_cannot_be_replaced_on_a_full_disk(folder: str) -> None:
    with run_on_small_disk(folder) as (stack, disk):
        path = f"/plugin/{PLUGIN}/config/toml"
        before = stack.get(path).text
        disk.leave(0)
        changed, headers = f"{before}\n# {'x' * 5000}\n", {"Authorization": f"Bearer {ADMIN_CODE}"}
        response = stack.http.put(path, content=changed, headers=headers | {"Content-Type": "application/toml"})
        check_refused(response, stack, "insufficient_storage")
        assert stack.get(path).text == before
        assert stack.status(PLUGIN)["status"] == "running"
        disk.free()
        response = stack.http.put(path, content=changed, headers=headers | {"Content-Type": "application/toml"})
        assert response.status_code == 200, response.text
        assert stack.get(path).text == changed
        assert not list_left_overs(stack)
