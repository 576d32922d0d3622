"""The command `plugvisor`: what it says, what it refuses, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from plugvisor.cli.main import main

from tests.helpers.ports import find_free_port
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

SETTINGS = {"PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_RUN_DIR", "PLUGVISOR_LOG_DIR", "PLUGVISOR_RUNNER"}
ASKING = {"PLUGVISOR_HOST", "PLUGVISOR_PORT", "PLUGVISOR_TOKEN", "PLUGVISOR_ADMIN_CODE", "PLUGVISOR_RUN_DIR"}
COMMANDS = {
    "up": (r"become supervisord.*Ctrl-C", SETTINGS | {"PLUGVISOR_PORT", "PLUGVISOR_ADMIN_CODE"}),
    "serve": (r"against a supervisord that is there", SETTINGS | {"PLUGVISOR_HOST", "PLUGVISOR_SUPERVISOR_URL"}),
    "render": (r"nothing\s+else", SETTINGS),
    "check": (r"file and line", {"PLUGVISOR_PLUGINS_DIR"}),
    "health": (r"Exit status 0", {"PLUGVISOR_HOST", "PLUGVISOR_PORT"}),
    "run": (r"supervisord does not know of it", {"PLUGVISOR_RUN_DIR"}),
    "ctl": (r"supervisorctl", {"PLUGVISOR_RUN_DIR"}),
    "ls": (r"with their status", ASKING),
    "status": (r"why they do not run", ASKING),
    "nodes": (r"plugins that run there", ASKING),
    "start": (r"Ctrl-C ends the waiting alone", ASKING),
    "stop": (r"their processes are gone", ASKING),
    "reload": (r"One that does not run is started", ASKING),
    "refresh": (r"New plugins are not started", ASKING),
    "enable": (r"Nothing is started", ASKING),
    "disable": (r"keep them from being started", ASKING),
    "completion": (r"ids of plugins", set()),
    "dev": (r"whatever its manifest says", set()),
    "identity add": (r"standard output, this once", ASKING),
    "identity list": (r"without their tokens", ASKING),
    "identity remove": (r"invalid at once", ASKING),
    "identity rotate": (r"standard output, this once", ASKING),
    "whoami": (r"whose token", ASKING),
    "logs": (r"across restarts of the plugins", ASKING),
    "top": (r"until q or Ctrl-C", ASKING),
    "events": (r"status before and after", ASKING),
    "journal": (r"oldest first", ASKING),
    "install": (r"first Ctrl-C cancels it", ASKING),
    "update": (r"the version before takes its place", ASKING),
    "rollback": (r"second rollback", ASKING),
    "uninstall": (r"is kept", ASKING),
    "versions": (r"which is current", ASKING),
    "operations": (r"newest first", ASKING),
    "new": (r"that works", set()),
    "pack": (r"byte for byte", set()),
    "config get": (r"Print the manifest", ASKING),
    "config set": (r"if it is invalid, nothing changes", ASKING),
    "config edit": (r"the editor\s+opens again", ASKING),
    "doctor": (r"Nothing is changed", SETTINGS | ASKING),
    "schema": (r"editors complete", set()),
    "image build": (r"name and digest", {"PLUGVISOR_DOCKER_HOST", "PLUGVISOR_REGISTRY", "PLUGVISOR_IMAGE"}),
}


def show_help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `plugvisor …` prints that does nothing but print."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"^ {4}(\w+) {2,}\w+", show_help(capsys, "--help"), re.MULTILINE)
    assert sorted(named) == sorted({name.split()[0] for name in COMMANDS})
    assert re.fullmatch(r"plugvisor \d+\.\d+\.\d+\S*\n", show_help(capsys, "--version"))


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_what_is_no_command(plugvisor: PlugvisorStack, arguments: list[str]) -> None:
    assert plugvisor.command(*arguments).returncode == 2


@pytest.mark.parametrize("name", [*COMMANDS])
def test_help_tells_what_a_command_does_and_reads(capsys: pytest.CaptureFixture[str], name: str) -> None:
    text, variables = COMMANDS[name]
    shown = show_help(capsys, *name.split(), "--help")
    assert re.search(text, shown, re.DOTALL)
    assert variables <= {*re.findall(r"^ +(PLUGVISOR_\w+)$", shown, re.MULTILINE)}


# -- what is refused


def refused(plugvisor: PlugvisorStack, *arguments: str, **environ: str) -> str:
    """Run a command that cannot be carried out; returns its one sentence."""
    done = plugvisor.command(*arguments, **environ)
    assert done.returncode == 2, done
    assert re.fullmatch(r"plugvisor: cannot .+\n", done.stderr), done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),  # more values of each are in tests/unit/test_settings.py
    [
        ("PLUGVISOR_PORT", "65536"),
        *[("PLUGVISOR_HOST", value) for value in ("192.0.2.1", "nobody.invalid", "a..b")],
        *[
            ("PLUGVISOR_RUN_DIR", value)
            for value in ("{root}/a b", "{root}/" + 25 * "long", "{root}/up.log/x", "/proc/x")
        ],
        ("PLUGVISOR_LOG_DIR", "{root}/up.log"),
        *[("PLUGVISOR_PLUGINS_DIR", value) for value in ("{root}/none", "{root}/up.log")],
        ("PLUGVISOR_CORS_ORIGINS", "http://a/path"),
        ("PLUGVISOR_RUNNER", "python '{entry}"),
        *[("PLUGVISOR_SUPERVISOR_URL", value) for value in ("unix://relative", "http://u:secret@host:port")],
        *[("PLUGVISOR_ADMIN_CODE", value) for value in ("sec", "sécrét")],
        *[("PLUGVISOR_ADMIN_CODE_FILE", value) for value in ("{root}/none", "{root}/latin1")],
    ],
)
def test_bad_settings(plugvisor: PlugvisorStack, variable: str, value: str) -> None:
    (plugvisor.root / "up.log").touch()
    (plugvisor.root / "empty").touch()
    (plugvisor.root / "latin1").write_bytes("sécrétsécrétsécrét".encode("latin-1"))
    if variable == "PLUGVISOR_ADMIN_CODE_FILE":
        del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    sentence = refused(plugvisor, "up", **{variable: value.replace("{root}", str(plugvisor.root))})
    assert variable in sentence or "the admin code in" in sentence, "it says which setting to change"
    assert "sec" not in sentence
    assert ADMIN_CODE not in sentence


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_run_folder_that_others_may_write(plugvisor: PlugvisorStack, mode: int) -> None:
    plugvisor.run_dir.mkdir()
    plugvisor.run_dir.chmod(mode)
    assert "PLUGVISOR_RUN_DIR" in refused(plugvisor, "up")


def test_a_run_folder_of_somebody_else(plugvisor: PlugvisorStack) -> None:
    folder = plugvisor.run_dir
    if os.getuid() == 0:
        folder.mkdir()
        os.chown(folder, 12345, 12345)
    else:
        folder = Path("/usr")  # root's: not to be written either
    assert "PLUGVISOR_RUN_DIR" in refused(plugvisor, "up", PLUGVISOR_RUN_DIR=str(folder))


def test_a_port_in_use(plugvisor: PlugvisorStack) -> None:
    with socket.create_server(("127.0.0.1", plugvisor.port)):
        for command in ("up", "serve"):
            sentence = refused(plugvisor, command)
            name = Path("/proc/self/comm").read_text().strip()
            assert f"port {plugvisor.port} is in use by process {os.getpid()} ({name}); end that" in sentence
            assert "PLUGVISOR_PORT" in sentence


def test_a_port_in_use_for_a_moment(plugvisor: PlugvisorStack) -> None:
    """An instance that is ending has it for a moment more."""
    with socket.create_server(("127.0.0.1", plugvisor.port)):
        process = plugvisor.process = plugvisor.spawn("up")
        wait_for((plugvisor.run_dir / "admin_code").exists, "up to have come near")
        assert process.poll() is None
    wait_for(plugvisor.is_ready, "the service")


def test_a_port_that_a_client_had(plugvisor: PlugvisorStack) -> None:
    """Linux gives such ports to clients: the end of the connection leaves the port in TIME_WAIT, for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", plugvisor.port))  # without SO_REUSEADDR, as the system does for a client
        client.connect(server.getsockname())
        connection, _ = server.accept()
        sentence = refused(plugvisor, "up")
        assert f"in use by process {os.getpid()} " in sentence
        assert "as a client of another server" in sentence
        client.close()  # the side that closes first
        assert connection.recv(1) == b""
        connection.close()
    process = plugvisor.process = plugvisor.spawn("up")
    wait_for(lambda: "TIME_WAIT" in plugvisor.output_path.read_text(), "what up waits for")
    assert "waiting until it is free, at most a minute" in plugvisor.output_path.read_text()
    assert process.poll() is None
    # where the system cannot do that, it takes the minute
    subprocess.run(["ss", "-K", "-tan", "sport", "=", f":{plugvisor.port}"], check=False, capture_output=True)
    wait_for(plugvisor.is_ready, "the service", 60 + DEADLINE_SECONDS)


def test_ctrl_c_while_up_waits_for_a_port(plugvisor: PlugvisorStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", plugvisor.port))
        client.connect(server.getsockname())
        connection, _ = server.accept()
        client.close()
        connection.close()
    process = plugvisor.process = plugvisor.spawn("up")
    wait_for(lambda: "TIME_WAIT" in plugvisor.output_path.read_text(), "what up waits for")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_SECONDS) == 128 + signal.SIGINT
    assert "Traceback" not in plugvisor.output_path.read_text()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.1", "this machine has no such address; set PLUGVISOR_HOST"),
        ("nobody.invalid", "no host has this name; set PLUGVISOR_HOST"),
    ],
)
def test_an_address_that_is_not_of_this_machine(plugvisor: PlugvisorStack, host: str, reason: str) -> None:
    sentence = refused(plugvisor, "up", PLUGVISOR_HOST=host)
    assert reason in sentence
    assert "end what" not in sentence


# -- up


def test_up_twice(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("x")
    plugvisor.up()
    pid = plugvisor.wait_for_status("x", "running")["pid"]
    pids = plugvisor.ctl("pid", "all"), pid
    for port in (plugvisor.port, find_free_port()):
        sentence = refused(plugvisor, "up", PLUGVISOR_PORT=str(port), PLUGVISOR_ADMIN_CODE="another-code-than-that")
        assert "running already" in sentence
        assert "PLUGVISOR_RUN_DIR" in sentence
    assert (plugvisor.ctl("pid", "all"), plugvisor.status("x")["pid"]) == pids
    assert len(pids[0].split()) == 2
    assert plugvisor.post("/plugins/refresh").status_code == 200, "the code is the first one's"
    # and the service, when it is started again, still has it
    plugvisor.ctl("restart", "plugvisor")
    wait_for(plugvisor.is_ready, "the service")
    assert plugvisor.post("/plugins/refresh").status_code == 200


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_stops_all(plugvisor: PlugvisorStack, name: str) -> None:
    plugvisor.write_plugin("x")
    plugvisor.write_plugin("idle", runtime="auto_start = false")
    plugvisor.up()
    plugvisor.wait_for_status("x", "running")
    pids = [int(pid) for pid in plugvisor.ctl("pid", "all").split() if int(pid)]
    assert len(pids) == 2, "the service and a plugin"
    assert plugvisor.process
    plugvisor.process.send_signal(signal.Signals[name])
    assert plugvisor.process.wait(DEADLINE_SECONDS) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert find_processes(plugvisor.root) == []
    with socket.create_server(("127.0.0.1", plugvisor.port)):
        pass
    assert "Traceback" not in plugvisor.service_log + plugvisor.output_path.read_text()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_serve(plugvisor: PlugvisorStack, name: str) -> None:
    process = plugvisor.spawn("serve")
    try:
        wait_for(lambda: "listening on" in plugvisor.output_path.read_text(), "the service")
        wait_for(lambda: is_answering(plugvisor), "the service")
        process.send_signal(signal.Signals[name])
        process.wait(DEADLINE_SECONDS)
        assert "Traceback" not in plugvisor.output_path.read_text()
    finally:
        process.kill()
        process.wait()


def is_answering(plugvisor: PlugvisorStack) -> bool:
    """Whether requests are served: uvicorn heeds signals from then on."""
    with contextlib.suppress(httpx.TransportError):
        return plugvisor.http.get("/health").status_code == 200
    return False


def test_a_random_code_is_shown_at_the_start_and_logged_nowhere(plugvisor: PlugvisorStack) -> None:
    del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    plugvisor.up()
    shown = plugvisor.output_path.read_text()
    [code] = re.findall(r"^ +admin code +(\S+)$", shown, re.MULTILINE)
    assert len(code) >= 22, "128 bits in base64"
    assert plugvisor.post("/plugins/refresh", code).status_code == 200
    plugvisor.down()
    page = f"{plugvisor.url}/#code={code}"
    assert re.findall(r"^ +page +(\S+)$", shown, re.MULTILINE) == [page], "an address that signs in by itself"
    assert plugvisor.output_path.read_text().count(code) == 2
    logs = [path.read_text() for path in plugvisor.log_dir.iterdir()]
    assert any("POST /plugins/refresh: 200" in log for log in logs)
    assert not any(code in log for log in logs)

    plugvisor.output_path.unlink()
    plugvisor.up()
    assert code not in plugvisor.output_path.read_text(), "another each time"
    assert plugvisor.post("/plugins/refresh", code).status_code == 401


def test_the_address_that_clients_use_is_shown(plugvisor: PlugvisorStack) -> None:
    """The service cannot know it behind a proxy or a container's published port."""
    del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    plugvisor.environ["PLUGVISOR_URL"] = "https://plugvisor.example.com/"
    plugvisor.up()
    shown = plugvisor.output_path.read_text()
    assert re.findall(r"^ +address +(\S+)$", shown, re.MULTILINE) == ["https://plugvisor.example.com"]
    assert re.search(r"^ +page +https://plugvisor\.example\.com/#code=\S+$", shown, re.MULTILINE)


@pytest.mark.parametrize("by_file", [False, True], ids=["variable", "file"])
def test_a_weak_code_is_warned_about(plugvisor: PlugvisorStack, by_file: bool) -> None:
    code = "QXYZ"
    plugvisor.environ["PLUGVISOR_ADMIN_CODE"] = code
    if by_file:
        path = plugvisor.root / "code"
        path.write_text(f"{code}\n")
        plugvisor.environ["PLUGVISOR_ADMIN_CODE_FILE"] = str(path)
        del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    plugvisor.up()
    assert plugvisor.post("/plugins/refresh", code).status_code == 200
    shown = plugvisor.output_path.read_text()
    assert shown.count("warning: the admin code is short") == 1
    assert code not in shown
    assert "as you set it" in shown


def test_a_plugin_that_is_gone_is_not_started_again(plugvisor: PlugvisorStack) -> None:
    for plugin_id in ("stays", "goes"):
        plugvisor.write_plugin(plugin_id)
    plugvisor.up()
    plugvisor.down()
    published = [plugvisor.run_dir / name for name in ("conf.d/goes.conf", "launch/goes.sh")]
    assert all(path.exists() for path in published)
    shutil.rmtree(plugvisor.plugins_dir / "goes")
    plugvisor.up()
    assert not any(path.exists() for path in published)
    assert {plugin["id"] for plugin in plugvisor.http.get("/plugins").json()["plugins"]} == {"stays"}
    assert "goes" not in plugvisor.ctl("status")


@pytest.mark.parametrize("orphans", ["killed", "alive"])
def test_what_a_killed_supervisord_left_is_no_hindrance(plugvisor: PlugvisorStack, orphans: str) -> None:
    plugvisor.write_plugin("x", runtime="auto_start = false")
    plugvisor.up()
    pid, service_pid = plugvisor.start_running("x"), int(plugvisor.ctl("pid", "plugvisor"))
    assert plugvisor.process
    plugvisor.process.kill()
    plugvisor.process.wait()
    wait_for(lambda: not is_alive(service_pid), "the end of the service")
    assert {"supervisor.sock", "supervisord.pid"} <= {path.name for path in plugvisor.run_dir.iterdir()}
    if orphans == "killed":
        os.kill(pid, signal.SIGKILL)
    plugvisor.up()
    assert not is_alive(pid), "it would be a second one"
    assert plugvisor.wait_for_status("x", "running")["pid"] != pid, "it was started by request"


# -- render, check, health, ctl


def test_render(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("x")
    done = plugvisor.command("render")
    assert (done.returncode, done.stdout) == (0, "x: ok, plugin 'x'\n1 plugin, 0 invalid\n")
    assert (plugvisor.run_dir / "conf.d" / "x.conf").exists()
    assert (plugvisor.run_dir / "launch" / "x.sh").exists()
    (plugvisor.plugins_dir / "x" / "plugin.toml").write_text("[plugin\n")
    done = plugvisor.command("render")
    assert done.returncode == 1
    assert "x: cannot be used: plugin.toml" in done.stdout
    assert (plugvisor.run_dir / "conf.d" / "x.conf").exists(), "it may be running"
    shutil.rmtree(plugvisor.plugins_dir / "x")
    assert plugvisor.command("render").returncode == 0
    assert not (plugvisor.run_dir / "conf.d" / "x.conf").exists()
    assert find_processes(plugvisor.root) == []


def find_files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_check(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    plugvisor.write_plugin("good")
    plugvisor.write_plugin("off", runtime="enabled = false")
    environ = {"TMPDIR": str(tmp_path)}
    for arguments in ([], [str(plugvisor.plugins_dir)]):
        done = plugvisor.command("check", *arguments, **environ)
        assert done.returncode == 0, done
        assert done.stdout.splitlines() == [
            "good: ok, plugin 'good'",
            "off: ok, plugin 'off', disabled",
            "2 plugins, 0 invalid",
        ]
    done = plugvisor.command("check", str(plugvisor.plugins_dir / "good"))
    assert (done.returncode, done.stdout) == (0, "good: ok, plugin 'good'\n1 plugin, 0 invalid\n"), "only that one"
    plugvisor.write_plugin("syntax", runtime="what is this")
    plugvisor.write_plugin("types", runtime="\n\nenabled = 'yes'")
    before = find_files(plugvisor.root)
    done = plugvisor.command("check", **environ)
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert last == "4 plugins, 2 invalid"
    assert re.match(r"syntax: cannot be used: plugin\.toml.*line 5", lines[2]), lines
    assert re.match(r"types: cannot be used: plugin\.toml.*enabled", lines[3]), lines
    assert find_files(plugvisor.root) == before
    assert find_files(tmp_path) == set()


@pytest.mark.parametrize("name", ["with blank", "100%", "long" * 30], ids=["blank", "percent", "long"])
def test_check_wherever_temporary_files_are(plugvisor: PlugvisorStack, tmp_path: Path, name: str) -> None:
    plugvisor.write_plugin("good")
    (tmp_path / name).mkdir()
    assert plugvisor.command("check", TMPDIR=str(tmp_path / name)).returncode == 0


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("none", "No such file or directory; create it, or set PLUGVISOR_PLUGINS_DIR"),
        ("file", "Not a directory; set PLUGVISOR_PLUGINS_DIR"),
    ],
)
def test_a_plugins_folder_that_cannot_be_read(plugvisor: PlugvisorStack, name: str, advice: str) -> None:
    (plugvisor.root / "file").touch()
    assert advice in refused(plugvisor, "up", PLUGVISOR_PLUGINS_DIR=str(plugvisor.root / name))


def test_check_of_no_folder(plugvisor: PlugvisorStack) -> None:
    assert "none" in refused(plugvisor, "check", str(plugvisor.root / "none"))


def test_health(plugvisor: PlugvisorStack) -> None:
    done = plugvisor.command("health")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"unhealthy: no answer from {plugvisor.url}: Connection refused\n"
    plugvisor.up()
    done = plugvisor.command("health")
    assert (done.returncode, done.stdout, done.stderr) == (0, "healthy\n", "")
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    try:
        done = plugvisor.command("health")
    finally:
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    assert (done.returncode, done.stdout) == (1, "")
    problem = "supervisord does not answer: it is stopped or very busy"
    assert done.stderr == f"unhealthy: {plugvisor.url} answers 503: {problem}\n"


def test_health_imports_little(plugvisor: PlugvisorStack) -> None:
    """A container's health check has 10 seconds, on a processor that plugins may keep busy."""
    imported = plugvisor.command("health", PYTHONPROFILEIMPORTTIME="1").stderr
    modules = {line.rpartition("|")[2].strip() for line in imported.splitlines() if line.startswith("import time:")}
    assert "plugvisor.settings" in modules
    assert not modules & {"httpx", "http.client", "ssl", "asyncio", "logging", "starlette", "uvicorn", "supervisor"}
    assert len(modules) < 150


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 x y\r\n\r\n"])
def test_health_of_what_is_no_http_service(plugvisor: PlugvisorStack, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=respond)
        thread.start()
        done = plugvisor.command("health", PLUGVISOR_PORT=str(listener.getsockname()[1]))
        thread.join()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("unhealthy: no answer from http://127.0.0.1:")
    assert "Traceback" not in done.stderr


def test_ctl(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("x", runtime="auto_start = false")
    plugvisor.up()
    lines = {line.split()[0]: line.split()[1] for line in plugvisor.ctl("status").splitlines()}
    assert lines == {"plugvisor": "RUNNING", "x": "STOPPED"} or lines["plugvisor"] == "STARTING"
    assert "x: started" in plugvisor.command("ctl", "start", "x").stdout
    plugvisor.wait_for_status("x", "running")
    assert plugvisor.command("ctl", "status", "none").returncode != 0
