"""A crash at every step of every change: what is current afterwards is one of two whole versions."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from plugvisor.installer.folder.install_folder import InstallFolder
from plugvisor.installer.folder.recovery import recover

from tests.helpers.install_folders import (
    CHANGES,
    NEED_SPACE,
    Contents,
    Crash,
    fail_from,
    make_no_space,
    make_record,
    name_version,
    open_install_folder,
    place,
    read_contents,
    recover_contents,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GONE = Contents(is_there=False)

pytestmark = pytest.mark.usefixtures("nothing_is_stored")


def install(folder: InstallFolder, number: int = 1) -> None:
    place(folder, number)
    folder.swap("echo", name_version(number), make_record(number))


def update(folder: InstallFolder) -> None:
    place(folder, 2)
    folder.swap("echo", name_version(2), make_record(2, 1, pending=1))


def confirm(folder: InstallFolder) -> None:
    folder.write_record("echo", make_record(2, 1, previous=1))
    folder.prune("echo", [name_version(1), name_version(2)])


def go_back(folder: InstallFolder) -> None:
    folder.swap("echo", name_version(1), make_record(1))
    folder.prune("echo", [name_version(1)])


def roll_back(folder: InstallFolder) -> None:
    folder.swap("echo", name_version(1), make_record(1, 2, pending=2, previous=1))


def prune_first(folder: InstallFolder) -> None:
    folder.write_record("echo", make_record(2))
    folder.prune("echo", [name_version(2)])


def remove(folder: InstallFolder) -> None:
    folder.remove("echo", make_record(None, 1), purge=False)


def purge(folder: InstallFolder) -> None:
    folder.remove("echo", make_record(None, 1), purge=True)


def installed(current: int | None, *others: int, has_data: bool = True) -> Contents:
    kept = tuple(sorted(number for number in (current, *others) if number))
    return Contents(is_there=True, current=current, kept=kept, has_data=has_data)


UPDATED = (install, update, confirm)
SCENARIOS: dict[
    str, tuple[tuple[Callable[[InstallFolder], None], ...], Callable[[InstallFolder], None], list[Contents]]
]
SCENARIOS = {
    "first": ((), install, [GONE, installed(1, has_data=False)]),
    "update": ((install,), update, [installed(1)]),
    "confirmation": ((install, update), confirm, [installed(1), installed(2, 1)]),
    "way back": ((install, update), go_back, [installed(1)]),
    "rollback": (UPDATED, roll_back, [installed(2, 1)]),
    "pruning": (UPDATED, prune_first, [installed(2, 1), installed(2)]),
    "removal": ((install,), remove, [installed(1), installed(None, 1)]),
    "purge": ((install,), purge, [installed(1), installed(None, 1), GONE]),
    "purge of data": ((install, remove), purge, [installed(None, 1), GONE]),
    "again": ((install, remove), install, [installed(None, 1), installed(1)]),
}


def prepare(root: Path, steps: tuple[Callable[[InstallFolder], None], ...]) -> None:
    """Bring an install folder into the state before a change."""
    with open_install_folder(root) as folder:
        for step in steps:
            step(folder)
        folder.close()
    if steps:
        (root / "echo" / "data" / "kept").touch()


def recover_silently(folder: InstallFolder) -> None:
    recover(folder, lambda _: None)


def crash_at(
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    change: Callable[[InstallFolder], object],
    folder: InstallFolder,
    then: Callable[[InstallFolder], object] = lambda _: None,
) -> bool:
    """Make a change, and crash at a step; returns whether it was done before."""
    with fail_from(monkeypatch, step, Crash, CHANGES):
        try:
            change(folder)
            then(folder)
        except Crash:
            return False
    return True


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_leaves_one_of_two_whole_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    steps, change, allowed = SCENARIOS[scenario]
    seen = []
    for number in itertools.count():
        root = tmp_path / str(number)
        prepare(root, steps)

        with open_install_folder(root) as folder:
            is_done = crash_at(monkeypatch, number, change, folder, InstallFolder.close)
        seen.append(recover_contents(root))
        assert seen[-1] in allowed, number
        if is_done:
            break
    assert number > 3
    assert seen[0] == allowed[0]
    assert seen[-1] == allowed[-1]
    assert all(contents in seen for contents in (allowed[0], allowed[-1]))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_of_the_recovery_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str) -> None:
    steps, change, allowed = SCENARIOS[scenario]
    for number in range(1, 40, 4):
        for second in itertools.count():
            root = tmp_path / f"{number}-{second}"
            prepare(root, steps)
            with open_install_folder(root) as folder:
                crash_at(monkeypatch, number, change, folder)
            with open_install_folder(root) as folder:
                is_done = crash_at(monkeypatch, second, recover_silently, folder)
            assert recover_contents(root) in allowed, (number, second)
            if is_done:
                break


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_full_disk_at_any_step_leaves_everything_as_it_was_or_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    steps, change, allowed = SCENARIOS[scenario]
    for number in itertools.count():
        root = tmp_path / str(number)
        prepare(root, steps)
        folder = InstallFolder(str(root))
        with fail_from(monkeypatch, number, make_no_space, NEED_SPACE):
            try:
                change(folder)
                is_done = True
            except OSError:
                is_done = False
            folder.close()
        assert recover_contents(root) == (allowed[-1] if is_done else allowed[0]), number
        if is_done and number > 0:
            break


@pytest.mark.parametrize("change", [remove, purge])
def test_a_full_disk_can_be_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[InstallFolder], None]
) -> None:
    prepare(tmp_path, (install,))
    folder = InstallFolder(str(tmp_path))
    with fail_from(monkeypatch, 0, make_no_space, ("mkdir", "symlink")):  # and no file can be made
        change(folder)
        folder.close()
    assert read_contents(tmp_path) == (GONE if change is purge else installed(None, 1))
