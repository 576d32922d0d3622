"""Finding and ending orphans: processes of a plugin that outlive its main process.

supervisord is a child subreaper (prctl(2)), so nothing leaves its tree: whatever loses its parent becomes
supervisord's own child. Its plugin is identified by the process tag in its environment, else by its process group
or session, its launch number, or its place in the tree when the plugin was stopped.

A look at the children takes time, in which a process may fork and end: its child is then among those of the next look.
So nothing is left of a program only if a look finds none of it and nobody who may have had a child of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.extension.processes.launch_number import make_launch_number, read_launch_number
from plugvisor.engines.supervisord.extension.processes.process_tree import (
    Process,
    Relations,
    is_alive,
    is_same_folder,
    list_children,
    read_relations,
    read_tag,
    send_signal,
    walk_tree,
    walk_trees,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from plugvisor.engines.supervisord.extension.limits.control_groups import ControlGroups
    from plugvisor.engines.supervisord.extension.processes.process_tag import ProcessTag

TERM_SECONDS = 1.0
"""How long an orphan may take to obey SIGTERM; then it is frozen and killed."""
END_SECONDS = 3.0
"""How long supervisord waits for orphans when it ends, or before it starts anything."""
SLICE_SECONDS = 0.005
"""How long freezing may hold up supervisord's loop before something else happens."""
RECHECK_SECONDS = 0.01
"""Between two looks at orphans that were signalled: the end of a grandchild raises no SIGCHLD here."""
DOUBT_SECONDS = 1.0
"""How long a program may be taken to have orphans because others come and go too fast to be identified."""
EMPTY_PASSES = 3
"""How often in a row nothing must be found before the orphans of an earlier supervisord count as ended."""


class Orphans:
    """Ends a program's orphans whenever its main process has ended.

    Args:
        run_dir: the run folder that the process tags name.
        find_launch: returns the tag of a program's living main process, or None if it has none.
        is_main: whether a process id is that of a main process.
        log: writes a line to supervisord's log.
        look_as: makes this process, for a moment, the user whose processes it examines.
        groups: the control groups of plugins; in one without a main process are orphans alone.
    """

    def __init__(
        self,
        run_dir: str,
        find_launch: Callable[[str], ProcessTag | None],
        is_main: Callable[[int], bool],
        log: Callable[[str], object],
        look_as: Callable[[], AbstractContextManager[None]] | None = None,
        *,
        groups: ControlGroups | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._find_launch = find_launch
        self._is_main = is_main
        self._log = log
        self._look_as = look_as
        self._groups = groups
        self._owners: dict[Process, ProcessTag] = {}
        self._leaders: dict[int, ProcessTag] = {}  # main processes by id, until nothing of them is left
        self._launches: dict[int, ProcessTag] = {}  # by launch number, until nothing of them is left
        self._endings: dict[str, _Ending] = {}
        self._unidentified: set[Process] = set()  # nobody's, when they were seen for the first time
        self._is_in_doubt = False  # the last look may have missed somebody
        self._check_at = 0.0

    def note_spawned(self, pid: int, tag: ProcessTag) -> None:
        """A main process was started."""
        self._leaders[pid] = tag
        self._launches[make_launch_number(tag)] = tag

    def note_descendants(self, pid: int, tag: ProcessTag) -> None:
        """Remember the tree of a main process that is about to be stopped: its members may hide whose they are."""
        for process in walk_tree(pid):
            self._owners.setdefault(process, tag)

    def note_ended(self, name: str) -> None:
        """Begin to end a program's orphans: its main process has ended."""
        self._endings.setdefault(name, _Ending())
        self._check_at = 0.0

    def note_reaped(self) -> None:
        """A process that is no main process was reaped: look again."""
        self._check_at = 0.0 if self._endings else self._check_at

    def has(self, name: str) -> bool:
        """Whether a program is known to have orphans."""
        return name in self._endings

    @property
    def names(self) -> list[str]:
        """The programs that have orphans."""
        return list(self._endings)

    def step(self, urgent: Iterable[str] = ()) -> tuple[list[str], float | None]:
        """End orphans.

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
        """Freeze and kill the orphans of a program that is about to be started, without waiting for their end."""
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
        for name in self._endings:
            if members := self._find_members(name):
                left[name] += members
        cleared = [
            name
            for name, ending in self._endings.items()
            if name not in left and (not self._is_in_doubt or now > ending.began + DOUBT_SECONDS)
        ]
        if cleared:
            self._clear(cleared)
        for name, roots in left.items():
            ending = self._endings[name]
            if now >= ending.find_kill_time(now):
                self._freeze_and_kill(name, ending)
            else:
                ending.signal(walk_trees(roots), signal.SIGTERM)
        return cleared

    def _clear(self, names: list[str]) -> None:
        for name in names:
            ending = self._endings.pop(name)
            if ending.signalled:
                self._log(f"plugins: ended the orphans of {name!r}: {ending}")
        live = {name: self._find_launch(name) for name in names}  # of a program that was started since, its process
        self._leaders = {pid: tag for pid, tag in self._leaders.items() if live.get(tag.plugin_id, tag) == tag}
        self._launches = {number: tag for number, tag in self._launches.items() if live.get(tag.plugin_id, tag) == tag}
        self._owners = {process: tag for process, tag in self._owners.items() if live.get(tag.plugin_id, tag) == tag}
        self._unidentified = {process for process in self._unidentified if is_alive(process)}

    def _freeze_and_kill(self, name: str, ending: _Ending) -> None:
        """Stop every process that is found until no new one appears, then kill them all.

        A process that forks faster than it can be killed cannot fork while it is stopped.
        """
        deadline = time.monotonic() + SLICE_SECONDS
        while time.monotonic() < deadline:
            strayed = (process for process, tag in self._find_strayed() if tag.plugin_id == name)
            found = set(walk_trees(itertools.chain(strayed, self._find_members(name))))
            if not found - ending.frozen and not self._is_in_doubt:
                break
            ending.signal(found - ending.frozen, signal.SIGSTOP)
            ending.frozen |= found
        ending.signal(ending.frozen, signal.SIGKILL)
        if self._groups is not None and self._find_launch(name) is None:
            self._groups.kill(name)

    def _find_members(self, name: str) -> list[Process]:
        """Orphans in a program's control group, whatever they have done to hide."""
        members: list[Process] = []
        if self._groups is not None and self._find_launch(name) is None:
            for pid in self._groups.list_members(name):
                with contextlib.suppress(OSError):  # it has ended
                    members.append(Process(pid, read_relations(pid).started))
        return members

    def _find_strayed(self) -> Iterator[tuple[Process, ProcessTag]]:
        """supervisord's own children that are main processes no more, or never were, and whose they are."""
        self._is_in_doubt = False
        for pid in list_children(os.getpid()):
            if self._is_main(pid):
                continue
            try:
                relations = read_relations(pid)
                process = Process(pid, relations.started)
                tag = self._owners.get(process) or self._identify(pid, relations)
            except OSError:  # it was reaped meanwhile
                self._is_in_doubt = True
                continue
            if tag is None and relations.is_dead:
                self._is_in_doubt = True
            elif tag is None:
                # once more, if it was executing a program just now
                self._is_in_doubt |= process not in self._unidentified
                self._unidentified.add(process)
            elif relations.is_dead:
                self._is_in_doubt |= tag.plugin_id in self._endings
            else:
                self._owners[process] = tag
                if tag != self._find_launch(tag.plugin_id):
                    yield process, tag

    def _identify(self, pid: int, relations: Relations) -> ProcessTag | None:
        leader = self._leaders.get(relations.group) or self._leaders.get(relations.session)
        if relations.is_dead:  # it has neither an environment nor limits any more
            return leader
        with self._look_as() if self._look_as else contextlib.nullcontext():
            tag = read_tag(pid)
            if tag is not None and is_same_folder(pid, tag.run_dir, self._run_dir):
                return tag._replace(run_dir=self._run_dir)
        if leader is not None:
            return leader
        number = read_launch_number(pid)
        return self._launches.get(number) if number is not None else None


class _Ending:
    """The end of one program's orphans: SIGTERM, and after `TERM_SECONDS` SIGKILL."""

    def __init__(self) -> None:
        self.began = time.monotonic()
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
    """End the orphans of an earlier supervisord that was killed, of one run folder's plugins. This blocks.

    Returns:
        the processes that were sent a signal.
    """
    began = time.monotonic()
    signalled: dict[Process, int] = {}
    empty_passes = 0
    while empty_passes < (EMPTY_PASSES if signalled else 1):
        waited_seconds = time.monotonic() - began
        if waited_seconds > patience_seconds:
            break
        number = signal.SIGKILL if waited_seconds > TERM_SECONDS else signal.SIGTERM
        is_empty = True
        # at once, before it has forked; those that were seen before may have lost their parent
        for process in itertools.chain(find_tagged(run_dir), filter(is_alive, list(signalled))):
            is_empty = False
            if signalled.get(process) != number and send_signal(process, number):
                signalled[process] = number
        empty_passes = empty_passes + 1 if is_empty else 0
        if signalled:
            time.sleep(RECHECK_SECONDS if number == signal.SIGTERM else 0)
    return list(signalled)


def find_tagged(run_dir: str) -> Iterator[Process]:
    """Every living process with a tag of that run folder, and its descendants; the youngest first."""
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else ()
    for pid in sorted(map(int, filter(str.isdigit, names)), reverse=True):
        tag = read_tag(pid) if pid != os.getpid() else None
        if tag is not None and is_same_folder(pid, tag.run_dir, run_dir):
            yield from walk_tree(pid)
