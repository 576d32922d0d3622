"""What is seen when supervisord, the service, a client or a plugin's folder goes away."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.plugin_code import HESITANT, IGNORES_SIGTERM
from tests.helpers.ports import find_free_port
from tests.helpers.processes import cpu_seconds, find_processes, is_alive, kill_all
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_ANSWER_SECONDS = 5.0
ADMIN = {"Authorization": f"Bearer {ADMIN_CODE}"}


def assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.json()["code"] == "supervisor_unavailable"
    assert int(response.headers["Retry-After"]) > 0


@contextlib.contextmanager
def frozen(plugvisor: PlugvisorStack) -> Iterator[None]:
    """supervisord is stopped, and the service has had the few milliseconds in which it notices."""
    pid = plugvisor.supervisord_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: plugvisor.http.get("/plugins").status_code == 503, "the freeze to be noticed")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def timed(plugvisor: PlugvisorStack, method: str, path: str) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    response = plugvisor.http.get(path) if method == "GET" else plugvisor.post(path)
    return response, time.monotonic() - began


# -- supervisord is frozen

READS = [("GET", "/plugins"), ("GET", "/plugin/status"), ("GET", "/plugin/status?plugin_id=runs")]
MUTATIONS = [
    *[("POST", "/plugin/runs/stop"), ("POST", "/plugin/other/reload"), ("POST", "/plugin/idle/start")],
    ("POST", "/plugins/refresh"),
]


@pytest.fixture
def three(plugvisor: PlugvisorStack) -> PlugvisorStack:
    """A Plugvisor, up, with two plugins that run and one that does not."""
    plugvisor.write_plugin("runs")
    plugvisor.write_plugin("other")
    plugvisor.write_plugin("idle", runtime="auto_start = false")
    plugvisor.up()
    for plugin_id in ("runs", "other"):
        plugvisor.wait_for_status(plugin_id, "running")
    return plugvisor


def test_frozen_supervisord(three: PlugvisorStack) -> None:
    pids = {plugin_id: three.status(plugin_id)["pid"] for plugin_id in ("runs", "other")}
    requests = [*READS * 5, *MUTATIONS]
    with ThreadPoolExecutor(len(requests)) as pool, frozen(three):
        results = list(pool.map(lambda request: timed(three, *request), requests))
        results.append(timed(three, *READS[0]))  # and nothing clogs up
    for response, seconds in results:
        assert_unavailable(response)
        assert seconds < LONGEST_ANSWER_SECONDS
    print(f"503 after at most {max(seconds for _, seconds in results):.2f} s")  # noqa: T201 - shown by -s
    wait_for(three.is_ready, "the service to recover by itself")
    # nothing of what was refused is done later: not even before this, which goes all the way through supervisord
    assert three.post("/plugin/idle/start?wait=50").status_code == 200
    assert {plugin_id: three.status(plugin_id)["pid"] for plugin_id in pids} == pids
    assert all(is_alive(pid) for pid in pids.values())


def test_frozen_supervisord_and_many_operations_on_one_plugin(three: PlugvisorStack) -> None:
    with ThreadPoolExecutor(2) as pool, frozen(three):
        requests = [("POST", f"/plugin/runs/{verb}") for verb in ("stop", "reload")]
        results = list(pool.map(lambda request: timed(three, *request), requests))
    for response, seconds in results:
        assert_unavailable(response)
        assert seconds < LONGEST_ANSWER_SECONDS, "a turn that is waited for counts too"


def test_frozen_in_the_middle_of_a_stop(plugvisor: PlugvisorStack) -> None:
    folder = plugvisor.write_plugin("slow", HESITANT, runtime="auto_start = false")
    plugvisor.up()
    plugvisor.start_running("slow")
    with ThreadPoolExecutor(1) as pool:
        stop = pool.submit(plugvisor.post, "/plugin/slow/stop")
        plugvisor.wait_for_status("slow", "stopping")
        with frozen(plugvisor):
            began = time.monotonic()
            assert_unavailable(stop.result())
            assert time.monotonic() - began < LONGEST_ANSWER_SECONDS
    (folder / "go").touch()
    wait_for(plugvisor.is_ready, "supervisord to answer again")
    plugvisor.wait_for_status("slow", "stopped")


# -- supervisord dies


def test_the_service_ends_with_the_supervisord_that_started_it(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("slow", HESITANT, runtime="auto_start = false")
    plugvisor.up()
    plugvisor.start_running("slow")
    pid, process = plugvisor.service_pid, plugvisor.process
    assert process
    with ThreadPoolExecutor(1) as pool:
        stop = pool.submit(plugvisor.post, "/plugin/slow/stop")
        plugvisor.wait_for_status("slow", "stopping")
        process.kill()
        process.wait()
        began = time.monotonic()
        assert_unavailable(stop.result())  # what is under way is answered, for it ends cleanly
    wait_for(lambda: not is_alive(pid), "the end of the service")
    print(f"the service ended after {time.monotonic() - began:.2f} s")  # noqa: T201 - shown by -s
    with socket.create_server(("127.0.0.1", plugvisor.port)):  # the port is free
        pass
    kill_all(find_processes(plugvisor.root))  # a supervisord that dies leaves its children running


@pytest.fixture
def beside(plugvisor: PlugvisorStack) -> Iterator[tuple[int, httpx.Client]]:
    """`plugvisor serve` by hand, on a port of its own, beside what `up` starts: its pid and a client of it."""
    port, log_path = find_free_port(), plugvisor.root / "serve.log"
    with log_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "plugvisor", "serve"],
            env=plugvisor.environ | {"PLUGVISOR_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: process.poll() is None and "listening on " in log_path.read_text(), "serve")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_SECONDS, trust_env=False) as http:
            yield process.pid, http
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        assert "Traceback" not in log_path.read_text()
    finally:
        process.kill()
        process.wait()


def test_serve_alone_outlives_a_supervisord_and_takes_the_next(
    plugvisor: PlugvisorStack, beside: tuple[int, httpx.Client]
) -> None:
    serve_pid, http = beside
    plugvisor.write_plugin("x")
    for _ in range(2):
        assert_unavailable(http.get("/plugins"))
        plugvisor.up()
        wait_for(lambda: http.get("/plugins").status_code == 200, "serve to find the new supervisord")
        http.post("/plugins/refresh", headers=ADMIN)  # it may be older than x
        plugin_pid = wait_for(lambda: http.get("/plugin/status?plugin_id=x").json().get("pid"), "the plugin")
        assert is_alive(plugin_pid)
        ours = plugvisor.service_pid
        assert plugvisor.process
        plugvisor.process.kill()
        plugvisor.process.wait()
        plugvisor.process = None
        wait_for(lambda pid=ours: not is_alive(pid), "the end of the service of that supervisord")
        kill_all([plugin_pid])
    lines = (plugvisor.root / "serve.log").read_text().splitlines()
    said = [line.rpartition(" supervisord ")[2] for line in lines if " supervisord " in line]
    assert said == [*["does not answer; reconnecting until it does", "answers again"] * 2, said[0]]
    # it looks for supervisord now and then, which costs little, and is counted
    before, began = cpu_seconds(serve_pid), time.monotonic()
    wait_for(lambda: time.monotonic() - began > 1, "a second in which nobody asks")
    assert cpu_seconds(serve_pid) - before < 0.3
    assert_unavailable(http.get("/plugins"))
    metrics = http.get("/metrics", headers=ADMIN).text
    assert re.search(r"^plugvisor_supervisord_call_failures_total\S* [1-9]", metrics, re.MULTILINE)


def test_shutting_down(plugvisor: PlugvisorStack, beside: tuple[int, httpx.Client]) -> None:
    _, http = beside
    plugvisor.write_plugin("stubborn", IGNORES_SIGTERM, runtime="[plugin_runtime.supervisor]\nstopwaitsecs = 60")
    plugvisor.up()
    wait_for(lambda: "ready" in plugvisor.read_log("stubborn"), "the plugin")
    wait_for(lambda: http.get("/plugins").status_code == 200, "the other service")
    http.post("/plugins/refresh", headers=ADMIN)
    pid = plugvisor.status("stubborn")["pid"]
    assert plugvisor.process
    plugvisor.process.terminate()
    wait_for(lambda: http.get("/plugins").status_code == 503, "the shutdown")
    for method, path in [("GET", "/plugins"), ("POST", "/plugin/stubborn/stop"), ("POST", "/plugins/refresh")]:
        response = http.request(method, path, headers=ADMIN)
        assert_unavailable(response)
        assert "shutting down" in response.json()["detail"], path
    kill_all([pid])


# -- the service dies


@pytest.mark.parametrize("is_random", [False, True], ids=["code set", "random code"])
def test_the_service_is_killed(plugvisor: PlugvisorStack, is_random: bool) -> None:
    if is_random:
        del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    plugvisor.write_plugin("x")
    plugvisor.up()
    code = (plugvisor.run_dir / "admin_code").read_text().strip()
    pid, plugin_pid = plugvisor.service_pid, plugvisor.wait_for_status("x", "running")["pid"]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_for(lambda: not is_alive(pid), "its end")

    def is_back() -> bool:  # without nudging supervisord, as `is_ready` does
        with contextlib.suppress(httpx.TransportError):
            return plugvisor.http.get("/plugin/status").status_code == 200
        return False

    wait_for(is_back, "the service")
    print(f"the service was back after {time.monotonic() - began:.2f} s")  # noqa: T201 - shown by -s
    assert plugvisor.service_pid != pid
    assert plugvisor.post("/plugins/refresh", code).status_code == 200
    assert plugvisor.status("x")["pid"] == plugin_pid
    assert is_alive(plugin_pid)


# -- a client, a folder, a process that does not go


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_client_that_goes_away_cancels_nothing(shared: PlugvisorStack, how: str) -> None:
    plugin_id = f"slow-{how}"
    folder = shared.write_plugin(plugin_id, HESITANT, runtime="auto_start = false")
    shared.post("/plugins/refresh")
    pid = shared.start_running(plugin_id)
    head = f"POST /plugin/{plugin_id}/stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_CODE}"
    with socket.create_connection(("127.0.0.1", shared.port)) as client:
        client.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
        wait_for(lambda: "asked to stop" in shared.read_log(plugin_id), "the stop")
        if how == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert shared.status(plugin_id)["status"] == "stopping"
    (folder / "go").touch()
    shared.wait_for_status(plugin_id, "stopped")
    assert not is_alive(pid)
    wait_for(lambda: f"POST /plugin/{plugin_id}/stop: 200" in shared.service_log, "its line in the log")
    assert "Traceback" not in shared.service_log


def test_a_folder_removed_while_its_plugin_runs(three: PlugvisorStack) -> None:
    pid = three.status("runs")["pid"]
    shutil.rmtree(three.plugins_dir / "runs")
    told = three.status("runs")
    assert (told["status"], told["pid"]) == ("running", pid)
    response = three.post("/plugin/runs/reload")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    detail = response.json()["detail"]
    assert detail.startswith("cannot reload 'runs': ")
    assert str(three.root) not in detail
    assert "refresh" in detail or "put it back" in detail, "it says what to do"
    assert is_alive(pid)
    assert three.status("runs")["pid"] == pid
    assert three.post("/plugin/runs/stop").json()["status"] == "stopped"
    assert not is_alive(pid)
    response = three.post("/plugin/runs/start")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    assert response.json()["detail"].startswith("cannot start 'runs': ")
    assert three.post("/plugins/refresh").json()["removed"] == ["runs"]
    assert three.http.get("/plugin/status?plugin_id=runs").status_code == 404


# -- a supervisord without the extension


def test_a_supervisord_without_the_extension_is_named(plugvisor: PlugvisorStack) -> None:
    """The log and every client are told which lines to add; the service goes on and takes the next supervisord."""
    assert plugvisor.command("render").returncode == 0
    configuration = plugvisor.root / "supervisord.conf"
    socket_path = plugvisor.run_dir / "supervisor.sock"
    configuration.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={plugvisor.root}/own.log\npidfile={plugvisor.root}/own.pid\n"
        f"[unix_http_server]\nfile={socket_path}\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    lines = (
        "[rpcinterface:plugins]",
        "supervisor.rpcinterface_factory = plugvisor.engines.supervisord.extension.rpcinterface:make_rpcinterface",
        "stream = ",
        "programs = ",
    )
    serve = plugvisor.spawn("serve")
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    own = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def find_detail() -> str | None:
            with contextlib.suppress(httpx.TransportError):
                response = plugvisor.http.get("/plugins")
                assert_unavailable(response)
                detail: str = response.json()["detail"]
                return detail if "extension" in detail else None
            return None

        detail = wait_for(find_detail, "the service to find out")
        log = plugvisor.output_path.read_text()
        assert f"stream = {plugvisor.run_dir}/state.sock\n" in log
        assert str(plugvisor.run_dir) not in detail
        assert [line for line in lines if line not in detail or line not in log] == []
        assert plugvisor.http.get("/available").status_code == 503
        assert plugvisor.http.get("/health").status_code == 200
        wait_for(lambda: plugvisor.output_path.read_text().count("[rpcinterface:plugins]") == 1, "one line in the log")
    finally:
        for process in (own, serve):
            process.terminate()
            process.wait(DEADLINE_SECONDS)
