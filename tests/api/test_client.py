"""SupervisorClient against a fake supervisord at the wire, for what a real one never answers, and a real one."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from plugvisor.engines.supervisord.client import Call, SupervisorClient
from plugvisor.engines.supervisord.extension.rpcinterface import PluginsNamespace
from plugvisor.engines.supervisord.faults import (
    AlreadyAdded,
    ConfigurationRejected,
    Fault,
    NoExtension,
    NoSuchProgram,
    StillRunning,
)
from plugvisor.errors import (
    AlreadyRunning,
    NotRunning,
    StartFailed,
    StopTimeout,
    SupervisorConfused,
    SupervisorUnavailable,
)
from plugvisor.models.process import ProcessState
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.xmlrpc import Faults

from tests.conftest import find_free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

INFO = {"name": "x", "group": "x", "state": 20, "pid": 7, "start": 1, "now": 3, "exitstatus": 0, "spawnerr": ""}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.respond(self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def fake(respond: Callable[[Handler], object], unix: bool = False) -> Iterator[str]:
    """A server that answers every call by `respond`; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="pv-") as folder:
        address = f"{folder}/s" if unix else ("127.0.0.1", 0)
        base: Any = socketserver.ThreadingUnixStreamServer if unix else socketserver.ThreadingTCPServer
        with base(address, Handler) as server:
            server.respond, server.daemon_threads = respond, True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"unix://{address}" if unix else f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


def reply(body: bytes, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    def respond(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def value(result: Any) -> Callable[[Handler], None]:
    return reply(xmlrpc.client.dumps((result,), methodresponse=True).encode())


def truncate(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<?xml version='1.0'?><methodRe")
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """A byte now and then, without end: every single read succeeds in time."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            handler.wfile.write(b"<")
            time.sleep(0.05)  # the pace of the fake, nothing waits for it
    handler.close_connection = True


def ask(url: str, call: Callable[[SupervisorClient], Awaitable[Any]], timeout_seconds: float = 20.0) -> Any:
    async def run() -> Any:
        client = SupervisorClient(url, timeout_seconds)
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(run())


CALLS: dict[str, Callable[[SupervisorClient], Awaitable[Any]]] = {
    "getAllProcessInfo": lambda client: client.get_processes(),
    "getProcessInfo": lambda client: client.get_process("x"),
    "getPID": lambda client: client.get_pid(),
    "sync": lambda client: client.call_together(Call("plugins.sync")),
    "sweep": lambda client: client.is_swept("x"),
    "replace": lambda client: client.replace_program("x"),
    "remove": lambda client: client.remove_program("x"),
    "reloadConfig": lambda client: client.reread_configuration(),
    "removeProcessGroup": lambda client: client.remove_group("x"),
    "multicall": lambda client: client.call_together(Call("supervisor.startProcess", ("x", False))),
}
NAMED = {"BAD_NAME": NoSuchProgram}
STOPPED = NAMED | {"NOT_RUNNING": NotRunning, "FAILED": StopTimeout}
FAILED = ("NO_FILE", "NOT_EXECUTABLE", "FAILED", "ABNORMAL_TERMINATION", "SPAWN_ERROR")
MEANINGS: dict[str, dict[str, type[Exception]]] = {
    "getAllProcessInfo": {},
    "getProcessInfo": NAMED,
    "getPID": {},
    "getState": {},
    "getSupervisorVersion": {},
    "startProcess": NAMED | dict.fromkeys(FAILED, StartFailed) | {"ALREADY_STARTED": AlreadyRunning},
    "stopProcess": STOPPED,
    "signalProcess": STOPPED,
    "reloadConfig": {"CANT_REREAD": ConfigurationRejected},
    "addProcessGroup": {"BAD_NAME": ConfigurationRejected, "ALREADY_ADDED": AlreadyAdded},
    "removeProcessGroup": NAMED | {"STILL_RUNNING": StillRunning},
    "multicall": {},
    "sync": {},
    "sweep": {"UNKNOWN_METHOD": NoExtension},
    "settle": NAMED,
    "replace": dict.fromkeys(("BAD_NAME", "CANT_REREAD"), ConfigurationRejected) | {"STILL_RUNNING": StillRunning},
    "remove": NAMED | {"STILL_RUNNING": StillRunning},
}
OURS = {name for name in vars(PluginsNamespace) if not name.startswith("_")}
FAULTS = {name: code for name, code in vars(Faults).items() if name.isupper()}


def meaning(method: str, fault: str) -> type[Exception]:
    default = SupervisorUnavailable if fault == "SHUTDOWN_STATE" else SupervisorConfused
    return MEANINGS[method].get(fault, default)


def test_the_extension_has_no_method_that_is_unknown_here() -> None:
    assert MEANINGS.keys() >= OURS


def test_our_faults_are_supervisors() -> None:
    assert {fault.name: fault.value for fault in Fault} == FAULTS


@pytest.mark.parametrize("method", [*CALLS])
def test_every_fault_of_every_method_has_its_answer(method: str) -> None:
    for name, code in [*FAULTS.items(), ("a fault of the future", 12345)]:
        fault = xmlrpc.client.dumps(xmlrpc.client.Fault(code, f"WORDS: {code}"))
        with fake(reply(fault.encode())) as url:
            if method == "getProcessInfo" and name == "BAD_NAME":
                assert ask(url, CALLS[method]) is None
                continue
            with pytest.raises(meaning(method, name)) as raised:
                ask(url, CALLS[method])
            assert type(raised.value) is meaning(method, name), (method, name)


@pytest.mark.parametrize("method", sorted(MEANINGS.keys() - {"multicall"}))
def test_every_fault_in_a_multicall_has_its_answer(method: str) -> None:
    names = [*FAULTS]
    results = [{"faultCode": FAULTS[name], "faultString": name} for name in names]
    with fake(value([*results, True])) as url:
        calls = [Call(f"{'plugins' if method in OURS else 'supervisor'}.{method}", ("x",))] * (len(names) + 1)
        *failures, done = ask(url, lambda client: client.call_together(*calls))
    assert done is True
    assert [type(failure) for failure in failures] == [meaning(method, name) for name in names]


@pytest.mark.parametrize("method", sorted(MEANINGS.keys() - {"multicall"} - OURS))
def test_what_supervisor_raises_is_never_called_nonsense(method: str) -> None:
    source = inspect.getsource(getattr(SupervisorNamespaceRPCInterface, method))
    raised = set(re.findall(r"Faults\.(\w+)", source))
    if "_getGroupAndProcess" in source:
        raised.add("BAD_NAME")
    raised.discard("BAD_SIGNAL")  # we send KILL, which every system has
    assert raised <= MEANINGS[method].keys()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_answers_are_typed(unix: bool) -> None:
    with fake(value([INFO, INFO | {"group": "other"}]), unix) as url:
        processes = ask(url, CALLS["getAllProcessInfo"])
    assert processes.keys() == {"x"}
    assert (processes["x"].state, processes["x"].pid) == (ProcessState.RUNNING, 7)
    assert processes["x"].uptime_seconds(time.monotonic()) == 2
    with fake(value([[["a"], [], ["b", "c"]]]), unix) as url:
        difference = ask(url, CALLS["reloadConfig"])
    assert (difference.added, difference.changed, difference.removed) == ({"a"}, set(), {"b", "c"})


NONSENSE = {
    "HTTP 500 with HTML": reply(b"<html><body>500 Internal Server Error</body></html>", 500),
    "HTTP 404": reply(b"not here", 404),
    "a redirect": reply(b"", 302, Location="/"),
    "HTML": reply(b"<html><body>hello</body></html>"),
    "no XML": reply(b"\x00\xff garbage"),
    "an empty body": reply(b""),
    "XML cut short": reply(xmlrpc.client.dumps((INFO,), methodresponse=True).encode()[:-30]),
    "an answer without a value": reply(b"<methodResponse><params></params></methodResponse>"),
    "an unknown encoding": reply(b"<?xml version='1.0' encoding='nosuch'?><methodResponse/>"),
    "a fault that is no struct": reply(b"<methodResponse><fault><value><int>3</int></value></fault></methodResponse>"),
    "a compressed body that is not": reply(b"garbage", **{"Content-Encoding": "gzip"}),
}
WRONG_VALUES = [
    *[("getAllProcessInfo", wrong) for wrong in ([INFO | {"state": 77}], [{"name": "x", "group": "x"}], ["x"], 5)],
    *[("getProcessInfo", wrong) for wrong in (INFO | {"state": 77}, {"name": "x"}, "x", 5)],
    ("getPID", "x"),
    *[("reloadConfig", wrong) for wrong in (5, [], [[[], []]], "x")],
    *[("multicall", wrong) for wrong in (5, [], [{"faultCode": 10}])],
]


@pytest.mark.parametrize("what", [*NONSENSE])
def test_nonsense_is_told_as_such(what: str) -> None:
    with fake(NONSENSE[what]) as url, pytest.raises(SupervisorConfused):
        ask(url, CALLS["getPID"])


@pytest.mark.parametrize(("method", "wrong"), WRONG_VALUES, ids=str)
def test_a_value_of_an_unknown_form_is_told_as_such(method: str, wrong: Any) -> None:
    with fake(value(wrong)) as url, pytest.raises(SupervisorConfused):
        ask(url, CALLS[method])


@pytest.mark.parametrize("respond", [truncate, hang_up])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_broken_connection(respond: Callable[[Handler], None], unix: bool) -> None:
    with fake(respond, unix) as url, pytest.raises(SupervisorUnavailable, match="cannot be reached"):
        ask(url, CALLS["getAllProcessInfo"])


@pytest.mark.parametrize("url", ["unix:///nonexistent/socket", "http://127.0.0.1:{port}"])
def test_nobody_listens(url: str) -> None:
    with pytest.raises(SupervisorUnavailable, match="cannot be reached"):
        ask(url.format(port=find_free_port()), CALLS["getAllProcessInfo"])


def test_no_answer_and_an_endless_one_take_a_bounded_time() -> None:
    released = threading.Event()
    for respond in (lambda _: released.wait(30), drip):
        with fake(respond) as url:
            began = time.monotonic()
            with pytest.raises(SupervisorUnavailable, match=r"within 0\.3 seconds"):
                ask(url, CALLS["getPID"], 0.3)
            assert time.monotonic() - began < 3
            released.set()


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    closed = threading.Event()

    def respond(handler: Handler) -> None:
        value(7)(handler)
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)  # as a supervisord that ends, without announcing it
        handler.close_connection = True
        closed.set()

    async def twice(client: SupervisorClient) -> list[int]:
        pids = []
        for _ in range(2):
            pids.append(await client.get_pid())
            await asyncio.to_thread(closed.wait)
        return pids

    with fake(respond) as url:
        assert ask(url, twice) == [7, 7]


CONFIGURATION = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
minprocs=1
pidfile={folder}/pid
[inet_http_server]
port=127.0.0.1:{port}
username={user}
password={password}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


@pytest.mark.parametrize(("user", "password"), [("user", "secret-password"), ("us@er", "p@ss:w/rd?100%")])
def test_basic_auth_of_a_real_supervisord(tmp_path: Path, user: str, password: str) -> None:
    port = find_free_port()
    text = CONFIGURATION.format(folder=tmp_path, port=port, user=user, password=password.replace("%", "%%"))
    (tmp_path / "conf").write_text(text)
    command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(tmp_path / "conf")]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, **quiet)
    in_url = f"{quote(user)}:{quote(password, safe='')}"
    try:
        with socket.socket() as probe:
            wait_for(lambda: probe.connect_ex(("127.0.0.1", port)) == 0, "supervisord")
        assert ask(f"http://{in_url}@127.0.0.1:{port}", CALLS["getPID"]) == process.pid
        for wrong in (f"{in_url}-wrong@", ""):
            with pytest.raises(SupervisorUnavailable, match="refuses the user and password") as raised:
                ask(f"http://{wrong}127.0.0.1:{port}", CALLS["getPID"])
            assert password not in repr(raised.value)
            assert quote(password, safe="") not in repr(raised.value)
    finally:
        process.kill()
        process.wait()
