"""Plugins that require packages, from the package to the process that imports them; no network is needed."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.installation import begin_install, find_current, install, installed, list_folders, wait_for_end
from tests.helpers.packages import make_plugin_package
from tests.helpers.processes import find_processes, is_alive, list_children, read_command
from tests.helpers.stack import QUICK, run_stack
from tests.helpers.waiting import wait_for
from tests.helpers.wheels import make_source, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.packages import Files
    from tests.helpers.stack import PlugvisorStack

WHEELS = {f"wheels/lib-{version}-py3-none-any.whl": make_wheel("lib", version) for version in ("1.0", "2.0")}
USES_LIB = "import time, lib\nprint('uses lib', lib.VERSION, flush=True)\ntime.sleep(600)\n"


def require(*requirements: str) -> Files:
    """The files of a package that requires these, and brings the wheels along."""
    lines = ["--no-index", "--find-links ./wheels", *requirements]
    return {"requirements.txt": "\n".join(lines)} | WHEELS


def make_built_package(plugin_id: str, code: str) -> bytes:
    """A package, one requirement of which is built by code that writes `started` beside itself."""
    files = require("./built") | make_source(f"Path('started').touch()\n{code}", "built/")
    return make_plugin_package(plugin_id, files=files)


def begin_build(stack: PlugvisorStack, plugin_id: str, code: str) -> str:
    """Begin to install such a package, and wait until it is built."""
    operation_id = begin_install(stack, make_built_package(plugin_id, code))
    versions = stack.plugins_dir / plugin_id / "versions"
    wait_for(lambda: list(versions.glob("*/built/started")), "the build")
    return operation_id


def test_plugins_with_different_versions_of_one_package_run_side_by_side(shared: PlugvisorStack) -> None:
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["lib"]\n[tool.uv.sources]\n'
    project += 'lib = { path = "wheels/lib-2.0-py3-none-any.whl" }\n'
    packages: dict[str, Files] = {
        "side-old": require("lib<2"),
        "side-new": require("lib>=2"),
        "side-project": {"pyproject.toml": project, **WHEELS},
    }
    for name, files in packages.items():
        installed(shared, make_plugin_package(name, USES_LIB, files=files, runtime=QUICK), start=True)
    installed(shared, make_plugin_package("side-none", runtime=QUICK), start=True)
    for name, version in {"side-old": "1.0", "side-new": "2.0", "side-project": "2.0"}.items():
        wait_for(lambda name=name, version=version: f"uses lib {version}" in shared.read_log(name), name)
    assert {shared.status(name)["status"] for name in (*packages, "side-none")} == {"running"}
    environments = {
        name: shared.get(f"/plugin/{name}/versions").json()["versions"][0].get("environment", False)
        for name in (*packages, "side-none")
    }
    assert environments == {"side-old": True, "side-new": True, "side-project": True, "side-none": False}


def test_an_entry_is_run_by_the_python_of_the_environment(shared: PlugvisorStack) -> None:
    manifest = f'[plugin]\nid = "by-entry"\nentry = "main:run"\n[plugin_runtime]\n{QUICK}\n'
    code = f"def run():\n    {USES_LIB.replace(chr(10), chr(10) + '    ')}\n"
    package = make_plugin_package("by-entry", code, files=require("lib") | {"plugin.toml": manifest})
    installed(shared, package, start=True)
    wait_for(lambda: "uses lib 2.0" in shared.read_log("by-entry"), "the plugin")


def test_what_the_build_prints_is_in_the_operation(shared: PlugvisorStack) -> None:
    package = make_plugin_package("lines", files=require("lib==1.0"), runtime=QUICK)
    operation = installed(shared, package)
    lines = shared.get(f"/operations/{operation['id']}").json()["log"]
    assert any(" + lib==1.0" in line for line in lines)
    assert str(shared.root) not in str(lines)


def test_an_update_whose_requirements_cannot_be_had_leaves_what_runs_alone(shared: PlugvisorStack) -> None:
    installed(shared, make_plugin_package("update", USES_LIB, files=require("lib<2"), runtime=QUICK), start=True)
    pid, before = shared.status("update")["pid"], find_current(shared.plugins_dir, "update")
    package = make_plugin_package("update", USES_LIB, version="2", files=require("lib>=3"), runtime=QUICK)
    response = install(shared, package, replace=True)
    assert (response.status_code, response.json()["code"]) == (422, "build_failed")
    assert "only lib<=2.0 is available" in response.json()["detail"]
    assert any("lib>=3" in line for line in response.json()["log"])
    assert str(shared.root) not in response.text
    assert shared.status("update")["pid"] == pid
    assert list_folders(shared.plugins_dir, "update") == [before]


def test_a_python_that_is_not_there(shared: PlugvisorStack) -> None:
    runtime = f'{QUICK}\n[plugin_runtime.python]\nversion = ">=3.99"'
    response = install(shared, make_plugin_package("futuristic", files=require("lib"), runtime=runtime))
    assert response.status_code == 422
    assert ">=3.99" in response.json()["detail"]
    assert list_folders(shared.plugins_dir, "futuristic") == []


def test_nothing_of_a_cancelled_build_is_left(shared: PlugvisorStack) -> None:
    """Not even a process that has left the build's group and session."""
    code = "subprocess.Popen(['sleep', '600'], start_new_session=True)\nPath('forked').touch()\ntime.sleep(600)"
    operation_id = begin_build(shared, "cancelled", code)
    wait_for(lambda: list(shared.plugins_dir.glob("cancelled/versions/*/built/forked")), "the fork")
    pids = find_processes(shared.plugins_dir / "cancelled")
    assert len(pids) >= 3
    assert shared.delete(f"/operations/{operation_id}").json()["state"] == "cancelled"
    wait_for(lambda: not any(map(is_alive, pids)), "the end of the build")
    wait_for(lambda: not list_folders(shared.plugins_dir, "cancelled"), "the version to be removed")


def test_a_worker_that_is_killed_takes_its_build_along(shared: PlugvisorStack) -> None:
    operation_id = begin_build(shared, "killed", "time.sleep(600)")
    pids = find_processes(shared.plugins_dir / "killed")
    children = list_children(shared.supervisord_pid)
    [worker] = [pid for pid in children if "plugvisor.installer" in read_command(pid)]
    os.kill(worker, signal.SIGKILL)
    assert wait_for_end(shared, operation_id)["state"] == "interrupted"
    wait_for(lambda: not any(map(is_alive, pids)), "the end of the build")


STOPS_ITS_WORKER = """\
pid = os.getppid()
while "plugvisor.installer" not in Path(f"/proc/{pid}/cmdline").read_text():
    pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
os.kill(pid, 19)
Path("stopped").write_text(str(pid))
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the build looks into /proc")
@pytest.mark.parametrize("end", ["its client", "the next start of the service"])
def test_a_worker_that_its_build_has_stopped_is_killed(plugvisor: PlugvisorStack, end: str) -> None:
    plugvisor.up()
    operation_id = begin_build(plugvisor, "stopped", STOPS_ITS_WORKER)
    [stopped] = wait_for(lambda: list(plugvisor.plugins_dir.glob("stopped/versions/*/built/stopped")), "the stop")
    pid = wait_for(stopped.read_text)
    pids = [int(pid), *find_processes(plugvisor.plugins_dir / "stopped")]
    if end == "its client":
        assert plugvisor.delete(f"/operations/{operation_id}").json()["state"] == "cancelled"
    else:
        os.kill(plugvisor.service_pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, pids)), "the end of the worker and its build")
    wait_for(lambda: install(plugvisor, make_plugin_package("other", runtime=QUICK)).status_code == 201, "another one")


def test_a_build_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    with run_stack() as stack:
        stack.environ["PLUGVISOR_BUILD_SECONDS"] = "3"
        stack.up()
        # on a busy machine its code may not have begun by then
        operation = wait_for_end(stack, begin_install(stack, make_built_package("endless", "time.sleep(600)")))
        assert operation["problem"]["code"] == "build_failed"
        assert "it takes too long" in operation["problem"]["detail"]
        wait_for(lambda: not find_processes(stack.plugins_dir / "endless"), "the end of the build")


@pytest.mark.parametrize("variable", ["UV_FIND_LINKS", "UV_DEFAULT_INDEX"])
def test_the_operator_says_where_packages_come_from(tmp_path: Path, variable: str) -> None:
    tmp_path.joinpath("lib-1.0-py3-none-any.whl").write_bytes(make_wheel("lib", "1.0"))
    index = tmp_path / "simple" / "lib"
    index.mkdir(parents=True)
    index.joinpath("index.html").write_text('<a href="../../lib-1.0-py3-none-any.whl">lib-1.0-py3-none-any.whl</a>')
    with run_stack() as stack:
        values = {"UV_FIND_LINKS": str(tmp_path), "UV_DEFAULT_INDEX": (tmp_path / "simple").as_uri()}
        stack.environ |= {variable: values[variable], "UV_OFFLINE": "1"}
        stack.up()
        package = make_plugin_package("plugin", USES_LIB, files={"requirements.txt": "lib"}, runtime=QUICK)
        installed(stack, package, start=True)
        wait_for(lambda: "uses lib 1.0" in stack.read_log("plugin"), "the plugin")
