"""A client that TCP connects to itself, because nobody listens and the system gives it the port that it wants."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.ports import find_free_port
from tests.helpers.requirements import SWARM, skip_or_fail
from tests.helpers.waiting import DEADLINE_SECONDS

ALONE = """\
ip link set lo up && echo "{port} {port}" >/proc/sys/net/ipv4/ip_local_port_range && exec "$@"
"""
"""A network of the command's own, in which every client gets that port."""
PLAIN = """\
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
    client.sendall(b"echo")
    assert client.recv(4) == b"echo"
"""
TWICE = """\
import socket, subprocess, sys
port, *command = sys.argv[1:]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, done.stderr)
socket.create_server(("127.0.0.1", int(port))).close()
print("free")
"""


def run_alone(port: int, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, str(port), *arguments]
    return subprocess.run(
        ["unshare", "-Urn", "sh", "-c", ALONE.format(port=port), "sh", *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PLUGVISOR_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.fixture
def port() -> int:
    port = find_free_port()
    done = run_alone(port, PLAIN)
    if done.returncode != 0:
        skip_or_fail(f"no client can be connected to itself here: {done.stderr}", SWARM)
    return port


@pytest.mark.parametrize("command", [["health"], ["ls"], ["ls", "--url", "http://127.0.0.1:{port}"]])
def test_nobody_listens(port: int, command: list[str]) -> None:
    """That is what a command says, and it leaves the port to the service."""
    arguments = [part.format(port=port) for part in command]
    done = run_alone(port, TWICE, sys.executable, "-m", "plugvisor", *arguments)
    assert done.returncode == 0, done.stderr
    assert "Connection refused" in done.stdout
    assert done.stdout.endswith("free\n")


def test_what_the_service_is_spared(port: int) -> None:
    """Another client leaves the port in TIME_WAIT."""
    done = run_alone(port, TWICE, sys.executable, "-c", PLAIN, str(port))
    assert "Address already in use" in done.stderr
