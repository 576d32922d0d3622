"""A node of a lab: a dockerd in namespaces of its own, which can be cut off and killed like a machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROL_GROUPS = Path("/sys/fs/cgroup")
NODE = "plugvisor-lab-node"
"""What the command line of a node's PID 1 contains, before the node's folder."""
PATIENCE_SECONDS = 120.0
"""Far longer than anything takes; three Engines that elect a leader on two busy cores need half a minute."""
OUT_OF_SEQUENCE = "update out of sequence"
"""In the Engine's answer to an update that the command has based on what is old by now; it has changed nothing."""
INIT = """\
home=$1
echo "$2" >/proc/sys/kernel/hostname
mkdir -p "$home/cgroup" && mount --rbind /sys/fs/cgroup "$home/cgroup"  # /sys is the one of the new network
mount -t sysfs sysfs /sys && mount --move "$home/cgroup" /sys/fs/cgroup
mount -t tmpfs tmpfs /run && mkdir -p /run/lock
mkdir -p /etc/docker && mount --bind "$home/etc" /etc/docker
dockerd --host "unix://$home/docker.sock" --data-root "$home/data" --exec-root /run/docker --pidfile /run/docker.pid \\
    --cgroup-parent "$3" --insecure-registry "$4" >>"$home/dockerd.log" 2>&1 &
trap "kill -TERM $!" TERM
while kill -0 $! 2>/dev/null; do wait; done
"""
"""Runs as PID 1 of a node, and reaps what its containers leave."""


class LabError(Exception):
    """The lab, or a part of it, does not do what it should."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until `condition` returns something true, and return that; raises `LabError` after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds} seconds in vain for {what}")
        time.sleep(0.02)
    return value


def run(*command: str, environ: dict[str, str] | None = None, seconds: float = PATIENCE_SECONDS) -> str:
    """Run a command, which must succeed; returns its output."""
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def find_process(*arguments: str) -> int:
    """The pid of a process with these arguments, one after another, that is not about to execute another; 0 if none."""
    wanted = "\0".join(("", *arguments, ""))
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_text(errors="replace")
            if wanted in command and Path(command.partition("\0")[0]).name not in ("setsid", "unshare"):
                return int(process.name)
    return 0


def find_hardware_address(address: str) -> str:
    """The same for a node at each of its starts, and for the bridge, which would else take another of its ports'.

    Others remember it: what they sent to one that was replaced got lost for up to a minute.
    """
    return ":".join(["02", "00", *(f"{int(number):02x}" for number in address.split("."))])


def kill(pid: int) -> None:
    """Kill a process, and wait until it is gone or a zombie."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _is_alive(pid), f"the end of process {pid}")


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] != "Z" or int(fields[17]) > 1  # while its other threads end, its files are open
    return False


class LabNode:
    """One node. What it is, the kernel knows: nothing is remembered but its folder.

    Attributes:
        home: its folder, with the Engine's socket, data and log; its name is the node's number.
        address: its address; empty if it has no network.
    """

    def __init__(self, home: Path, address: str = "", network: str = "") -> None:
        self.home = home
        self.name = f"node{home.name}"
        self.address = address
        self.network = network
        """Registries in it need no TLS."""
        self.socket = home / "docker.sock"
        self._group = f"/{home.parent.name}/{home.name}"

    @property
    def pid(self) -> int:
        """The node's PID 1, as this machine numbers it; 0 while the node is off."""
        return find_process(NODE, str(self.home))

    def start(self, attach: Callable[[int], None] | None = None, **environ: str) -> None:
        """Switch it on; return when its Engine answers.

        Args:
            attach: called with the node's pid, before anything runs in it, to connect its network.
            environ: more variables for its dockerd.
        """
        (self.home / "etc").mkdir(parents=True, exist_ok=True)
        (self.home / "data").mkdir(exist_ok=True)
        self.socket.unlink(missing_ok=True)
        go = self.home / "go"
        go.unlink(missing_ok=True)
        os.mkfifo(go)
        with (self.home / "init.log").open("ab") as log:
            subprocess.run(
                [
                    *("setsid", "--fork", "unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork"),
                    *("--mount-proc", "--propagation", "private", "bash", "-c", f'read -r <"$1/go"\n{INIT}'),
                    *(NODE, str(self.home), self.name, self._group, self.network or "127.0.0.0/8"),
                ],
                env=os.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )
        wait_until(lambda: self.pid, f"{self.name}; see {log.name}")
        pid = self.pid
        run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "set", "lo", "up")
        if attach is not None:
            attach(pid)
        go.write_text("\n")
        wait_until(self.answers, f"dockerd of {self.name}; see {self.home}/dockerd.log")

    def answers(self) -> bool:
        """Whether its Engine does."""
        if self.pid == 0:
            log = self.home / "dockerd.log"
            raise LabError(f"{self.name} has ended: {log.read_text()[-1000:]}")
        with contextlib.suppress(LabError):
            return bool(self.docker("version", "--format", "{{.Server.Version}}"))
        return False

    def is_manager(self) -> bool:
        """Whether it is one of those that decide, by its own account."""
        return self.docker("info", "--format", "{{.Swarm.ControlAvailable}}").strip() == "true"

    def docker(self, *arguments: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Run `docker …` with its Engine, again if something else was changed meanwhile; returns the output."""
        environ = os.environ | {"DOCKER_HOST": f"unix://{self.socket}"}
        deadline = time.monotonic() + seconds
        while True:
            try:
                return run("docker", *arguments, environ=environ, seconds=seconds)
            except LabError as error:
                if OUT_OF_SEQUENCE not in str(error) or time.monotonic() > deadline:
                    raise

    def execute(self, *command: str) -> str:
        """Run a command inside the node; returns its output."""
        return run(*self.enter(), *command)

    def enter(self) -> list[str]:
        """The beginning of a command that is to run inside the node."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--uts", "--ipc", "--"]

    def shut_down(self) -> None:
        """End its Engine in good order, and the node with it."""
        pid = self.pid
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not _is_alive(pid), f"the end of {self.name}")

    def kill(self) -> None:
        """Switch it off, as a power cut does: its Engine and all containers end at once."""
        if pid := self.pid:
            kill(pid)  # the kernel ends everything in its PID namespace with it
        self.socket.unlink(missing_ok=True)
        remove_control_groups(self._group)


def remove_control_groups(name: str) -> None:
    """Remove the control groups of dead containers; `name` begins with a slash."""
    for root in [CONTROL_GROUPS, *CONTROL_GROUPS.iterdir()]:
        group = root / name[1:]
        if group.is_dir():
            for folder, _, _ in os.walk(group, topdown=False):
                # a process that is ending keeps its group for a moment
                with contextlib.suppress(LabError):
                    wait_until(lambda folder=folder: _remove_group(folder), f"the end of {folder}", 5)


def _remove_group(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
