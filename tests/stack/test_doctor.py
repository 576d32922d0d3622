"""`plugvisor doctor` on a right machine, and on wrong ones, which are made by namespaces, limits and other users."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts
from tests.helpers.scripted_server import run_server
from tests.helpers.stack import ADMIN_CODE, ROOT
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.helpers.stack import PlugvisorStack

NOBODY = 65534
OPERATORS = """\
[supervisord]
nodaemon=true
logfile={root}/own.log
pidfile={root}/own.pid
childlogdir={root}
[unix_http_server]
file={root}/own.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:plugins]
supervisor.rpcinterface_factory=plugvisor.engines.supervisord.extension.rpcinterface:make_rpcinterface
stream={run}/state.sock
programs={run}/conf.d
[fcgi-program:plugvisor]
command={python} -m plugvisor serve
socket=tcp://127.0.0.1:{port}
[include]
files={run}/conf.d/*.conf
"""
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture(autouse=True)
def reachable(plugvisor: PlugvisorStack) -> None:
    """Other users can enter the folder, and keep what they remember there."""
    plugvisor.root.chmod(0o755)
    plugvisor.environ |= {"HOME": str(plugvisor.root), "LANG": "C.UTF-8"}


def examine(plugvisor: PlugvisorStack, *prefix: str, **environ: str) -> tuple[int, list[dict[str, str]]]:
    """Run `plugvisor doctor`, perhaps by another command; returns its exit status and what is not ok."""
    command = [*prefix, sys.executable, "-m", "plugvisor", "doctor", "--json"]
    done = subprocess.run(
        command,
        env=plugvisor.environ | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    wrong = [finding for finding in answer["findings"] if finding["level"] != "ok"]
    assert len(wrong) == answer["problems"] + answer["warnings"] < len(answer["findings"])
    assert all(finding["advice"] for finding in wrong)
    return done.returncode, wrong


def expect(found: tuple[int, list[dict[str, str]]], level: str, check: str, words: str) -> dict[str, str]:
    """The one finding, which is in a check, has a level, and says something."""
    status, wrong = found
    assert status == (1 if level == "problem" else 0), wrong
    [finding] = wrong
    assert (finding["level"], finding["check"]) == (level, check), finding
    assert words in finding["detail"], finding
    return finding


def in_namespace(script: str, *options: str) -> list[str]:
    """A prefix that runs a command in namespaces of its own, after a script has changed them."""
    return ["unshare", *(options or ["--mount"]), "sh", "-c", f'{script} && exec "$@"', "sh"]


# -- a right machine


def list_files(root: Path) -> dict[str, tuple[int, int, int]]:
    paths = [path for path in root.rglob("*") if path.suffix != ".log" and "state" not in path.parts]
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_mode) for path in paths}


def test_nothing_is_wrong_before_the_first_start(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one")
    before = list_files(plugvisor.root)
    assert examine(plugvisor) == (0, [])
    assert list_files(plugvisor.root) == before, "and nothing is made"


def test_nothing_is_wrong_while_it_runs_nor_afterwards(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    plugvisor.wait_for_status("one", "running")  # it has its log by then
    before = list_files(plugvisor.root)
    assert examine(plugvisor) == (0, [])
    assert list_files(plugvisor.root) == before
    assert plugvisor.status("one")["status"] == "running"
    plugvisor.down()
    assert examine(plugvisor) == (0, [])


def test_nothing_is_wrong_beside_a_supervisord_of_the_operators(plugvisor: PlugvisorStack) -> None:
    """Its socket is not in the run folder; it starts the service."""
    own = plugvisor.root / "own.sock"
    plugvisor.environ["PLUGVISOR_SUPERVISOR_URL"] = f"unix://{own}"
    (plugvisor.root / "own.conf").write_text(
        OPERATORS.format(root=plugvisor.root, run=plugvisor.run_dir, port=plugvisor.port, python=sys.executable)
    )
    assert plugvisor.command("render").returncode == 0
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(plugvisor.root / "own.conf")]
    with subprocess.Popen(command, env=plugvisor.environ, stdout=subprocess.DEVNULL) as supervisord:
        try:
            wait_for(plugvisor.is_ready, "the service")
            assert examine(plugvisor) == (0, [])
        finally:
            supervisord.terminate()
    assert examine(plugvisor) == (0, [])


@needs_mounts
def test_nothing_is_wrong_for_an_ordinary_user(plugvisor: PlugvisorStack) -> None:
    home = plugvisor.root / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    folders = {"PLUGVISOR_RUN_DIR": str(home / "run"), "PLUGVISOR_STATE_DIR": str(home / "state")}
    assert examine(plugvisor, *AS_NOBODY, **folders) == (0, [])


def test_a_plugins_folder_that_the_first_start_makes(plugvisor: PlugvisorStack) -> None:
    empty = plugvisor.root / "empty"
    empty.mkdir()
    doctor = [sys.executable, "-m", "plugvisor", "doctor", "--json"]
    changed = {"PLUGVISOR_PLUGINS_DIR": "", "PYTHONPATH": str(ROOT / "service")}
    done = subprocess.run(
        doctor, env=plugvisor.environ | changed, cwd=empty, capture_output=True, text=True, timeout=DEADLINE_SECONDS,
        check=False,
    )  # fmt: skip
    details = [finding["detail"] for finding in json.loads(done.stdout)["findings"] if finding["check"] == "folders"]
    assert f"{empty}/plugins for the plugins will be made" in details
    assert (done.returncode, list(empty.iterdir())) == (0, [])


def test_it_is_printed_for_people(plugvisor: PlugvisorStack) -> None:
    done = plugvisor.command("doctor", PLUGVISOR_PROT="1")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    at = lines.index("warning  variables: the variable PLUGVISOR_PROT is unknown and ignored")
    assert lines[at + 1] == "         did you mean PLUGVISOR_PORT?"
    assert lines[-1].endswith("findings: no problems, 1 warning")


# -- the address


@contextmanager
def serve(port: int, answers: Mapping[str, Any]) -> Iterator[None]:
    """An HTTP server with one JSON answer for each path; any other is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with run_server(ThreadingHTTPServer(("127.0.0.1", port), Handler)):
        yield


def test_a_port_that_something_else_uses(plugvisor: PlugvisorStack) -> None:
    with serve(plugvisor.port, {}):
        found = examine(plugvisor)
    finding = expect(found, "problem", "address", f"port {plugvisor.port} is in use by process {os.getpid()} (")
    assert finding["detail"].endswith("what answers there is no Plugvisor")
    assert "PLUGVISOR_PORT" in finding["advice"]


def test_a_service_that_does_not_answer(plugvisor: PlugvisorStack) -> None:
    """supervisord keeps the port open: nobody is to end that."""
    plugvisor.up()
    plugvisor.ctl("stop", "plugvisor")
    finding = expect(examine(plugvisor), "problem", "address", "the service does not answer")
    assert "ctl status plugvisor" in finding["advice"]
    assert str(plugvisor.log_dir / "_server.log") in finding["advice"]


def test_a_port_that_a_client_had_a_moment_ago(plugvisor: PlugvisorStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", plugvisor.port))
        client.connect(server.getsockname())
        connection, _ = server.accept()
        client.close()  # the side that closes first
        connection.close()
    finding = expect(examine(plugvisor), "warning", "address", "TIME_WAIT")
    assert finding["advice"] == "`plugvisor up` waits until it is free, at most a minute"


def test_another_plugvisor_at_the_port(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    other = {"PLUGVISOR_RUN_DIR": str(plugvisor.root / "other"), "PLUGVISOR_STATE_DIR": str(plugvisor.root / "others")}
    finding = expect(examine(plugvisor, **other), "problem", "address", "a Plugvisor with another run folder")
    assert "in use by process" in finding["detail"]


def test_a_service_of_another_version_that_is_not_available(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_SUPERVISOR_URL"] = "http://127.0.0.1:1/RPC2"
    answers = {"/health": {"status": "ok", "time": "…"}, "/openapi.json": {"info": {"version": "9.9.9"}}}
    with serve(plugvisor.port, answers):
        status, [version, available] = examine(plugvisor)
    assert status == 1
    assert "is Plugvisor 9.9.9, and this command" in version["detail"]
    assert "is not available" in available["detail"]


@pytest.mark.parametrize("available", [{"warning": "another one lives; end it"}, {}, [], 1])
def test_what_the_service_itself_warns_of(available: object, plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_SUPERVISOR_URL"] = "http://127.0.0.1:1/RPC2"
    answers = {"/health": {"status": "ok", "time": "…"}, "/available": available}
    with serve(plugvisor.port, answers):
        _, findings = examine(plugvisor)
    warned = [each for each in findings if each["check"] == "address" and each["level"] == "warning"]
    assert [(each["detail"], each["advice"]) for each in warned] == (
        [("another one lives", "end it")] if isinstance(available, dict) and available else []
    )


@needs_mounts
def test_a_machine_with_ipv6_alone(plugvisor: PlugvisorStack) -> None:
    prefix = in_namespace("ip link set lo up && ip addr del 127.0.0.1/8 dev lo", "--net")
    finding = expect(examine(plugvisor, *prefix), "problem", "address", "has no such address")
    assert "PLUGVISOR_HOST to ::1" in finding["advice"]
    assert examine(plugvisor, *prefix, PLUGVISOR_HOST="::1") == (0, [])


def test_the_path_of_a_socket(plugvisor: PlugvisorStack) -> None:
    path = plugvisor.root / ("x" * 100)
    status, [finding] = examine(plugvisor, PLUGVISOR_HOST=f"unix://{path}")
    assert (status, finding["level"]) == (1, "problem")
    assert "too long" in finding["detail"] or "byte" in finding["detail"]
    assert examine(plugvisor, PLUGVISOR_HOST=f"unix://{plugvisor.root}/http.sock") == (0, [])


# -- the installation


@needs_mounts
@pytest.mark.parametrize("content", [None, "exit 3"])
def test_no_uv_that_works(plugvisor: PlugvisorStack, content: str | None) -> None:
    program = plugvisor.root / "uv"
    if content is not None:
        program.write_text(f"#!/bin/sh\n{content}\n")
        program.chmod(0o755)
    source = "/dev/null" if content is None else program
    prefix = in_namespace(f"mount --bind {source} {Path(sys.prefix, 'bin', 'uv')}")
    plugvisor.environ["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin"
    words = "is not installed" if content is None else "ends with 3"
    finding = expect(examine(plugvisor, *prefix), "problem", "uv", words)
    assert "pip install uv" in finding["advice"]


def test_an_old_supervisor(plugvisor: PlugvisorStack) -> None:
    """It hides the right one, and whatever cannot be checked with it is a finding too."""
    package = plugvisor.root / "lib" / "supervisor"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "options.py").write_text('VERSION = "3.4.0"\n')
    status, found = examine(plugvisor, PYTHONPATH=str(package.parent))
    assert status == 1
    assert found[0]["check"] == "supervisor"
    assert "supervisor 3.4.0 is imported from" in found[0]["detail"]
    assert all("cannot be checked" in finding["detail"] for finding in found[1:])


def test_no_python_on_the_path(plugvisor: PlugvisorStack) -> None:
    (plugvisor.root / "bin").mkdir()
    (plugvisor.root / "bin" / "sh").symlink_to("/bin/sh")
    found = examine(plugvisor, PATH=str(plugvisor.root / "bin"))
    expect(found, "warning", "path", "no `python` and no `python3`")


# -- folders and disks


@needs_mounts
def test_a_folder_of_roots(plugvisor: PlugvisorStack) -> None:
    plugvisor.run_dir.mkdir(mode=0o755)
    state = plugvisor.root / "of-nobody"
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    found = examine(plugvisor, *AS_NOBODY, PLUGVISOR_STATE_DIR=str(state))
    finding = expect(found, "problem", "folders", "it belongs to root")
    assert "PLUGVISOR_RUN_DIR" in finding["advice"]
    plugvisor.run_dir.rmdir()
    found = examine(plugvisor, *AS_NOBODY, PLUGVISOR_STATE_DIR=str(state))
    expect(found, "problem", "folders", "it is missing, and you may not write in")


def test_a_folder_that_others_can_write(plugvisor: PlugvisorStack) -> None:
    plugvisor.run_dir.mkdir()
    plugvisor.run_dir.chmod(0o777)
    expect(examine(plugvisor), "problem", "folders", "others can write there")


def test_the_folder_of_the_plugins(plugvisor: PlugvisorStack) -> None:
    plugvisor.plugins_dir.chmod(0o777)
    expect(examine(plugvisor), "warning", "folders", "everyone can write")
    plugvisor.plugins_dir.rmdir()
    expect(examine(plugvisor), "problem", "folders", "No such file or directory")


@needs_mounts
def test_a_full_disk(plugvisor: PlugvisorStack) -> None:
    with mount_tmpfs(plugvisor.root / "state", 256) as disk:
        fill(disk)
        expect(examine(plugvisor), "problem", "disks", "has 0 bytes left")


@needs_mounts
@pytest.mark.parametrize(
    ("options", "words"), [("size=200m,nr_inodes=10", "more files only (inodes)"), ("size=200m,ro", "is read-only")]
)
def test_a_disk_that_takes_nothing_more(plugvisor: PlugvisorStack, options: str, words: str) -> None:
    state = plugvisor.root / "state"
    state.mkdir()
    prefix = in_namespace(f"mount -t tmpfs -o mode=0700,{options} tmpfs {state}")
    status, found = examine(plugvisor, *prefix)
    assert status == 1
    assert [finding for finding in found if finding["check"] == "disks" and words in finding["detail"]], found


@needs_mounts
def test_a_disk_that_no_plugin_can_be_installed_on(plugvisor: PlugvisorStack) -> None:
    installed = plugvisor.root / "installed"
    installed.mkdir()
    plugvisor.environ["PLUGVISOR_INSTALL_DIR"] = str(installed)
    prefix = in_namespace(f"mount -t tmpfs -o ro tmpfs {installed}")
    expect(examine(plugvisor, *prefix), "warning", "folders", "no plugin can be installed")


@needs_mounts
def test_a_disk_from_which_nothing_is_executed(plugvisor: PlugvisorStack) -> None:
    prefix = in_namespace(f"mount -t tmpfs -o mode=0700,noexec tmpfs {plugvisor.plugins_dir}")
    expect(examine(plugvisor, *prefix), "warning", "disks", "noexec")


@needs_mounts
@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_full_temporary_files(plugvisor: PlugvisorStack, folder: str) -> None:
    environ = {"TMPDIR": str(plugvisor.root / "small")} if folder == "/tmp" else {}
    place = environ.get("TMPDIR", folder)
    Path(place).mkdir(exist_ok=True)
    prefix = in_namespace(f"mount -t tmpfs -o size=4k tmpfs {place} && head -c 4096 /dev/zero >{place}/filler")
    expect(examine(plugvisor, *prefix, **environ), "warning", "temporary files", f"{place} is full")


# -- the run folder


def test_what_a_plugvisor_that_was_killed_has_left(plugvisor: PlugvisorStack) -> None:
    plugvisor.run_dir.mkdir(mode=0o700)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (plugvisor.run_dir / "supervisord.pid").write_text(f"{ended.pid}\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plugvisor.run_dir / "supervisor.sock"))
    words = f"has left supervisord.pid and supervisor.sock of process {ended.pid}, which has ended"
    expect(examine(plugvisor), "warning", "run folder", words)
    plugvisor.up()  # as the advice says
    assert examine(plugvisor) == (0, [])


def test_a_supervisord_that_is_not_reached_any_more(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    path = plugvisor.run_dir / "supervisor.sock"
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)  # else it listens again within a second
    path.rename(plugvisor.run_dir / "moved.sock")
    status, found = examine(plugvisor)
    (plugvisor.run_dir / "moved.sock").rename(path)
    os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    assert status == 1
    words = f"supervisord, process {plugvisor.supervisord_pid}, does not listen in"
    assert [each for each in found if each["check"] == "run folder" and words in each["detail"]], found


@needs_mounts
def test_files_of_another_user_in_the_run_folder(plugvisor: PlugvisorStack) -> None:
    plugvisor.run_dir.mkdir(mode=0o700)
    (plugvisor.run_dir / "lock").touch()
    os.chown(plugvisor.run_dir / "lock", NOBODY, NOBODY)
    expect(examine(plugvisor), "problem", "run folder", "files of another user: 'lock'")


# -- the system


@needs_mounts
def test_no_proc(plugvisor: PlugvisorStack) -> None:
    expect(examine(plugvisor, *in_namespace("mount -t tmpfs tmpfs /proc")), "problem", "proc", "/proc is not mounted")


@needs_mounts
def test_a_proc_that_hides_processes(plugvisor: PlugvisorStack) -> None:
    home = plugvisor.root / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    folders = {"PLUGVISOR_RUN_DIR": str(home / "run"), "PLUGVISOR_STATE_DIR": str(home / "state")}
    prefix = in_namespace("mount -t proc -o hidepid=2 proc /proc")
    expect(examine(plugvisor, *prefix, *AS_NOBODY, **folders), "warning", "proc", "hidepid=")
    assert examine(plugvisor, *prefix) == (0, []), "root sees all of them"


def test_few_open_files(plugvisor: PlugvisorStack) -> None:
    finding = expect(examine(plugvisor, "prlimit", "--nofile=100:100"), "problem", "limits", "may open 100 files")
    assert "ulimit -n" in finding["advice"]


@needs_mounts
def test_few_processes(plugvisor: PlugvisorStack) -> None:
    home = plugvisor.root / "home"
    home.mkdir()
    uid = 61_234  # who runs nothing else
    os.chown(home, uid, uid)
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "prlimit", "--nproc=12:12"]
    folders = {"PLUGVISOR_RUN_DIR": str(home / "run"), "PLUGVISOR_STATE_DIR": str(home / "state")}
    expect(examine(plugvisor, *user, **folders), "problem", "limits", "more processes and threads only")


def test_a_clock_that_was_set_back(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    wait_for(lambda: plugvisor.get("/journal", ADMIN_CODE).json()["entries"], "the journal")
    plugvisor.down()
    assert examine(plugvisor) == (0, [])
    database = plugvisor.root / "state" / "plugvisor.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE journal SET until = ?", (time.time() + 5 * 3600,))
    expect(examine(plugvisor), "warning", "clock", "the last entry of the journal is 5 hours in the future")
    later = time.time() + 3 * 86_400
    database.unlink()
    (plugvisor.root / "state" / "plugvisor.db-wal").write_bytes(b"")
    os.utime(plugvisor.root / "state" / "plugvisor.db-wal", (later, later))
    expect(examine(plugvisor), "warning", "clock", "was written 3 days in the future")


@needs_mounts
def test_no_control_groups(plugvisor: PlugvisorStack) -> None:
    prefix = in_namespace("mount -t tmpfs -o ro tmpfs /sys/fs/cgroup")
    plugvisor.write_plugin("free")
    assert examine(plugvisor, *prefix) == (0, []), "no plugin needs them"
    plugvisor.write_plugin("web", runtime='limits = { memory = "512M" }')
    finding = expect(examine(plugvisor, *prefix), "warning", "control groups", "no control group limits memory of: web")
    assert finding["advice"].startswith("memory is measured once a second instead; for the kernel")
    assert "Delegate=yes" in finding["advice"]


def test_a_locale_that_is_not_there(plugvisor: PlugvisorStack) -> None:
    for variable in ("LANG", "LC_ALL"):
        words = f"no locale 'tlh_QO.UTF-8', which {variable} names"
        expect(examine(plugvisor, **{variable: "tlh_QO.UTF-8"}), "warning", "locale", words)


# -- the configuration


def test_a_setting_that_is_invalid(plugvisor: PlugvisorStack) -> None:
    finding = expect(examine(plugvisor, PLUGVISOR_PORT="x"), "problem", "settings", "PLUGVISOR_PORT")
    assert finding["advice"]


def test_a_code_that_can_be_guessed_in_a_file_that_everyone_can_read(plugvisor: PlugvisorStack) -> None:
    del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    file = plugvisor.root / "code"
    file.write_text("short-one\n")
    file.chmod(0o644)
    status, [weak, readable] = examine(plugvisor, PLUGVISOR_ADMIN_CODE_FILE=str(file))
    assert (status, weak["check"], readable["check"]) == (0, "secrets", "secrets")
    assert "it can be guessed" in weak["detail"]
    assert "every user of this machine can read" in readable["detail"]
    assert "short-one" not in str([weak, readable])
    file.write_text("a-code-that-is-long-enough\n")
    file.chmod(0o600)
    assert examine(plugvisor, PLUGVISOR_ADMIN_CODE_FILE=str(file)) == (0, [])


def test_a_plugin_that_cannot_be_used(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one")
    plugvisor.write_plugin("broken", runtime="enabled = maybe")
    finding = expect(examine(plugvisor), "problem", "plugins", "1 of 2 plugins cannot be used: broken")
    assert "plugvisor check" in finding["advice"]


def test_a_page_that_is_not_there(plugvisor: PlugvisorStack) -> None:
    expect(examine(plugvisor, PLUGVISOR_PAGE_DIR=str(plugvisor.root)), "problem", "page", "index.html")


def test_no_docker(plugvisor: PlugvisorStack) -> None:
    environ = {"PLUGVISOR_ENGINE": "swarm", "PLUGVISOR_DOCKER_HOST": f"unix://{plugvisor.root}/docker.sock"}
    finding = expect(examine(plugvisor, **environ), "problem", "swarm", "no manager of the swarm answers")
    assert "PLUGVISOR_DOCKER_HOST" in finding["advice"]
