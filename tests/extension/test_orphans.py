"""Orphans: whatever outlives a plugin's main process is found and ended, and nothing else is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.processes import orphans, process_tree
from plugvisor.engines.supervisord.extension.processes.launch_number import read_launch_number
from plugvisor.engines.supervisord.extension.processes.orphans import end_tagged
from plugvisor.engines.supervisord.extension.processes.process_tree import Process, read_relations

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import cpu_seconds, is_alive, kill_all, list_children
from tests.helpers.supervisord import EXITED, RUNNING, STOPPED, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import Supervisord

PARENT = f"""\
import os, signal, sys, time

def live(kind):
    if "deaf" in kind:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("child", flush=True)
    while True:
        signal.pause()

def start_child(kind):
    if os.fork():
        return
    if "session" in kind:
        os.setsid()
    if "double" in kind and os.fork():
        os._exit(0)
    if "erased" in kind:
        os.execve(sys.executable, [sys.executable, "-I", "-S", sys.argv[0], "live", kind], {{}})
    live(kind)

if sys.argv[1] == "live":
    live(sys.argv[2])
for kind in sys.argv[1:]:
    start_child(kind)
{OBEDIENT}"""
"""Has a child for each argument, which says how it hides."""
KINDS = {
    "a daemon": "session double",
    "a deaf daemon": "session double deaf",
    "a session of its own": "session deaf",
    "an orphan in its group": "double",
    "an orphan in its group without an environment": "double erased deaf",
    "a session of its own without an environment": "session erased deaf",
    "a daemon without an environment": "session double erased deaf",
}
FLEEING = f"""\
import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    until = time.monotonic() + 120  # if the tests are killed
    while time.monotonic() < until:
        if os.fork():
            os._exit(0)
        os.setsid()
        time.sleep(float(sys.argv[1]))
    os._exit(0)
{OBEDIENT}"""
"""Has a child that is another process in another session every few milliseconds."""


LEAVES_THE_DEAD = f"""\
import os
for _ in range(10_000):
    if os.fork() == 0:
        os._exit(0)
{OBEDIENT}"""
"""Never reaps its children."""
IMPATIENT = """\
import os
from plugvisor.engines.supervisord.extension.processes import orphans, process_tree
if "NO_CHILDREN" in os.environ:  # a kernel without CONFIG_PROC_CHILDREN
    process_tree._CHILDREN = "/proc/{}/task/{}/nothing"
from plugvisor.engines.supervisord.extension.rpcinterface import make_rpcinterface
orphans.TERM_SECONDS = 0.1
"""


@contextlib.contextmanager
def make_impatient() -> Iterator[Supervisord]:
    """A supervisord whose orphans get a tenth of a second to obey, not started yet."""
    with make_supervisord("impatient") as made:
        (made.root / "impatient.py").write_text(IMPATIENT)
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Supervisord]:
    """One supervisord for the whole file, running."""
    with make_impatient() as made:
        made.start()
        yield made


@pytest.fixture
def own() -> Iterator[Supervisord]:
    """A supervisord of this test's own, not started yet."""
    with make_impatient() as made:
        yield made


def find_all_tagged(folder: str) -> set[Process]:
    """The processes with a process tag of a folder, and their descendants."""
    return set(orphans.find_tagged(folder))


class Family:
    """A plugin of `PARENT` and its children."""

    def __init__(self, shared: Supervisord, name: str, kinds: tuple[str, ...]) -> None:
        self.shared, self.name = shared, name
        self.main = shared.start_ready(name)
        # how many have begun: a child that is to ignore SIGTERM does so from then on
        wait_for(lambda: (begun := shared.read_output(name).count("child")) and begun % len(kinds) == 0, "its children")
        # the parent of a child that was forked twice may need a moment to end
        wait_for(lambda: len(shared.find(name)) == len(kinds) + 1, "no process but these")
        self.pids = shared.find(name)

    @property
    def children(self) -> list[int]:
        """Its processes that are not the main one."""
        return [pid for pid in self.shared.find(self.name) if pid != self.main]

    def wait_until_gone(self) -> None:
        """Wait until none of them is alive."""
        wait_for(lambda: not [pid for pid in self.pids if is_alive(pid)], "the end of all")


def write_parent(shared: Supervisord, name: str, *kinds: str, **options: object) -> None:
    """Write a plugin that has these children."""
    script = str(shared.root / f"{name}.py")
    shared.write_plugin(name, PARENT, arguments=[sys.executable, "-I", "-S", script, *kinds], **options)


@pytest.fixture
def start_family(shared: Supervisord, add: Callable[..., str]) -> Callable[..., Family]:
    """Adds and starts a plugin with children of these kinds."""

    def start(*kinds: str, **options: object) -> Family:
        name = add()
        write_parent(shared, name, *kinds, **options)
        return Family(shared, name, kinds)

    return start


# -- when a plugin ends


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["plugins.stop", "supervisorctl stop"])
def test_a_stop_ends_them(shared: Supervisord, start_family: Callable[..., Family], how: str, kind: str) -> None:
    family = start_family(KINDS[kind])
    reader = shared.follow()
    if how == "plugins.stop":
        shared.rpc("plugins.stop", family.name)
    else:
        shared.ctl("stop", family.name)
    reader.wait_for(family.name, state=STOPPED, orphans=False)
    assert not [pid for pid in family.pids if is_alive(pid)], "at the very moment at which the stream says so"
    shared.close_readers()


def test_the_log_says_which(shared: Supervisord, start_family: Callable[..., Family]) -> None:
    family = start_family("session double", "session double deaf")
    shared.stop_plugin(family.name)
    [line] = [line for line in shared.log.splitlines() if f"ended the orphans of {family.name!r}" in line]
    assert all(f"{pid} (SIG" in line for pid in family.pids if pid != family.main)
    assert f" {family.main} (" not in line
    assert "SIGKILL" in line
    assert "SIGTERM" in line, "that one was asked"


def test_a_plugin_without_orphans_is_not_waited_for(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    shared.start_ready(name)
    reader = shared.follow()
    shared.stop_plugin(name)
    reader.wait_for(name, state=STOPPED, orphans=False)
    assert f"ended the orphans of {name!r}" not in shared.log
    shared.close_readers()


def test_a_crash_ends_them(shared: Supervisord, start_family: Callable[..., Family]) -> None:
    family = start_family("session double deaf", "session")
    reader = shared.follow()
    os.kill(family.main, signal.SIGKILL)
    reader.wait_for_report(family.name, state=EXITED, orphans=True)
    reader.wait_for(family.name, state=EXITED, orphans=False)
    assert not [pid for pid in family.pids if is_alive(pid)]
    shared.close_readers()


def test_the_next_process_starts_when_they_are_gone(shared: Supervisord, start_family: Callable[..., Family]) -> None:
    family = start_family("session double deaf", autorestart="true")
    os.kill(family.main, signal.SIGKILL)
    wait_for(lambda: shared.states[family.name][1] not in (0, family.main), "the next")
    assert not [pid for pid in family.pids if is_alive(pid)]


@pytest.mark.parametrize("method", ["plugins.start", "plugins.restart", "supervisor.startProcess"])
def test_a_start_does_not_wait_for_them_to_obey(
    shared: Supervisord, start_family: Callable[..., Family], method: str
) -> None:
    family = start_family("session double deaf")
    os.kill(family.main, signal.SIGTERM)
    wait_for(lambda: shared.states[family.name] == (EXITED, 0))
    before = shared.count_ready(family.name)
    shared.rpc(method, family.name)
    wait_for(lambda: shared.count_ready(family.name) > before, "the next")
    family.wait_until_gone()
    assert shared.states[family.name][0] == RUNNING


@pytest.mark.parametrize("milliseconds", [0, 1, 5])
def test_one_that_forks_all_the_time(shared: Supervisord, add: Callable[..., str], milliseconds: int) -> None:
    name = add()
    script = str(shared.root / f"{name}.py")
    arguments = [sys.executable, "-I", "-S", script, str(milliseconds / 1000)]
    shared.write_plugin(name, FLEEING, arguments=arguments)
    for _ in range(20):
        shared.start_ready(name)
        shared.stop_plugin(name)
        assert shared.find(name) == []


def test_ten_thousand_dead_orphans_at_once(shared: Supervisord, add: Callable[..., str]) -> None:
    """They are reaped before anybody looks at the living; each look at all of them takes a tenth of a second."""
    name = add()
    shared.write_plugin(name, LEAVES_THE_DEAD)
    shared.rpc("plugins.start", name)
    wait_for(lambda: shared.count_ready(name), "its children to be dead", 240)
    before = cpu_seconds(shared.pid)
    shared.stop_plugin(name)
    assert cpu_seconds(shared.pid) - before < 0.5
    assert list_children(shared.pid) == []


def test_others_go_on_meanwhile(
    shared: Supervisord, start_family: Callable[..., Family], add: Callable[..., str]
) -> None:
    family, other = start_family("session double deaf"), add()
    shared.rpc("plugins.stop", family.name)
    wait_for(lambda: shared.states[family.name] == (STOPPED, 0))
    for _ in range(3):
        shared.start_ready(other)
        shared.stop_plugin(other)
    family.wait_until_gone()


@pytest.mark.parametrize("how", ["supervisorctl stop", "plugins.restart", "plugins.remove", "the end"])
@pytest.mark.parametrize("milliseconds", [0, 1, 5])
def test_one_that_forks_all_the_time_has_no_way_out(own: Supervisord, milliseconds: int, how: str) -> None:
    arguments = [sys.executable, "-I", "-S", str(own.root / "x.py"), str(milliseconds / 1000)]
    own.write_plugin("x", FLEEING, arguments=arguments)
    own.start()
    for _ in range(5):
        own.start_ready("x")
        before = set(own.find("x"))
        match how:
            case "supervisorctl stop":
                own.ctl("stop", "x")
                own.wait_until_gone("x")
                assert own.find("x") == []
            case "plugins.restart":
                ready = own.count_ready("x")
                own.rpc("plugins.restart", "x")
                wait_for(lambda ready=ready: own.count_ready("x") > ready, "the next")
                assert not before & set(own.find("x"))
                own.stop_plugin("x")
            case "plugins.remove":
                own.stop_plugin("x")
                own.rpc("plugins.remove", "x")
                assert own.find("x") == []
                own.rpc("plugins.add", "x")
            case "the end":
                assert own.stop() == 0
                assert own.find("x") == []
                own.start()


def test_a_kernel_that_does_not_list_children(own: Supervisord) -> None:
    kinds = tuple(KINDS.values())
    write_parent(own, "x", *kinds)
    write_parent(own, "other", "session double")
    own.start(NO_CHILDREN="1")
    other = Family(own, "other", ("session double",))
    family = Family(own, "x", kinds)
    own.stop_plugin("x")
    assert not [pid for pid in family.pids if is_alive(pid)]
    assert all(is_alive(pid) for pid in other.pids)


def test_a_launch_number_limits_nothing(own: Supervisord) -> None:
    own.write_plugin("x")
    own.start()
    numbers = set()
    for _ in range(2):
        numbers.add(read_launch_number(own.start_ready("x")))
        own.stop_plugin("x")
    assert len(numbers - {None}) == 2, "another one for each launch"
    assert read_launch_number(own.pid) is None
    assert read_launch_number(os.getpid()) is None


# -- when supervisord ends


def test_the_end_of_supervisord_ends_them(own: Supervisord) -> None:
    write_parent(own, "x", *KINDS.values())
    own.start()
    family = Family(own, "x", tuple(KINDS.values()))
    assert own.stop() == 0
    assert not [pid for pid in family.pids if is_alive(pid)]


def test_those_of_a_killed_supervisord_are_ended_before_anything_starts(own: Supervisord) -> None:
    write_parent(own, "x", "session double", "session erased deaf", autostart="true")
    own.start()
    wait_for(lambda: own.read_output("x").count("child") == 2)
    wait_for(lambda: own.count_ready("x"))
    # the parent of a child that was forked twice may need a moment to end
    earlier = wait_for(lambda: len(found := own.find("x")) == 3 and found, "no process but these")
    assert own.process is not None
    own.process.kill()
    own.process.wait()
    assert all(is_alive(pid) for pid in earlier)
    own.start()
    assert not [pid for pid in earlier if is_alive(pid)]
    assert f"ended what an earlier supervisord had left running: {len(earlier)} processes" in own.log
    wait_for(lambda: own.read_output("x").count("child") == 4)


@pytest.mark.parametrize("milliseconds", [1, 5])
def test_one_that_forks_all_the_time_after_a_killed_supervisord(own: Supervisord, milliseconds: int) -> None:
    arguments = [sys.executable, "-I", "-S", str(own.root / "x.py"), str(milliseconds / 1000)]
    own.write_plugin("x", FLEEING, arguments=arguments)
    for _ in range(3):
        own.start()
        own.start_ready("x")
        assert own.process is not None
        own.process.kill()
        own.process.wait()
    own.start()
    assert own.find("x") == []


# -- whose they are


def test_what_a_running_plugin_has_started_lives_on(
    shared: Supervisord, start_family: Callable[..., Family], add: Callable[..., str]
) -> None:
    """Its daemons are supervisord's children, as orphans are."""
    family, other = start_family("session double", "double"), start_family("session double deaf")
    shared.stop_plugin(other.name)
    assert all(is_alive(pid) for pid in family.pids)


def test_what_a_foreign_program_leaves_behind_lives_on(own: Supervisord) -> None:
    (own.root / "foreign.py").write_text(PARENT)
    own.write_program("foreign", command=f"{sys.executable} -I -S {own.root}/foreign.py 'session double'")
    own.write_plugin("x")
    own.start()
    wait_for(lambda: "child" in own.read_output("foreign"))
    own.ctl("stop", "foreign")
    own.start_ready("x")
    own.stop_plugin("x")
    [left] = own.find("foreign")
    assert is_alive(left)
    kill_all([left])


def test_two_supervisords_never_touch_each_other(own: Supervisord) -> None:
    with make_impatient() as other:
        families = []
        for supervisord in (own, other):
            write_parent(supervisord, "x", "session double deaf")
            supervisord.start()
            families.append(Family(supervisord, "x", ("session double deaf",)))
        own.stop_plugin("x")
        assert own.stop() == 0
        own.start()
        families[0].wait_until_gone()
        assert all(is_alive(pid) for pid in families[1].pids)


@pytest.fixture
def tagged(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a process tag of this folder, and a child without one."""
    code = "import subprocess\nsubprocess.run(['sleep', '60'], env={'A': 'b'})"
    environ = {"PATH": os.environ["PATH"], "PLUGVISOR_PLUGIN": f"{tmp_path}:x:17"}
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], env=environ)
    wait_for(lambda: len(find_all_tagged(str(tmp_path))) == 2, "both")
    yield process
    kill_all(found.pid for found in find_all_tagged(str(tmp_path)))
    process.wait()


def test_a_folder_has_one_name_among_many(tagged: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path)
    assert find_all_tagged(str(tmp_path / "other")) == set()
    assert len(find_all_tagged(str(tmp_path / "alias"))) == 2
    assert tagged.poll() is None


def test_at_the_start_those_that_do_not_obey_are_killed(
    tagged: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "TERM_SECONDS", 0.05)
    os.kill(tagged.pid, signal.SIGSTOP)  # it cannot obey
    wait_for(lambda: Path(f"/proc/{tagged.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the stop")
    ended = end_tagged(str(tmp_path))
    assert tagged.pid in [process.pid for process in ended]
    assert tagged.wait() == -signal.SIGKILL
    assert find_all_tagged(str(tmp_path)) == set()


def test_a_number_that_is_used_again_is_another_process(tagged: subprocess.Popen[bytes]) -> None:
    started = read_relations(tagged.pid).started
    assert not process_tree.send_signal(Process(tagged.pid, started - 1), signal.SIGKILL)
    assert not process_tree.is_alive(Process(tagged.pid, started - 1))
    assert process_tree.is_alive(Process(tagged.pid, started))
    assert tagged.poll() is None
