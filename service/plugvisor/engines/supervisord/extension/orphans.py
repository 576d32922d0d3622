"""Finding and ending orphans: processes of a plugin that outlive its main process.

supervisord is a child subreaper (prctl(2)), so nothing leaves its tree: whatever loses its parent becomes
supervisord's own child. Whose it is, is told by the process tag in its environment, else by its process group or
session, else by where it stood in the tree when the plugin was stopped.

It needs /proc: on a system without one (macOS) nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.engines.supervisord.extension.process_tag import ProcessTag, parse_process_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

TERM_SECONDS = 1.0
"""How long an orphan may take to obey SIGTERM; then it is frozen and killed."""
END_SECONDS = 3.0
"""How long supervisord waits for orphans when it ends, or before it starts anything."""
SLICE_SECONDS = 0.005
"""How long freezing may hold up supervisord's loop before something else happens."""
RECHECK_SECONDS = 0.01
"""Between two looks at orphans that were signalled: the end of a grandchild raises no SIGCHLD here."""


class Process(NamedTuple):
    """One process; its id alone may be another one's later."""

    pid: int
    started: int
    """When it started, in the kernel's ticks."""


class Relations(NamedTuple):
    """What `/proc/<pid>/stat` says of a process."""

    is_dead: bool
    parent: int
    group: int
    session: int
    started: int


class Orphans:
    """Ends what is left of a program whenever its main process has ended.

    Args:
        run_dir: the run folder that the process tags name.
        find_launch: returns the tag of a program's living main process, or None if it has none.
        is_main: whether a process id is that of a main process.
        log: writes a line to supervisord's log.
        look_as: makes this process, for a moment, the user whose processes it examines.
    """

    def __init__(
        self,
        run_dir: str,
        find_launch: Callable[[str], ProcessTag | None],
        is_main: Callable[[int], bool],
        log: Callable[[str], object],
        look_as: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._find_launch = find_launch
        self._is_main = is_main
        self._log = log
        self._look_as = look_as
        self._owners: dict[Process, ProcessTag] = {}
        self._leaders: dict[int, ProcessTag] = {}  # main processes by id, until nothing of them is left
        self._endings: dict[str, _Ending] = {}
        self._check_at = 0.0

    def note_spawned(self, pid: int, tag: ProcessTag) -> None:
        """A main process was started."""
        self._leaders[pid] = tag

    def note_descendants(self, pid: int, tag: ProcessTag) -> None:
        """Remember the tree of a main process that is about to be stopped: its members may hide whose they are."""
        for process in walk_tree(pid):
            self._owners.setdefault(process, tag)

    def note_ended(self, name: str) -> None:
        """A main process has ended: whatever else there is of that program is to be ended."""
        self._endings.setdefault(name, _Ending())
        self._check_at = 0.0

    def note_reaped(self) -> None:
        """A process that is no main process was reaped: look again."""
        self._check_at = 0.0 if self._endings else self._check_at

    def has(self, name: str) -> bool:
        """Whether something is left of a program that has ended, as far as is known."""
        return name in self._endings

    @property
    def names(self) -> list[str]:
        """The programs of which something is left."""
        return list(self._endings)

    def step(self, urgent: Iterable[str] = ()) -> tuple[list[str], float | None]:
        """End what is left.

        Args:
            urgent: programs that are about to be started: their orphans get no time to obey SIGTERM.

        Returns:
            the programs of which nothing is left any more, and in how many seconds to call this again.
        """
        if not self._endings:
            return [], None
        now = time.monotonic()
        if now >= self._check_at:
            for name in urgent:
                if name in self._endings:
                    self._endings[name].kill_at = 0.0
            return self._check(now), self._seconds_until_check(now)
        return [], self._seconds_until_check(now)

    def kill_now(self, name: str) -> None:
        """Freeze and kill what is left of a program that is about to be started, without waiting for its end."""
        if name in self._endings:
            self._endings[name].kill_at = 0.0
            self._freeze_and_kill(name, self._endings[name])

    def end_all(self) -> None:
        """No main process is alive, and none will be: end whatever is left of any program."""
        for _, tag in self._find_strayed():
            self.note_ended(tag.plugin_id)

    def _seconds_until_check(self, now: float) -> float | None:
        return max(0.0, self._check_at - now) if self._endings else None

    def _check(self, now: float) -> list[str]:
        self._check_at = now + RECHECK_SECONDS
        left: defaultdict[str, list[Process]] = defaultdict(list)
        for process, tag in self._find_strayed():
            if tag.plugin_id in self._endings:
                left[tag.plugin_id].append(process)
        cleared = [name for name in self._endings if name not in left]
        for name in cleared:
            self._clear(name)
        for name, roots in left.items():
            ending = self._endings[name]
            if now >= ending.find_kill_time(now):
                self._freeze_and_kill(name, ending)
            else:
                ending.signal(walk_trees(roots), signal.SIGTERM)
        return cleared

    def _clear(self, name: str) -> None:
        ending = self._endings.pop(name)
        if ending.signalled:
            self._log(f"plugins: ended the orphans of {name!r}: {ending}")
        live = self._find_launch(name)
        self._leaders = {pid: tag for pid, tag in self._leaders.items() if tag.plugin_id != name or tag == live}
        self._owners = {process: tag for process, tag in self._owners.items() if tag.plugin_id != name or tag == live}

    def _freeze_and_kill(self, name: str, ending: _Ending) -> None:
        """Stop every process that is found until no new one appears, then kill them all.

        A process that forks faster than it can be killed cannot fork while it is stopped.
        """
        deadline = time.monotonic() + SLICE_SECONDS
        while time.monotonic() < deadline:
            found = set(walk_trees(process for process, tag in self._find_strayed() if tag.plugin_id == name))
            if not found - ending.frozen:
                ending.signal(found, signal.SIGKILL)
                return
            ending.signal(found - ending.frozen, signal.SIGSTOP)
            ending.frozen |= found

    def _find_strayed(self) -> Iterator[tuple[Process, ProcessTag]]:
        """supervisord's own children that are main processes no more, or never were, and whose they are."""
        own = os.getpid()
        for pid in list_children(own):
            if self._is_main(pid):
                continue
            with contextlib.suppress(OSError):
                relations = read_relations(pid)
                if relations.is_dead:
                    continue
                process = Process(pid, relations.started)
                tag = self._owners.get(process) or self._identify(pid, relations)
                if tag is None:
                    continue
                self._owners[process] = tag
                if tag != self._find_launch(tag.plugin_id):
                    yield process, tag

    def _identify(self, pid: int, relations: Relations) -> ProcessTag | None:
        with self._look_as() if self._look_as else contextlib.nullcontext():
            tag = read_tag(pid)
            if tag is not None and is_same_folder(pid, tag.run_dir, self._run_dir):
                return tag._replace(run_dir=self._run_dir)
        return self._leaders.get(relations.group) or self._leaders.get(relations.session)


class _Ending:
    """The end of one program's orphans: SIGTERM, and after `TERM_SECONDS` SIGKILL."""

    def __init__(self) -> None:
        self.kill_at: float | None = None
        self.frozen: set[Process] = set()
        self.signalled: dict[Process, int] = {}

    def find_kill_time(self, now: float) -> float:
        """When SIGKILL is due; the time to obey SIGTERM begins with the first call."""
        if self.kill_at is None:
            self.kill_at = now + TERM_SECONDS
        return self.kill_at

    def signal(self, processes: Iterable[Process], number: int) -> None:
        """Send each process a signal that it has not been sent as the last one."""
        for process in processes:
            if self.signalled.get(process) != number and send_signal(process, number):
                self.signalled[process] = number

    def __str__(self) -> str:
        return ", ".join(
            f"{process.pid} ({signal.Signals(number).name})" for process, number in sorted(self.signalled.items())
        )


def end_tagged(run_dir: str, patience_seconds: float = END_SECONDS) -> list[Process]:
    """End what an earlier supervisord that was killed has left running of a run folder's plugins. This blocks.

    Returns:
        the processes that were sent a signal.
    """
    began = time.monotonic()
    signalled: dict[Process, None] = {}
    while found := find_tagged(run_dir):
        waited_seconds = time.monotonic() - began
        if waited_seconds > patience_seconds:
            break
        for process in found:
            if process not in signalled or waited_seconds > TERM_SECONDS:
                send_signal(process, signal.SIGKILL if waited_seconds > TERM_SECONDS else signal.SIGTERM)
                signalled[process] = None
        time.sleep(RECHECK_SECONDS)
    return list(signalled)


def find_tagged(run_dir: str) -> list[Process]:
    """Every living process with a tag of that run folder, and its descendants."""
    roots = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and int(name) != os.getpid():
            tag = read_tag(int(name))
            if tag is not None and is_same_folder(int(name), tag.run_dir, run_dir):
                roots.append(int(name))
    return sorted({process for pid in roots for process in walk_tree(pid) if is_alive(process)})


def walk_trees(roots: Iterable[Process]) -> Iterator[Process]:
    """Processes and their descendants."""
    for root in roots:
        yield from walk_tree(root.pid)


def walk_tree(root: int) -> Iterator[Process]:
    """A process and its descendants; what ends meanwhile is left out."""
    pending = [root]
    for pid in pending:  # grows meanwhile
        with contextlib.suppress(OSError):
            relations = read_relations(pid)
            if not relations.is_dead:
                yield Process(pid, relations.started)
                pending += list_children(pid)


def list_children(pid: int) -> list[int]:
    """The children of a process; empty where the kernel does not list them."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as file:
                children += map(int, file.readall().split())
    return children


def read_tag(pid: int) -> ProcessTag | None:
    """The process tag of a process; None if it has none, or may not be examined."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return parse_process_tag(file.readall())
    except OSError:
        return None


def is_same_folder(pid: int, theirs: str, ours: str) -> bool:
    """Whether a path, as a process sees it, is the run folder: in a container the same path is another folder."""
    try:
        their_status, our_status = os.stat(f"/proc/{pid}/root{theirs}"), os.stat(ours)
    except OSError:  # it does not see the folder, or the folder is gone
        with contextlib.suppress(OSError):
            return theirs == ours and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
        return False
    return (their_status.st_dev, their_status.st_ino) == (our_status.st_dev, our_status.st_ino)


def is_alive(process: Process) -> bool:
    """Whether that very process exists and is no zombie."""
    try:
        relations = read_relations(process.pid)
    except OSError:
        return False
    return relations.started == process.started and not relations.is_dead


def send_signal(process: Process, number: int) -> bool:
    """Signal that very process, and none that has got its number since; returns whether it was there."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # an old kernel, or a filter of system calls
        descriptor = -1
    try:
        if not is_alive(process):
            return False
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(process.pid, number)
    except OSError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def read_relations(pid: int) -> Relations:
    """Read `/proc/<pid>/stat`; raises `OSError`."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        # after the command's name, which stands in parentheses and may itself hold some (proc_pid_stat(5))
        fields = file.readall().rpartition(b")")[2].split()
    return Relations(fields[0] in (b"Z", b"X"), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
