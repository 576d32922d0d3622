"""Finding and ending what plugins leave behind: processes that outlive the main process they came from.

They are found by the mark in their environment (`plugvisor.engines.supervisord.extension.process_tag`), which needs /proc: where the system has none
(macOS) nothing is found. Used by the service, by `plugvisor up`, and inside supervisord, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.engines.supervisord.extension.process_tag import parse_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

TERM_SECONDS = 1.0
"""So long what is left behind may take to obey SIGTERM; then comes SIGKILL."""
SLICE_SECONDS = 0.005
"""So long a census holds up whoever takes it, before it lets something else happen."""
_LOOK_SECONDS = 0.01


class Member(NamedTuple):
    """A living process of a plugin's family."""

    pid: int
    started: int
    """When, in the kernel's ticks: a number that is used again belongs to a process that started later."""
    plugin_id: str
    main_pid: int
    """The main process of its time; it may be that process itself."""


@dataclass(frozen=True, slots=True)
class _Known:
    inode: int
    member: Member | None


class _Relations(NamedTuple):
    is_dead: bool
    parent: int
    group: int
    session: int
    started: int


class Census:
    """Finds the processes of one Plugvisor's plugins.

    What it has learnt of a process it keeps: the next census looks only at those that are new.

    Args:
        run_dir: the run folder, which the mark names.
        look_as: makes this process, for a moment, the user whose processes are to be looked at.
    """

    def __init__(
        self, run_dir: str, look_as: Callable[[], contextlib.AbstractContextManager[None]] | None = None
    ) -> None:
        self._run_dir = run_dir
        self._look_as = look_as
        self._known: dict[int, _Known] = {}

    @property
    def members(self) -> list[Member]:
        """What the last census has found; some of it may have ended meanwhile (`is_alive`)."""
        return [known.member for known in self._known.values() if known.member is not None]

    def take(self) -> Generator[None]:
        """Look at every process there is, pausing after each `SLICE_SECONDS`; then `members` is new."""
        fresh: dict[int, _Known] = {}
        pause_at = time.monotonic() + SLICE_SECONDS
        for pid, inode in _list_processes():
            known = self._known.get(pid)
            if known is None or known.inode != inode:
                with self._look_as() if self._look_as else contextlib.nullcontext():
                    known = self._look(pid, inode, fresh)
            if known is not None:
                fresh[pid] = known
            if time.monotonic() > pause_at:
                yield
                pause_at = time.monotonic() + SLICE_SECONDS
        self._known = fresh

    def take_now(self) -> list[Member]:
        """Take a census without a pause; returns who lives."""
        for _ in self.take():
            pass
        return [member for member in self.members if is_alive(member)]

    def _look(self, pid: int, inode: int, fresh: dict[int, _Known]) -> _Known | None:
        """What is to be known of a process; None where it must be looked at again."""
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                environ = file.readall()
            relations = _read_relations(pid)
        except PermissionError:
            # another user's; or root's child, which is about to become the user that we are now
            return _Known(inode, None) if self._look_as is None else None
        except OSError:
            return None
        mark = parse_mark(environ)
        if mark is not None and self._is_ours(pid, mark.run_dir):
            return _Known(inode, Member(pid, relations.started, mark.plugin_id, mark.main_pid))
        # Some overwrite their environment, to be shown under another name, or give their children one without it.
        for relative in (relations.parent, relations.group, relations.session):
            known = fresh.get(relative) if relative != pid else None
            if known is not None and known.member is not None:
                return _Known(inode, known.member._replace(pid=pid, started=relations.started))
        # A child of ours may be about to execute a launch script; and an environment is empty in the middle of exec,
        # but always so with the kernel's own threads, whose parent is 2.
        is_settled = relations.parent != os.getpid() and (environ or relations.is_dead or relations.parent == 2)
        return _Known(inode, None) if is_settled else None

    def _is_ours(self, pid: int, run_dir: str) -> bool:
        """Whether a mark's run folder is ours: in a container the same path is another folder."""
        try:
            own = os.stat(self._run_dir)
            theirs = os.stat(f"/proc/{pid}/root{run_dir}")
            return (own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino)
        except OSError:
            # it does not see the folder, or the folder is gone
            with contextlib.suppress(OSError):
                return run_dir == self._run_dir and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(
                    "/proc/self/ns/pid"
                )
            return False


@dataclass
class Ending:
    """The end of some processes: SIGTERM, and SIGKILL to those that are still there after `TERM_SECONDS`."""

    ended: dict[Member, str] = field(default_factory=dict)
    """Who was sent a signal, and the last one's name."""
    _kill_at: float = 0.0

    def press(self, members: Iterable[Member], *, at_once: bool = False) -> None:
        """Send each of them the signal that is due; `at_once` is SIGKILL."""
        now = time.monotonic()
        self._kill_at = self._kill_at or now + TERM_SECONDS
        sent = signal.SIGKILL if at_once or now >= self._kill_at else signal.SIGTERM
        for member in members:
            if self.ended.get(member) != sent.name and send_signal(member, sent):
                self.ended[member] = sent.name

    def __str__(self) -> str:
        return ", ".join(f"{member.pid} ({name})" for member, name in sorted(self.ended.items()))


def end_all(find: Callable[[], list[Member]], patience_seconds: float) -> Ending:
    """End what `find` finds, until it finds nothing any more, or the time is over. This blocks."""
    ending, deadline = Ending(), time.monotonic() + patience_seconds
    while (members := find()) and time.monotonic() < deadline:
        ending.press(members)
        time.sleep(_LOOK_SECONDS)
    return ending


def end_strays_of(run_dir: str, patience_seconds: float) -> Ending:
    """End every plugin's process that an earlier supervisord has left running, before another one starts anything."""
    census = Census(run_dir)
    return end_all(census.take_now, patience_seconds)


def is_alive(member: Member) -> bool:
    """Whether that very process is there, and no zombie."""
    try:
        relations = _read_relations(member.pid)
    except OSError:
        return False
    return relations.started == member.started and not relations.is_dead


def send_signal(member: Member, signal_number: int) -> bool:
    """Signal that very process, and none that has got its number since; returns whether it was there."""
    try:
        descriptor = os.pidfd_open(member.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # an old kernel, or a filter of system calls
        descriptor = -1
    try:
        if not is_alive(member):
            return False
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, signal_number)
        else:
            os.kill(member.pid, signal_number)
    except OSError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def _list_processes() -> list[tuple[int, int]]:
    """Every process's id, and the inode that stands for it, which its successor under that id has not."""
    try:
        with os.scandir("/proc") as entries:
            return sorted((int(entry.name), entry.inode()) for entry in entries if entry.name.isdigit())
    except OSError:
        return []


def _read_relations(pid: int) -> _Relations:
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        # after the command's name, which stands in parentheses and may itself hold some (proc_pid_stat(5))
        fields = file.readall().rpartition(b")")[2].split()
    return _Relations(fields[0] in (b"Z", b"X"), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
