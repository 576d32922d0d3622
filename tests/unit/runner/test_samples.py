"""The sample plugins, each as a real process."""

import re
import shlex
import shutil
import signal
import socket
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.ports import find_free_port
from tests.helpers.runner_processes import RUNNER
from tests.helpers.waiting import DEADLINE_SECONDS

SAMPLES = Path(__file__).resolve().parents[3] / "plugins"


@pytest.fixture
def sample(start, tmp_path):
    """sample(id, environment) -> Process: a copy of the sample, started as its manifest says."""

    def sample(plugin_id, environment=None):
        folder = tmp_path / plugin_id
        shutil.copytree(SAMPLES / plugin_id, folder, ignore=shutil.ignore_patterns("__pycache__", "settings.toml"))
        manifest = tomllib.loads((folder / "plugin.toml").read_text(encoding="utf-8"))
        if "entry" in manifest["plugin"]:
            command = [sys.executable, str(RUNNER), manifest["plugin"]["entry"]]
        else:
            command = manifest["plugin"]["command"]
            command = shlex.split(command) if isinstance(command, str) else command
            assert command[0] == "python"
            command = [sys.executable, *command[1:]]
        own = manifest["plugin_runtime"].get("environment", {})
        return start(command, folder, own | (environment or {}))

    return sample


@pytest.mark.parametrize("plugin_id", sorted(folder.name for folder in SAMPLES.iterdir()))
def test_sample_manifest(plugin_id):
    manifest = tomllib.loads((SAMPLES / plugin_id / "plugin.toml").read_text(encoding="utf-8"))
    plugin, runtime = manifest["plugin"], manifest["plugin_runtime"]
    assert plugin["id"] == plugin_id
    assert all(isinstance(plugin[key], str) and plugin[key] for key in ("name", "version", "description"))
    assert ("command" in plugin) != ("entry" in plugin)
    assert runtime["enabled"] is True
    assert runtime["auto_start"] is (plugin_id in {"heartbeat", "hello_http"})
    assert all(isinstance(value, str) for value in runtime.get("environment", {}).values())


def test_heartbeat(sample):
    process = sample("heartbeat", {"HEARTBEAT_SECONDS": "0.05", "HEARTBEAT_GREETING": "好"})
    for number in (1, 2, 3):
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d 好, beat {number}", process.line())
    process.send()
    assert " goodbye after beat " in process.rest()[-1]
    assert process.end() == (0, "")


def test_heartbeat_stops_at_once_in_the_middle_of_its_interval(sample):
    process = sample("heartbeat", {"HEARTBEAT_SECONDS": "3600"})
    assert process.line().endswith(" 你好 from Plugvisor, beat 1")
    process.send()
    assert process.line().endswith(" goodbye after beat 1")
    assert process.end() == (0, "")


def test_hello_http(sample):
    process = sample("hello_http", {"HELLO_PORT": "0"})  # 0: any free port
    url = process.line().removeprefix("listening on ")
    with urllib.request.urlopen(url + "some/path", timeout=DEADLINE_SECONDS) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.read() == b'{"message": "hello from a plugin", "path": "/some/path"}\n'
    assert process.line() == "127.0.0.1 'GET /some/path HTTP/1.1' 200"
    process.send()
    assert process.rest() == ["closed"]
    assert process.end() == (0, "")


def test_hello_http_says_when_its_port_is_taken(sample):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, stderr = sample("hello_http", {"HELLO_PORT": str(port)}).end()
    assert status == 1
    assert stderr.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert stderr.count("\n") == 1


def test_failing(sample):
    process = sample("failing")
    assert process.rest() == []
    assert process.end() == (3, "cannot start: there is no settings.toml in this plugin's folder; create one\n")


def test_failing_can_be_repaired(sample, start, tmp_path):
    sample("failing").end()
    (tmp_path / "failing" / "settings.toml").touch()
    process = start([sys.executable, "main.py"], tmp_path / "failing")
    assert process.line() == "settings.toml found, all is well"
    process.send()
    assert process.end()[0] == -signal.SIGTERM


def test_stubborn(sample):
    process = sample("stubborn")
    assert process.line() == "here I am and here I stay"
    for _ in range(3):
        process.send()
        assert process.line() == "SIGTERM received, and ignored"
    process.send(signal.SIGKILL)
    assert process.end() == (-signal.SIGKILL, "")


def test_tiny_web_counts_in_tiny_store(sample):
    store_port, web_port = (find_free_port() for _ in range(2))
    store = sample("tiny_store", {"STORE_PORT": str(store_port)})
    web = sample("tiny_web", {"WEB_PORT": str(web_port), "STORE_URL": f"http://127.0.0.1:{store_port}"})
    assert store.line() == f"listening on http://127.0.0.1:{store_port}/"
    assert web.line() == f"listening on http://127.0.0.1:{web_port}/"
    assert get(f"http://127.0.0.1:{store_port}/ok")[0] in (503, 200)
    assert store.line() == "loaded"
    assert get(f"http://127.0.0.1:{store_port}/ok") == (200, b'{"loaded": true}\n')
    assert get(f"http://127.0.0.1:{web_port}/") == (200, b'visits: {"value": 1}\n')
    assert get(f"http://127.0.0.1:{web_port}/") == (200, b'visits: {"value": 2}\n')
    store.send()
    store.end()
    assert get(f"http://127.0.0.1:{web_port}/")[0] == 502
    assert get(f"http://127.0.0.1:{web_port}/ok") == (200, b"ok\n")


def test_leaky(sample):
    process = sample("leaky")
    assert [process.line() for _ in range(3)] == ["8 MB", "16 MB", "24 MB"]
    process.send()
    process.end()


def get(url):
    """The status and the body."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
