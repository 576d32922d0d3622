"""Where control groups are looked for, and when there are none; on a real kernel: tests/cgroup/."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.limits import hierarchy
from plugvisor.engines.supervisord.extension.limits.control_groups import ControlGroups
from plugvisor.engines.supervisord.extension.limits.hierarchy import GroupsUnavailable, find_places, has_only_own
from plugvisor.engines.supervisord.extension.processes.process_tree import Relations

if TYPE_CHECKING:
    from pathlib import Path

V1 = "31 23 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"


def write_proc(folder: Path, path: str, mounts: list[tuple[str, str]]) -> str:
    """Write what /proc/self has of control groups: the group's path, and the root and folder of each mount."""
    (folder / "cgroup").write_text(f"4:memory:/somewhere/else\n{path}\n")
    lines = [f"41 31 0:38 {root} {at} rw shared:7 master:1 - cgroup2 cgroup2 rw\n" for root, at in mounts]
    (folder / "mountinfo").write_text(V1 + "".join(lines))
    return str(folder)


@pytest.mark.parametrize(
    ("path", "mounts", "places"),
    [
        ("0::/a.slice/b.service", [("/", "/cg")], [("/cg", "/cg/a.slice/b.service")]),
        ("0::/", [("/", "/cg")], [("/cg", "/cg")]),
        ("0::/a/b", [("/a", "/cg")], [("/cg", "/cg/b")]),
        ("0::/a", [("/a", "/cg")], [("/cg", "/cg")]),
        ("0::/a b", [("/", r"/c\040g")], [("/c g", "/c g/a b")]),
        ("0::/a", [("/ab", "/other"), ("/", "/cg")], [("/cg", "/cg/a")]),
        ("0::/a", [("/..", "/cg")], []),
        ("0::/../a", [("/", "/cg")], []),
        ("0::/a", [], []),
        ("1:name=systemd:/a", [("/", "/cg")], []),
    ],
)
def test_the_group_is_found_in_every_mount_that_shows_it(
    tmp_path: Path, path: str, mounts: list[tuple[str, str]], places: list[tuple[str, str]]
) -> None:
    assert [tuple(place) for place in find_places(write_proc(tmp_path, path, mounts))] == places


@pytest.mark.parametrize(
    ("members", "controllers", "reason"),
    [
        ("1", "memory", "other processes are in supervisord's control group"),
        ("0", "memory", "other processes are in supervisord's control group"),
        ("", "", "no controller is available in supervisord's control group"),
    ],
    ids=["init", "a process of another namespace", "no controller"],
)
def test_a_group_that_cannot_be_used_is_left_as_it_is(
    tmp_path: Path, members: str, controllers: str, reason: str
) -> None:
    root = tmp_path / "hierarchy"
    own = root / "own"
    own.mkdir(parents=True)
    for name in ("cgroup.type", "cgroup.subtree_control", "cgroup.procs"):
        (own / name).touch()
    (root / "cgroup.type").touch()  # of a namespace
    (own / "cgroup.procs").write_text(members)
    groups = ControlGroups(str(tmp_path), write_proc(tmp_path, "0::/own", [("/", str(root))]))
    with pytest.raises(GroupsUnavailable, match=reason):
        groups.make("echo", {"memory": 1})
    assert (own / "cgroup.procs").read_text() == members
    groups.kill("echo")
    groups.remove("echo")
    groups.close()
    assert groups.list_members("echo") == []


@pytest.mark.parametrize("what", ["no /proc", "no version 2"])
def test_a_system_without_control_groups_says_so(tmp_path: Path, what: str) -> None:
    proc = "/nonexistent" if what == "no /proc" else write_proc(tmp_path, "0::/", [])
    with pytest.raises(GroupsUnavailable, match=r"control groups of version 2|a group cannot be made"):
        ControlGroups(str(tmp_path), proc).make("echo", {"memory": 1})


def test_descendants_are_ones_own(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.read(reading, 1)
        os._exit(0)
    try:
        (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n{child}\n999999999\n")
        assert has_only_own(str(tmp_path))
        (tmp_path / "cgroup.procs").write_text(f"{child}\n{os.getppid()}\n")
        assert not has_only_own(str(tmp_path))
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_a_process_whose_parent_ends_meanwhile_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be somebody else's, such as the child of a shell that has ended just now."""
    parents = {700: [701, 1]}  # 701 ends between the two looks

    def read(pid: int) -> Relations:
        if pid not in parents:
            raise ProcessLookupError
        return Relations(parent=parents[pid].pop(0), group=pid, session=pid, started=1, is_dead=False)

    monkeypatch.setattr(hierarchy, "read_relations", read)
    (tmp_path / "cgroup.procs").write_text("700\n")
    assert not has_only_own(str(tmp_path))
