"""The service's listening socket, which supervisord holds: no restart refuses a client, no plugin takes the port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.helpers.connection_load import ConnectionLoad
from tests.helpers.plugin_code import IGNORES_SIGTERM
from tests.helpers.processes import kill_all, list_children
from tests.helpers.stack import ADMIN_CODE, OVERDUE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

GREEDY = """\
import itertools, socket, sys
port, options = PORT, (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
addresses = [(socket.AF_INET, host) for host in HOSTS if ":" not in host]
addresses += [(socket.AF_INET6, host) for host in HOSTS if ":" in host]
for round_ in itertools.count():
    if round_ == 100:
        print("ready", flush=True)
    for (family, host), reuse_address, reuse_port in itertools.product(addresses, (0, 1), (0, 1)):
        thief = socket.socket(family)
        try:
            if family == socket.AF_INET6:
                thief.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            thief.setsockopt(socket.SOL_SOCKET, options[0], reuse_address)
            thief.setsockopt(socket.SOL_SOCKET, options[1], reuse_port)
            thief.bind((host, port))
            thief.listen()
        except OSError:
            thief.close()
            continue
        print("has the port:", host, reuse_address, reuse_port, flush=True)
        connection, _ = thief.accept()
        print("was sent", connection.recv(65536), flush=True)
"""
WITH_A_CHILD = 'import subprocess\nsubprocess.Popen(["sleep", "999"])\n' + IGNORES_SIGTERM


def count_spawns(plugvisor: PlugvisorStack) -> int:
    """How often the service has been started."""
    return plugvisor.read_log("_supervisord").count("spawned: 'plugvisor'")


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


# -- restarts


def test_a_restart_refuses_and_resets_no_connection(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    with ConnectionLoad(plugvisor.port) as load:
        for _ in range(3):
            before = load.outcomes["answered"]
            plugvisor.ctl("restart", "plugvisor")
            wait_for(lambda before=before: load.outcomes["answered"] > before + 200, "the service to answer again")
    print(dict(load.outcomes))  # noqa: T201 - shown by -s
    assert set(load.outcomes) == {"answered"}, load.outcomes


def test_a_crash_refuses_no_connection(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    with ConnectionLoad(plugvisor.port) as load:
        wait_for(lambda: load.outcomes["answered"] > 100, "answers")
        pid = plugvisor.service_pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: plugvisor.service_pid not in (0, pid), "another service")
        before = load.outcomes["answered"]
        wait_for(lambda: load.outcomes["answered"] > before + 200, "the service to answer again")
    print(dict(load.outcomes))  # noqa: T201 - shown by -s
    # requests that were being answered break
    assert set(load.outcomes) <= {"answered", "ConnectionResetError", "nothing"}, load.outcomes
    assert load.outcomes["answered"] > 0.9 * load.outcomes.total()


def test_a_client_that_has_just_connected_is_answered_at_the_end(plugvisor: PlugvisorStack) -> None:
    """Its request arrives while the service shuts down already; an idle connection is closed at once."""
    plugvisor.up()
    plugvisor.http.get("/plugins")  # is kept open, idle
    with socket.create_connection(("127.0.0.1", plugvisor.port), DEADLINE_SECONDS) as client:
        wait_for(lambda: count_connections(plugvisor.service_pid) == 2, "the connection to be accepted")
        os.kill(plugvisor.service_pid, signal.SIGTERM)
        wait_for(lambda: count_connections(plugvisor.service_pid) == 1, "the end of the idle connection")
        client.sendall(b"GET /plugins HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_client_that_says_nothing_does_not_hold_up_the_end(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    with socket.create_connection(("127.0.0.1", plugvisor.port), DEADLINE_SECONDS) as client:
        wait_for(lambda: count_connections(plugvisor.service_pid) >= 1)
        plugvisor.ctl("restart", "plugvisor")
        assert client.recv(10) == b""
        assert OVERDUE not in plugvisor.service_log


def count_connections(pid: int) -> int:
    """How many TCP connections a process has with clients; all that it has."""
    inodes = find_sockets(pid)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "01" and row[9] in inodes for row in rows)


def find_sockets(pid: int) -> dict[str, list[int]]:
    """The descriptors of each socket of a process, by the socket's inode."""
    found: dict[str, list[int]] = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            kind, _, inode = os.readlink(link).partition(":")
            if kind == "socket":
                found.setdefault(inode.strip("[]"), []).append(int(link.name))
    return found


# -- who has it


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_no_plugin_takes_the_port(plugvisor: PlugvisorStack, host: str) -> None:
    """Neither at boot, nor when the service restarts or was killed, by any address and option that concerns it."""
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    hosts = {"127.0.0.1": ["127.0.0.1", "0.0.0.0", "::"], "::1": ["::1", "::"]}.get(host)
    hosts = hosts or ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::"] + (["::1"] if host == "::" else [])
    plugvisor.environ["PLUGVISOR_HOST"] = host
    if host == "::1":
        plugvisor.http.close()
        plugvisor.http = httpx.Client(base_url=f"http://[::1]:{plugvisor.port}", timeout=DEADLINE_SECONDS)
    plugvisor.write_plugin("greedy", GREEDY.replace("PORT,", f"{plugvisor.port},").replace("HOSTS", repr(hosts)))
    plugvisor.up()
    wait_for(lambda: "ready" in plugvisor.read_log("greedy"), "many attempts")
    for end in ("restart", "kill", "restart"):
        pid = plugvisor.service_pid
        if end == "kill":
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: plugvisor.service_pid not in (0, pid), "another service")
        else:
            plugvisor.ctl("restart", "plugvisor")
        assert plugvisor.post("/plugins/refresh").status_code == 200, "it waits for the service"
    plugvisor.ctl("stop", "plugvisor")
    before = cpu_ticks(plugvisor, "greedy")
    wait_for(lambda: cpu_ticks(plugvisor, "greedy") > before + 10, "attempts while there is no service")
    assert "has the port" not in plugvisor.read_log("greedy")
    assert ADMIN_CODE not in plugvisor.read_log("greedy")


def cpu_ticks(plugvisor: PlugvisorStack, plugin_id: str) -> int:
    pid = plugvisor.rpc("getProcessInfo", plugin_id)["pid"]
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[12])


def test_nobody_inherits_the_socket(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("x", WITH_A_CHILD, runtime="[plugin_runtime.supervisor]\nstopwaitsecs = 1")
    plugvisor.up()
    pid = plugvisor.wait_for_status("x", "running")["pid"]
    [child] = wait_for(lambda: list_children(pid), "its child")
    [inode] = find_listeners(plugvisor.port)
    assert find_sockets(plugvisor.supervisord_pid)[inode] == [4]
    assert find_sockets(plugvisor.service_pid)[inode] == [0]
    assert inode not in find_sockets(pid) | find_sockets(child)
    lock = plugvisor.run_dir / "lock"
    for process in (pid, child, plugvisor.service_pid):
        assert lock not in [link.resolve() for link in Path(f"/proc/{process}/fd").iterdir()]
    plugvisor.ctl("reload")
    wait_for(lambda: count_spawns(plugvisor) == 2, "supervisord to begin anew")
    wait_for(plugvisor.is_ready, "the service")
    assert find_listeners(plugvisor.port) == [inode], "a reload of supervisord keeps it too"


def find_listeners(port: int) -> list[str]:
    """The inodes of the sockets that listen at a port."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]


def test_supervisorctl_on_the_service(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    assert "stopped" in plugvisor.ctl("stop", "plugvisor")
    with socket.create_connection(("127.0.0.1", plugvisor.port), DEADLINE_SECONDS) as client:
        client.sendall(b"GET /available HTTP/1.0\r\n\r\n")
        assert "started" in plugvisor.ctl("start", "plugvisor")
        assert client.recv(12) == b"HTTP/1.1 200", "it has waited"
    assert "RUNNING" in plugvisor.ctl("status", "plugvisor")
    assert plugvisor.ctl("reread").strip() == "No config updates to processes"
    assert plugvisor.ctl("update") == ""
    # removed and added again, it has the same socket
    plugvisor.ctl("stop", "plugvisor")
    assert "removed" in plugvisor.ctl("remove", "plugvisor")
    assert "added" in plugvisor.ctl("add", "plugvisor")
    wait_for(plugvisor.is_ready, "the service")


def test_up_again_after_supervisord_was_killed(plugvisor: PlugvisorStack) -> None:
    """The service of before may have the port for a moment more: `up` waits for it."""
    for round_ in range(1, 4):
        plugvisor.process = plugvisor.spawn("up")
        wait_for(lambda round_=round_: count_spawns(plugvisor) == round_, "a service of its own")
        wait_for(plugvisor.is_ready, "the service")
        plugvisor.process.kill()
        plugvisor.process.wait()
    plugvisor.up()


def test_serve_in_a_terminal_that_supervisord_has_started(plugvisor: PlugvisorStack) -> None:
    """It has supervisord's environment, but its output is a file or a terminal."""
    process = plugvisor.spawn("serve", SUPERVISOR_PROCESS_NAME="terminal")
    try:

        def is_answered() -> bool:
            assert process.poll() is None, plugvisor.output_path.read_text()
            with contextlib.suppress(httpx.TransportError):
                return plugvisor.http.get("/available").status_code == 503
            return False

        wait_for(is_answered, "the service")
    finally:
        process.kill()
        process.wait()


# -- a Unix socket


@pytest.fixture
def by_path(plugvisor: PlugvisorStack) -> Path:
    """The socket of a Plugvisor that listens on no port."""
    path = plugvisor.root / "http.sock"
    plugvisor.environ["PLUGVISOR_HOST"] = f"unix://{path}"
    connect(plugvisor, path)
    return path


def connect(plugvisor: PlugvisorStack, path: Path) -> None:
    """Use a new connection from now on, to that socket."""
    plugvisor.http.close()
    transport = httpx.HTTPTransport(uds=str(path))
    plugvisor.http = httpx.Client(transport=transport, base_url="http://localhost", timeout=DEADLINE_SECONDS)


def start_up(plugvisor: PlugvisorStack, path: Path) -> None:
    """`up`, but try to connect only when there is a socket: httpx leaks one for each attempt that fails."""
    before = count_banners(plugvisor)
    plugvisor.process = plugvisor.spawn("up")
    wait_for(lambda: count_banners(plugvisor) > before, "the socket")
    connect(plugvisor, path)
    wait_for(plugvisor.is_ready, "the service")


def count_banners(plugvisor: PlugvisorStack) -> int:
    """How often `up` has printed that it is about to become supervisord."""
    return plugvisor.output_path.read_text().count("Ctrl-C stops") if plugvisor.output_path.exists() else 0


def test_a_unix_socket(plugvisor: PlugvisorStack, by_path: Path) -> None:
    del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    plugvisor.write_plugin("x")
    start_up(plugvisor, by_path)
    assert by_path.stat().st_mode & 0o777 == 0o666
    assert find_listeners(plugvisor.port) == []
    banner = plugvisor.output_path.read_text()
    assert f"unix://{by_path}" in banner
    assert "http://" not in banner, "no address that nothing listens on"
    code = (plugvisor.run_dir / "admin_code").read_text().strip()
    for end in ("restart", "kill"):
        pid = plugvisor.service_pid
        if end == "restart":
            plugvisor.ctl("restart", "plugvisor")
        else:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: plugvisor.service_pid not in (0, pid), "another service")
        connect(plugvisor, by_path)
        assert plugvisor.post("/plugins/refresh", code).status_code == 200, "it waits for the service"
    assert plugvisor.post("/plugin/x/reload", code).status_code == 200
    wait_for(lambda: f"listening on unix://{by_path}" in plugvisor.service_log, "the address in the log")
    healthy = plugvisor.command("health")
    assert (healthy.returncode, healthy.stdout) == (0, "healthy\n")
    plugvisor.down()
    assert not by_path.exists()
    unhealthy = plugvisor.command("health")
    assert unhealthy.returncode == 1
    assert str(by_path) in unhealthy.stderr


def test_the_unix_socket_of_one_that_was_killed_is_replaced(plugvisor: PlugvisorStack, by_path: Path) -> None:
    start_up(plugvisor, by_path)
    assert plugvisor.process
    service_pid = plugvisor.service_pid
    plugvisor.process.kill()
    plugvisor.process.wait()
    kill_all([service_pid])
    assert by_path.is_socket()
    stale = by_path.stat().st_ino, by_path.stat().st_ctime_ns
    start_up(plugvisor, by_path)
    assert (by_path.stat().st_ino, by_path.stat().st_ctime_ns) != stale


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_unix_socket_that_is_none_or_in_use(plugvisor: PlugvisorStack, by_path: Path, command: str) -> None:
    by_path.write_text("precious")
    refused = plugvisor.command(command)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"plugvisor: cannot listen on unix://{by_path}: there is a file")
    assert by_path.read_text() == "precious"
    by_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(by_path))
        other.listen()
        refused = plugvisor.command(command)
        assert refused.returncode == 2
        assert f"it is in use by process {os.getpid()}" in refused.stderr
    missing = plugvisor.command(command, PLUGVISOR_HOST=f"unix://{plugvisor.root}/none/http.sock")
    assert missing.returncode == 2
    assert "No such file or directory" in missing.stderr


def test_serve_on_a_unix_socket(plugvisor: PlugvisorStack, by_path: Path) -> None:
    process = plugvisor.spawn("serve")
    try:
        wait_for(lambda: f"listening on unix://{by_path}" in plugvisor.output_path.read_text(), "the service")
        assert plugvisor.http.get("/available").status_code == 503
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        assert not by_path.exists()
    finally:
        process.kill()
        process.wait()
