"""A manifest that cannot be read, of whatever kind, is a problem of its plugin alone, for every command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**30)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "kmsg": lambda path: path.symlink_to("/proc/kmsg"),
    "fifo": os.mkfifo,
    "directory": Path.mkdir,
    "sparse": make_sparse,
    "mode": lambda path: path.touch(mode=0),
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "mem": lambda path: path.symlink_to("/proc/self/mem"),
    "loop": lambda path: path.symlink_to(path),
    "latin": lambda path: path.write_bytes(b'[plugin]\nid = "x"\nname = "\xe9"\n'),
    "nul": lambda path: path.write_bytes(b"\0" * 1000),
    "deep-array": lambda path: path.write_text("x = " + "[" * 100_000),
    "deep-key": lambda path: path.write_text("x" + ".x" * 100_000 + " = 1"),
    "deep-table": lambda path: path.write_text("x = " + "{a=" * 50_000),
    "digits": lambda path: path.write_text("x = " + "9" * 100_000),
}


def test_it_breaks_nothing_for_others(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("a-good")
    plugvisor.write_plugin("z-good", runtime=QUICK)

    def make(suffix: str) -> list[str]:
        for name, write in UNREADABLE.items():
            folder = plugvisor.plugins_dir / f"{name}{suffix}"
            folder.mkdir()
            write(folder / "plugin.toml")
        return sorted(f"{name}{suffix}" for name in UNREADABLE)

    names = make("")
    for command in ("check", "render"):
        done = plugvisor.command(command)
        assert done.returncode == 1
        assert f"{len(names) + 2} plugins, {len(names)} invalid" in done.stdout, done
        assert "Traceback" not in done.stderr
        for name in names:
            assert f"\n{name}: cannot be used: plugin.toml" in f"\n{done.stdout}", name
    plugvisor.up()
    plugvisor.wait_for_status("a-good", "running")
    plugvisor.start_running("z-good")
    names += make("-2")
    plugvisor.write_plugin("new")
    answer = plugvisor.post("/plugins/refresh")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["added"], sorted(answer.json()["invalid"])) == (["new"], sorted(names))
    for name in names:
        assert plugvisor.status(name)["status"] == "error"
        assert plugvisor.status(name)["detail"].startswith("its manifest is invalid: plugin.toml"), name
        assert plugvisor.post(f"/plugin/{name}/start").json()["code"] == "invalid_manifest"
    assert plugvisor.post("/plugin/z-good/reload").json()["status"] == "running"
    assert plugvisor.status("a-good")["status"] == "running"
