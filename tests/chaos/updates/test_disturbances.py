"""What happens in the middle of an update: its processes are frozen or killed, folders are gone, others act as well."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.updates.subject import PLUGIN, Subject, make_update, number_of
from tests.helpers.installation import begin_install, find_current, installed, list_left_overs, wait_for_end
from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.processes import find_processes, is_alive, list_children, read_command
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.stack import PlugvisorStack

WORKER_KILLS = int(os.environ.get("CHAOS_WORKER_KILLS", "6"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))


@pytest.fixture
def started(plugvisor: PlugvisorStack) -> PlugvisorStack:
    """A Plugvisor in which version 1 runs."""
    plugvisor.up()
    installed(plugvisor, make_update(1, environment=False), start=True)
    return plugvisor


def find_workers(stack: PlugvisorStack) -> list[int]:
    """The workers of the install folder."""
    return [pid for pid in list_children(stack.supervisord_pid) if "plugvisor.installer" in read_command(pid)]


@contextlib.contextmanager
def building(stack: PlugvisorStack) -> Iterator[str]:
    """An update whose build does not end; yields the operation's id."""
    with make_endless_package(PLUGIN) as package:
        operation_id = begin_install(stack, package, replace=True)
        wait_for(lambda: find_builds(stack), "the build")
        yield operation_id


def find_builds(stack: PlugvisorStack) -> list[int]:
    """The processes of builds."""
    return [pid for pid in find_processes(stack.plugins_dir / ".cache") if "/uv\0" in read_command(pid)]


def test_the_process_that_builds_is_killed(started: PlugvisorStack) -> None:
    subject = Subject(started, environment=False)
    with building(started) as operation_id:
        for pid in find_builds(started):
            os.kill(pid, signal.SIGKILL)
        operation = wait_for_end(started, operation_id)
    assert (operation["state"], operation["problem"]["code"]) == ("failed", "build_failed")
    assert subject.check() == 1
    installed(started, make_update(2, environment=False), replace=True)
    assert subject.check() == 2


@pytest.mark.parametrize("restarted", [False, True], ids=["cancelled", "service restarted"])
def test_a_worker_that_is_frozen_holds_nobody_up(started: PlugvisorStack, restarted: bool) -> None:
    """A plugin may do that: a worker is a process of its user."""
    subject = Subject(started, environment=False)
    with building(started) as operation_id:
        frozen = [*find_workers(started), *find_builds(started)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        if restarted:
            started.ctl("restart", "plugvisor")
            wait_for(started.is_ready, "the service")
        else:
            response = started.delete(f"/operations/{operation_id}")
            assert response.json()["state"] == "cancelled", response.text
        wait_for(lambda: not any(map(is_alive, frozen)), "the end of what is frozen")
    installed(started, make_update(2, environment=False), replace=True)
    assert subject.check() == 2


def test_workers_are_killed_at_any_moment(started: PlugvisorStack) -> None:
    """The operation says so, unless another worker could end it; what they have left is gone with the next update."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown if the test fails, and by -s
    chance, subject, current, states = random.Random(seed), Subject(started, environment=False), 1, Counter[str]()
    for number in range(2, 2 + 2 * WORKER_KILLS, 2):
        operation_id = begin_install(started, make_update(number, environment=False), replace=True)
        victims = wait_for(lambda: find_workers(started), "a worker")
        threading.Event().wait(chance.random() * 0.6)
        for pid in {*victims, *find_workers(started)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        operation = wait_for_end(started, operation_id)
        assert operation["state"] in ("succeeded", "interrupted"), f"{operation}\n{started.service_log[-3000:]}"
        states[operation["state"]] += 1
        expected = number if operation["state"] == "succeeded" else current
        assert number_of(find_current(started.plugins_dir, PLUGIN)) == expected
        current = number + 1
        installed(started, make_update(current, environment=False), replace=True)
        assert subject.check() == current
    print(states)  # noqa: T201


@pytest.mark.parametrize("how", ["restart", "shutdown"])
def test_the_end_of_the_service_during_a_build(started: PlugvisorStack, how: str) -> None:
    subject = Subject(started, environment=False)
    with building(started) as operation_id:
        builds = [*find_builds(started), *find_workers(started)]
        if how == "restart":
            started.ctl("restart", "plugvisor")
            wait_for(started.is_ready, "the service")
        else:
            started.down()
            started.up()
        assert not any(map(is_alive, builds))
        assert wait_for_end(started, operation_id)["state"] == "interrupted"
    assert subject.check_recovered() == 1
    installed(started, make_update(2, environment=False), replace=True)
    assert subject.check() == 2


def test_supervisord_is_reloaded_during_a_build(started: PlugvisorStack) -> None:
    """`supervisorctl reload` ends everything, and starts it again in the same process."""
    subject, service_pid = Subject(started, environment=False), started.service_pid
    with building(started) as operation_id:
        builds = [*find_builds(started), *find_workers(started)]
        started.ctl("reload")
        wait_for(lambda: not is_alive(service_pid), "the end of the service")
        wait_for(started.is_ready, "the service")
        wait_for(lambda: not any(map(is_alive, builds)), "the end of the build")
        assert wait_for_end(started, operation_id)["state"] == "interrupted"
    assert subject.check_recovered() == 1
    installed(started, make_update(2, environment=False), replace=True)
    assert subject.check() == 2


def test_the_install_folder_is_taken_away(started: PlugvisorStack) -> None:
    """It comes back, as when a volume is mounted again."""
    subject, aside = Subject(started, environment=False), started.root / "aside"
    started.plugins_dir.rename(aside)
    response = started.post("/plugins/install", params={"wait": "50"}, content=make_plugin_package("other"))
    assert (response.status_code, response.json()["code"]) == (501, "not_supported")
    aside.rename(started.plugins_dir)
    with building(started) as operation_id:
        started.plugins_dir.rename(aside)
        assert started.delete(f"/operations/{operation_id}").status_code == 200
        assert wait_for_end(started, operation_id)["state"] == "cancelled"
        shutil.rmtree(started.plugins_dir, ignore_errors=True)  # the build may have made it again, for its cache
        aside.rename(started.plugins_dir)
    assert started.post("/plugins/refresh").status_code == 200
    installed(started, make_update(2, environment=False), replace=True)
    assert subject.check() == 2
    assert not list_left_overs(started)


def test_everybody_acts_at_once(started: PlugvisorStack) -> None:
    """Clients and an operator install, update, go back, remove, edit, start, stop, disable and refresh one plugin."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown if the test fails, and by -s
    chance, subject, number = random.Random(seed), Subject(started, environment=False), 1
    for _ in range(ROUNDS):
        actions: list[Callable[[], Any]] = []
        for _ in range(8):
            number += 1
            actions.append(make_action(started, number, chance))
        with ThreadPoolExecutor(len(actions)) as pool:
            results = list(pool.map(lambda act: act(), actions))
        responses = [each for each in results if not isinstance(each, str)]
        # somebody else may have stopped or removed it in the middle of a start
        bad = [each.text for each in responses if each.status_code >= 500 and each.json()["code"] != "start_failed"]
        assert not bad
        number += 1
        started.post(f"/plugin/{PLUGIN}/enable")
        installed(started, make_update(number, environment=False), replace=True, start=True)
        assert subject.check() == number
    assert "Traceback" not in started.service_log, started.service_log[-5000:]


def make_action(stack: PlugvisorStack, number: int, chance: random.Random) -> Callable[[], Any]:
    """Something that a client or an operator does."""
    package, moment = make_update(number, environment=False), chance.random() * 1.5
    purge = {"wait": "50", "purge": chance.choice(["true", "false"])}
    actions: list[Callable[[], Any]] = [
        lambda: stack.post("/plugins/install", params={"wait": "50", "replace": "true"}, content=package),
        lambda: stack.post("/plugins/install", params={"wait": "50", "replace": "true"}, content=package),
        lambda: stack.post("/plugins/install", params={"wait": "50"}, content=package),
        lambda: stack.post(f"/plugin/{PLUGIN}/rollback", params={"wait": "50"}),
        lambda: stack.delete(f"/plugin/{PLUGIN}", params=purge),
        lambda: stack.post("/plugins/refresh"),
        lambda: stack.ctl("stop", PLUGIN),
        lambda: stack.ctl("start", PLUGIN),
        lambda: stack.ctl("update"),
        *(
            lambda verb=verb: stack.post(f"/plugin/{PLUGIN}/{verb}")  # type: ignore[misc]
            for verb in ("start", "stop", "reload", "disable", "enable")
        ),
    ]
    action = chance.choice(actions)

    def act() -> Any:
        threading.Event().wait(moment)
        return action()

    return act
