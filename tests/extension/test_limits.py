"""Limits that need no control group; with one: tests/cgroup/."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.supervisord import BACKOFF

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord

PRINTS_LIMITS = f"import resource\nprint(*resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)\n{OBEDIENT}"


def test_the_open_files_of_a_plugin_are_limited_and_supervisords_are_not(
    shared: Supervisord, add: Callable[..., str]
) -> None:
    before = resource.prlimit(shared.pid, resource.RLIMIT_NOFILE)
    name = add(PRINTS_LIMITS, limits={"open_files": 77})
    shared.start_ready(name)
    assert shared.read_output(name).startswith("77 77\n")
    assert resource.prlimit(shared.pid, resource.RLIMIT_NOFILE) == before
    assert shared.describe(name)["limits"] == {
        "open_files": 77,
        "enforced_by": "rlimit",
        "watched": [],
        "unenforced": [],
    }


def test_more_open_files_than_the_system_allows_are_as_many_as_it_allows(
    shared: Supervisord, add: Callable[..., str]
) -> None:
    name = add(PRINTS_LIMITS, limits={"open_files": 10**9})
    shared.start_ready(name)
    _, hard = resource.prlimit(shared.pid, resource.RLIMIT_NOFILE)
    assert shared.read_output(name).startswith(f"{hard} {hard}\n")
    assert shared.describe(name)["limits"]["open_files"] == hard


def test_the_limits_are_those_of_the_last_launch(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    shared.start_ready(name)
    assert "limits" not in shared.describe(name)
    shared.write_plugin(name, limits={"open_files": 77})
    assert "limits" not in shared.describe(name)
    shared.start_ready(name, "plugins.restart")
    assert shared.describe(name)["limits"]["open_files"] == 77
    shared.stop_plugin(name)
    assert shared.describe(name)["limits"]["open_files"] == 77
    shared.write_plugin(name)
    shared.start_ready(name)
    assert "limits" not in shared.describe(name)


def test_a_command_that_is_not_executed_is_reported_as_without_limits(
    shared: Supervisord, add: Callable[..., str]
) -> None:
    name = add(arguments=["/nonexistent"], limits={"open_files": 77, "processes": 9})
    assert shared.fault("plugins.start", name) == "SPAWN_ERROR"
    process = shared.describe(name)
    assert process["state"] == BACKOFF
    assert process["spawn_error"] == "cannot execute its command: No such file or directory"


@pytest.mark.skipif(
    os.path.exists("/sys/fs/cgroup/cgroup.controllers") and os.geteuid() == 0, reason="control groups enforce them"
)
def test_limits_that_nothing_enforces_are_logged_at_each_launch(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(limits={"memory": 2**30, "cpus": 0.5, "processes": 9})
    for count in (1, 2):
        shared.start_ready(name, "plugins.restart")
        assert shared.log.count(f"plugins: nothing enforces a limit of '{name}' (cpus): ") == count
    limits = shared.describe(name)["limits"]
    assert (limits["enforced_by"], limits["watched"], limits["unenforced"]) == (
        "watch",
        ["memory", "processes"],
        ["cpus"],
    )


def test_limits_of_a_launch_file_that_somebody_has_edited_harm_nothing(
    shared: Supervisord, add: Callable[..., str]
) -> None:
    name = add(limits={"memory": 1e300, "processes": 99.5, "cpus": 0, "open_files": 0.0, "unknown": 7})
    shared.start_ready(name)
    limits = shared.describe(name)["limits"]
    assert {key: limits.get(key) for key in ("memory", "processes")} == {"memory": 2**53, "processes": 99}
    assert not limits.keys() & {"cpus", "open_files", "unknown"}
