"""Checks of the folders: who owns them, and who can write there."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, ok, problem, warning
from plugvisor.cli.startup.plugins_folder import describe_install_obstacle
from plugvisor.engines.supervisord.extension.folders import open_folder
from plugvisor.store.folder import UnsafeFolder, check_folder, check_writable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugvisor.settings import Settings


def check_folders(settings: Settings) -> Iterator[Finding]:
    """The folders that Plugvisor writes are its own, and those that it reads can be read."""
    variables = {
        "PLUGVISOR_RUN_DIR": settings.run_dir,
        "PLUGVISOR_LOG_DIR": settings.log_dir,
        "PLUGVISOR_STATE_DIR": settings.state_dir,
    }
    faulty: list[Path] = []
    for variable, path in variables.items():
        if any(folder in path.parents for folder in faulty):
            continue
        if reason := _find_fault(settings, variable, path):
            faulty.append(path)
            yield problem(
                f"the folder {str(path)!r} cannot be used: {reason}", f"set {variable} to a folder of your own"
            )
        else:
            yield ok(f"{path}{'' if os.path.exists(path) else ' will be made'}")
    yield from _check_plugins_dir(settings)
    if obstacle := describe_install_obstacle(settings):
        detail, _, advice = obstacle.rpartition("; ")
        yield warning(detail, advice)


def _find_fault(settings: Settings, variable: str, path: Path) -> str:
    """Why `plugvisor up` would refuse a folder, or have it for nothing; empty if it would not."""
    users, is_root = settings.users, os.geteuid() == 0
    try:
        descriptor = open_folder(path, create=False)
    except FileNotFoundError:
        there = next(parent for parent in path.parents if os.path.exists(parent))
        if _can_write(there):
            return ""
        return f"it is missing, and you may not write in {str(there)!r}, which {_whose(there)}"
    except OSError as error:
        return error.strerror or str(error)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    try:
        if variable == "PLUGVISOR_STATE_DIR":
            check_folder(path, [users.service.uid] if users is not None else [])
            if users is None:
                check_writable(path)
            return ""
    except UnsafeFolder as error:
        return str(error)
    except OSError as error:
        return f"{error.strerror}; it {_whose(path)}"
    if status.st_uid != (os.getuid() if users is None else 0):
        return f"it {_whose(path)}"
    if status.st_mode & 0o022 and not (users is not None and is_root):  # which root closes
        return "others can write there and so have Plugvisor run anything"
    return "" if users is not None or _can_write(path) else "you may not write there"


def _check_plugins_dir(settings: Settings) -> Iterator[Finding]:
    path = settings.plugins_dir
    is_named = bool(os.environ.get("PLUGVISOR_PLUGINS_DIR"))
    if not is_named and not os.path.lexists(path) and _can_write(path.parent):
        yield ok(f"{path} for the plugins will be made")
        return
    try:
        os.listdir(path)
        status = path.stat()
    except OSError as error:
        yield problem(
            f"the plugins folder {str(path)!r} cannot be read: {error.strerror}",
            "create it, or set PLUGVISOR_PLUGINS_DIR to the folder that holds your plugins",
        )
        return
    advice = f"chmod go-w {path}, and have it belong to the user that runs Plugvisor"
    if status.st_mode & 0o002:
        yield warning(
            f"everyone can write in the plugins folder {str(path)!r}, and so have Plugvisor run anything", advice
        )
    elif settings.users is None and status.st_uid not in (0, os.geteuid()):
        yield warning(f"the plugins folder {str(path)!r} {_whose(path)}, who can have Plugvisor run anything", advice)
    else:
        yield ok(f"{path} with the plugins")


def _can_write(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK)


def _whose(path: Path) -> str:
    uid = path.stat().st_uid
    name = str(uid)
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return f"belongs to {name}"
