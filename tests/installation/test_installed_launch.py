"""What runs of an installed plugin: its current version, with the Python and the programs of its environment."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.installation import install as begin
from tests.helpers.installation import installed
from tests.helpers.installed import install, make_current, place_version
from tests.helpers.packages import make_package
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for
from tests.helpers.wheels import make_wheel
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.packages import Files
    from tests.helpers.stack import PlugvisorStack

PROBE = f"""\
import json, os, sys
import only_there, shutil
data, environment = os.environ["PLUGVISOR_DATA_DIR"], os.environ["VIRTUAL_ENV"]
print(json.dumps([only_there.VALUE, sys.prefix, os.getcwd(), data, environment, shutil.which("python")]), flush=True)
{OBEDIENT}"""
FUNCTION = PROBE.replace("\n", "\n    ")
CHECK = """
[plugin_runtime.checks.ready]
exec = ["python", "-c", "import only_there, os; open(os.environ['PLUGVISOR_DATA_DIR'] + '/checked', 'w')"]
period = 0.2
"""


def make_environment(version: Path, value: str) -> Path:
    """A real environment with a module that is nowhere else."""
    path = version / ".venv"
    venv.create(path, symlinks=True, with_pip=False)
    [packages] = path.glob("lib/python3*/site-packages")
    (packages / "only_there.py").write_text(f"VALUE = {value!r}\n")
    return path


def manifest_of(plugin_id: str, version: str, what: str, more: str = "") -> str:
    return f'[plugin]\nid = "{plugin_id}"\nversion = "{version}"\n{what}\n[plugin_runtime]\n{QUICK}\n{more}'


def read_probe(plugvisor: PlugvisorStack, plugin_id: str) -> list[str]:
    """What the last probe has printed."""
    lines = [line for line in plugvisor.read_log(plugin_id).splitlines() if line.startswith("[")]
    found: list[str] = json.loads(lines[-1])
    return found


@pytest.mark.parametrize("what", ['command = ["python", "main.py"]', 'entry = "main:run"'])
def test_its_environment_comes_first(shared: PlugvisorStack, what: str) -> None:
    plugin_id = f"environment-{what.partition(' ')[0]}"
    version = install(shared.plugins_dir, plugin_id, "1", manifest_of(plugin_id, "1", what, CHECK))
    code = PROBE if "command" in what else f"def run():\n    {FUNCTION}"
    (version / "main.py").write_text(code)
    environment = make_environment(version, "one")
    assert shared.post("/plugins/refresh").json()["added"] == [plugin_id]
    shared.start_running(plugin_id)
    data = version.parent.parent / "data"
    assert read_probe(shared, plugin_id) == [
        "one", str(environment), str(version), str(data), str(environment), str(environment / "bin" / "python"),
    ]  # fmt: skip
    wait_for((data / "checked").exists, "the command of its check, run with the environment")


def make_tool_package(plugin_id: str, command: str, *, python: str = "", requires: bool = True) -> bytes:
    """A package whose wheel has the command `only-there`."""
    manifest = manifest_of(plugin_id, "1", f'command = ["{command}"]')
    if python:
        manifest += f'[plugin_runtime.python]\nversion = "{python}"\n'
    tool = b"import sys, time\ndef main():\n    print('ready in', sys.prefix, flush=True)\n    time.sleep(600)\n"
    wheel = make_wheel("tool", "1.0", {"tool.py": tool}, entry_points="only-there = tool:main")
    files: Files = {"plugin.toml": manifest, "wheels/tool-1.0-py3-none-any.whl": wheel}
    if requires:
        files |= {"requirements.txt": "--no-index\n--find-links ./wheels\ntool\n"}
    else:
        files |= {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\n'}
    return make_package(files)


def test_a_command_that_only_its_environment_has(shared: PlugvisorStack) -> None:
    installed(shared, make_tool_package("tool", "only-there", python=">=3.9"), start=True)
    wait_for(lambda: "ready in" in shared.read_log("tool"), "the plugin")
    directory = shared.plugins_dir / "tool" / "current"
    assert f"ready in {directory.resolve() / '.venv'}" in shared.read_log("tool")
    config = shared.get("/plugin/tool/config").json()
    assert (config["writable"], config["reload_needed"], "problem" in config) == (True, False, False)
    # what the environment does not have is missed, now that it is made
    text = shared.get("/plugin/tool/config/toml").text
    for new in (text.replace("only-there", "nowhere"), text.replace(">=3.9", ">=3.99")):
        headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
        response = shared.http.put("/plugin/tool/config/toml", content=new, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")


@pytest.mark.parametrize("requires", [True, False])
def test_a_command_that_even_its_environment_lacks_is_found_before_it_is_current(
    shared: PlugvisorStack, requires: bool
) -> None:
    plugin_id = f"lacks-{requires}".lower()
    response = begin(shared, make_tool_package(plugin_id, "nowhere", requires=requires), wait=20)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest"), response.text
    assert "the program that `command` names is not found" in response.json()["detail"]
    assert not (shared.plugins_dir / plugin_id / "current").exists()


def test_a_swap_is_applied_by_a_reload_and_not_by_a_restart(shared: PlugvisorStack) -> None:
    first = install(shared.plugins_dir, "swapped", "1", manifest_of("swapped", "1", 'command = ["python", "main.py"]'))
    second = place_version(
        shared.plugins_dir, "swapped", "2", manifest_of("swapped", "2", 'command = ["python", "main.py"]')
    )
    for version in (first, second):
        (version / "main.py").write_text(PROBE)
        make_environment(version, version.name)
    shared.post("/plugins/refresh")
    pid = shared.start_running("swapped")
    make_current(second)
    os.kill(pid, 9)
    wait_for(lambda: shared.read_log("swapped").count("ready") == 2, "the restart by policy")
    assert read_probe(shared, "swapped")[0] == first.name
    assert shared.post("/plugins/refresh").json()["changed"] == ["swapped"]
    assert shared.post("/plugin/swapped/reload").status_code == 200
    wait_for(lambda: shared.read_log("swapped").count("ready") == 3, "the reload")
    assert read_probe(shared, "swapped")[0] == second.name
    [listed] = [item for item in shared.get("/plugins").json()["plugins"] if item["id"] == "swapped"]
    assert listed["version"] == "2"


def test_it_runs_in_a_terminal(shared: PlugvisorStack) -> None:
    version = install(
        shared.plugins_dir, "by-hand", "1", manifest_of("by-hand", "1", 'command = ["python", "main.py"]')
    )
    (version / "main.py").write_text(PROBE.partition("\nimport signal")[0] + "\n")
    environment = make_environment(version, "one")
    shared.post("/plugins/refresh")
    assert shared.post("/plugin/by-hand/start").status_code == 200  # which writes the launch file
    result = shared.command("run", "by-hand")
    assert json.loads(result.stdout)[:2] == ["one", str(environment)], result.stderr
    script = subprocess.run(
        ["/bin/sh", str(shared.run_dir / "launch" / "by-hand.sh")],
        env=shared.environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert json.loads(script.stdout)[:2] == ["one", str(environment)], script.stderr


def test_commands_see_what_is_installed(plugvisor: PlugvisorStack) -> None:
    install_dir = plugvisor.root / "installed"
    plugvisor.write_plugin("hand", runtime=QUICK)
    install(install_dir, "web", "1", manifest_of("web", "1", 'command = ["true"]'))
    install(install_dir, "bad", "1", manifest_of("bad", "1", 'command = ["no-such-program"]'))
    environ = {"PLUGVISOR_INSTALL_DIR": str(install_dir)}
    for verb in ("check", "render"):
        lines = plugvisor.command(verb, **environ).stdout.splitlines()
        assert lines[1:] == ["hand: ok, plugin 'hand'", "web: ok, plugin 'web'", "3 plugins, 1 invalid"]
        assert lines[0].startswith("bad: cannot be used: plugin.toml: the program that `command` names is not found")
    assert sorted(path.stem for path in (plugvisor.run_dir / "conf.d").iterdir()) == ["hand", "web"]
    assert "1 plugin, 0 invalid" in plugvisor.command("check", str(plugvisor.plugins_dir), **environ).stdout
    plugvisor.environ |= environ
    plugvisor.up()
    assert [item["id"] for item in plugvisor.get("/plugins").json()["plugins"]] == ["bad", "hand", "web"]
    install_dir.rename(plugvisor.root / "away")
    response = plugvisor.post("/plugins/refresh")
    assert (response.status_code, response.json()["code"]) == (500, "plugins_unreadable")
    assert "cannot read the install folder: No such file or directory" in response.json()["detail"]
    assert len(plugvisor.get("/plugins").json()["plugins"]) == 3, "nothing is removed"


def test_an_uninstalled_plugin_is_removed_by_a_refresh(shared: PlugvisorStack) -> None:
    version = install(shared.plugins_dir, "leaves", "1", manifest_of("leaves", "1", 'command = ["python", "main.py"]'))
    (version / "main.py").write_text(OBEDIENT)
    shared.post("/plugins/refresh")
    shared.start_running("leaves")
    (version.parent.parent / "current").unlink()
    response = shared.post("/plugin/leaves/reload")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    assert "the plugin was uninstalled" in response.json()["detail"]
    assert shared.post("/plugins/refresh").json()["removed"] == ["leaves"]
    assert shared.get("/plugin/leaves/manifest").status_code == 404
    assert (version.parent.parent / "data").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has two users")
def test_with_two_users_the_plugins_user_writes_manifests(plugvisor: PlugvisorStack) -> None:
    use_two_users(plugvisor)
    hand = plugvisor.write_plugin("hand", runtime=QUICK)
    theirs = plugvisor.write_plugin("theirs", runtime=QUICK)
    secret = plugvisor.root / "secret"
    secret.write_text("[plugin]\n")
    plugvisor.up()
    owner = pwd.getpwnam(plugvisor.environ["PLUGVISOR_SERVICE_USER"]).pw_uid
    plugins_user = pwd.getpwnam(plugvisor.environ["PLUGVISOR_PLUGIN_USER"])
    for path in (theirs, theirs / "plugin.toml"):
        os.chown(path, plugins_user.pw_uid, plugins_user.pw_gid)

    def put(plugin_id: str, text: str) -> Any:
        headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
        return plugvisor.http.put(f"/plugin/{plugin_id}/config/toml", content=text, headers=headers)

    text = (theirs / "plugin.toml").read_text()
    response = put("theirs", text + "# new\n")
    assert response.status_code == 200, response.text
    assert (theirs / "plugin.toml").stat().st_uid == plugins_user.pw_uid
    assert plugvisor.get("/plugin/theirs/config").json()["writable"]
    response = put("hand", (hand / "plugin.toml").read_text() + "# new\n")
    assert (response.status_code, response.json()["code"]) == (409, "read_only"), "it belongs to root"
    assert not plugvisor.get("/plugin/hand/config").json()["writable"]
    # what the service can read and the plugins' user cannot is no manifest
    os.chown(secret, owner, 0)
    secret.chmod(0o600)
    (theirs / "plugin.toml").unlink()
    (theirs / "plugin.toml").symlink_to(secret)
    response = plugvisor.get("/plugin/theirs/config/toml")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest"), response.text
    assert "cannot be read by the user of the plugins" in response.json()["detail"]


def test_the_python_that_a_plugin_needs_is_checked_and_said(shared: PlugvisorStack) -> None:
    more = '[plugin_runtime.python]\nversion = ">=3.99"\n'
    shared.write_plugin("future", runtime=f"{QUICK}\n{more}")
    shared.post("/plugins/refresh")
    words = f"it needs Python >=3.99; python here is {sys.version_info.major}.{sys.version_info.minor}"
    response = shared.post("/plugin/future/start")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    assert words in response.json()["detail"]
    assert words in shared.status("future")["detail"]
    checked = shared.command("check").stdout
    assert f"future: cannot be used: plugin.toml: {words}" in checked
