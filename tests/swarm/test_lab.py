"""The lab itself: a real swarm, which breaks and mends as a test asks, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.helpers.processes import find_processes
from tests.helpers.stack import ROOT
from tests.helpers.swarm.lab import LABS, SwarmLab, clean_leftovers
from tests.helpers.waiting import wait_for

READY, DOWN = "Ready", "Down"


def states(lab: SwarmLab) -> list[str]:
    return [state for _, state, _ in lab.list_nodes()]


def test_three_managers_of_which_one_leads(swarm_lab: SwarmLab) -> None:
    assert [name for name, _, _ in swarm_lab.list_nodes()] == ["node1", "node2", "node3"]
    assert states(swarm_lab) == [READY] * 3
    assert swarm_lab.leader in swarm_lab.nodes


def test_every_node_has_the_image(swarm_lab: SwarmLab, image: str) -> None:
    for node in swarm_lab.nodes:
        assert "uid=917(plugin)" in node.docker("run", "--rm", "--entrypoint", "id", image, "plugin")


def test_a_node_that_was_killed_returns(swarm_lab: SwarmLab) -> None:
    victim = next(node for node in swarm_lab.nodes if node != swarm_lab.leader)
    victim.kill()
    wait_for(lambda: states(swarm_lab).count(DOWN) == 1, "the swarm to see it")
    swarm_lab.start(victim)
    swarm_lab.wait_until_whole()


def test_a_node_that_was_cut_off_returns(swarm_lab: SwarmLab) -> None:
    victim = next(node for node in swarm_lab.nodes if node != swarm_lab.leader)
    swarm_lab.cut(victim)
    wait_for(lambda: DOWN in states(swarm_lab), "the swarm to see it")
    swarm_lab.heal(victim)
    swarm_lab.wait_until_whole()


def test_nothing_answers_elsewhere(swarm_lab: SwarmLab) -> None:
    """A node that asks for something outside gets an error at once."""
    code = "import socket; print(socket.socket().connect_ex(('192.0.2.1', 443)))"
    assert swarm_lab.nodes[0].execute("python3", "-c", code) == "111\n"


def is_gone(folder: Path) -> bool:
    groups = list(Path("/sys/fs/cgroup").glob(f"**/{folder.name}"))
    return not folder.exists() and not find_processes(folder) and not groups


def test_the_command(swarm_possible: None, tmp_path: Path) -> None:
    """It works without the tests' Python packages, and leaves nothing."""
    folder = LABS / f"pv-{os.getpid()}-command"
    environ = {"PATH": os.environ["PATH"], "PLUGVISOR_LAB": str(folder)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "tests/swarm/lab", *arguments]
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)

    try:
        up = run("--nodes", "1", "up")
        assert "Leader" in up.stdout, up.stderr
        assert run("--nodes", "1", "docker", "1", "node", "ls", "--quiet").stdout.strip()
        assert run("exec", "1", "hostname").stdout == "node1\n"
        assert run("kill-node", "4").stderr == "lab: there are nodes 1 to 3\n"
        assert "10.99.0.254/24" in run("exec", "0", "ip", "addr").stdout
    finally:
        run("down")
    assert is_gone(folder)


def test_a_lab_ends_with_the_last_process_that_uses_it(swarm_possible: None, tmp_path: Path) -> None:
    """However that ends: it is killed here."""
    folder, users = LABS / f"pv-{os.getpid()}-user", tmp_path / "users"
    code = (
        "import fcntl, sys; from pathlib import Path; from tests.helpers.swarm.lab import SwarmLab\n"
        "file = open(sys.argv[2], 'a'); fcntl.flock(file, fcntl.LOCK_SH)\n"
        "SwarmLab(Path(sys.argv[1]), nodes=1).up(users=Path(sys.argv[2])); print('up', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(users)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as user:  # fmt: skip
        assert user.stdout is not None
        assert user.stdout.readline() == b"up\n"
        user.kill()
    wait_for(lambda: is_gone(folder), "the end of the lab")


def test_leftovers_of_a_killed_keeper_are_removed(swarm_possible: None) -> None:
    lab = SwarmLab(LABS / f"pv-{os.getpid()}-leftover", nodes=1)
    lab.up()
    os.kill(lab.keeper, signal.SIGKILL)
    wait_for(lambda: not lab.keeper, "its keeper's end")
    clean_leftovers()
    assert is_gone(lab.folder)
