"""Misspelt keys and variables, and faults of dependencies: shown by every command and by the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

WARNING = "a key of [plugin_runtime] is unknown and ignored; did you mean `environment`?"
VARIABLE = "the variable PLUGVISOR_LOG_DIRR is unknown and ignored; did you mean PLUGVISOR_LOG_DIR?"


def test_they_are_shown_everywhere(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("echo", runtime="enviroment.KEY = 's3cret'")
    plugvisor.environ["PLUGVISOR_LOG_DIRR"] = "s3cret"
    for command in ("check", "render"):
        done = plugvisor.command(command)
        assert done.returncode == 0
        assert f"echo: warning: plugin.toml line 5: {WARNING}" in done.stdout
        assert f"warning: {VARIABLE}\n" in done.stderr
        assert "s3cret" not in done.stdout + done.stderr
    plugvisor.up()
    assert f"echo: warning: plugin.toml line 5: {WARNING}\n" in plugvisor.output_path.read_text()
    assert f"warning: {VARIABLE}\n" in plugvisor.output_path.read_text()
    for words in (WARNING, VARIABLE):
        wait_for(lambda words=words: words in plugvisor.service_log, words)
    assert "s3cret" not in plugvisor.service_log + plugvisor.output_path.read_text()
    headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
    shown = plugvisor.http.get("/plugin/echo/manifest", headers=headers).json()
    assert shown["warnings"] == [f"plugin.toml line 5: {WARNING}"]


def write_dependency(stack: PlugvisorStack, name: str, ranges: str = "", **depends_on: str) -> None:
    """A plugin with the tables of its dependencies; `ranges` is about the version of `base`."""
    tables = [f"[plugin_runtime.depends_on.{other}]\n{keys}" for other, keys in depends_on.items()]
    if ranges:
        tables.append(f'[[plugin.dependency]]\nid = "base"\n{ranges}')
    stack.write_plugin(name, runtime="\n".join(["auto_start = false", *tables]))


def test_faults_of_dependencies_are_shown_everywhere(plugvisor: PlugvisorStack) -> None:
    write_dependency(plugvisor, "base")
    manifest = plugvisor.plugins_dir / "base" / "plugin.toml"
    manifest.write_text(manifest.read_text().replace("[plugin]", '[plugin]\nversion = "3.1"'))
    write_dependency(plugvisor, "user", 'untested = ">=3"')
    write_dependency(plugvisor, "clash", 'conflicts = [">=3"]')
    write_dependency(plugvisor, "lonely", nowhere="", base='condition = "completed"')
    write_dependency(plugvisor, "ring1", ring2="")
    write_dependency(plugvisor, "ring2", ring1="required = false")
    problems = {
        "clash": "plugin.toml: it conflicts with version 3.1 of 'base'",
        "ring1": "plugin.toml: it depends on itself: ring1 -> ring2 -> ring1",
        "ring2": "plugin.toml: it depends on itself: ring2 -> ring1 -> ring2",
    }
    untested = "version 3.1 of 'base' is untested"
    warnings = {
        f"user: warning: {untested}",
        "lonely: warning: it depends on 'nowhere', and there is no such plugin",
        "lonely: warning: it waits for 'base' to complete, whose `startsecs` is not 0: "
        "a process that ends sooner has failed",
    }
    for command in ("check", "render"):
        done = plugvisor.command(command)
        assert done.returncode == 1
        lines = {*done.stdout.splitlines()}
        assert lines >= warnings | {f"{name}: cannot be used: {problem}" for name, problem in problems.items()}
    plugvisor.up()
    lines = {*plugvisor.output_path.read_text().splitlines()}
    assert lines >= warnings | {f"cannot use {name!r}: {problem}" for name, problem in problems.items()}

    listed = {plugin["id"]: plugin for plugin in plugvisor.http.get("/plugins").json()["plugins"]}
    assert listed["base"]["dependents"] == ["clash", "lonely", "user"]
    assert listed["lonely"]["depends_on"] == [
        {"id": "base", "condition": "completed", "required": True},
        {"id": "nowhere", "condition": "ready", "required": True},
    ]
    assert listed["ring2"]["depends_on"] == [{"id": "ring1", "condition": "ready", "required": False}]
    assert listed["user"]["detail"] == plugvisor.status("user")["detail"] == untested
    assert listed["user"]["status"] == "stopped"
    for name, problem in problems.items():
        assert listed[name]["status"] == "error"
        assert listed[name]["detail"] == f"its manifest is invalid: {problem}"


def test_a_command_of_a_check_that_does_not_exist(plugvisor: PlugvisorStack) -> None:
    found = plugvisor.write_plugin("echo", runtime="checks.probe.exec = ['./probe.sh', 's3cret']")
    warning = "echo: warning: the program that `exec` of check 'probe' names"
    for command in ("check", "render"):
        done = plugvisor.command(command)
        assert done.returncode == 0, "the plugin may make it when it runs"
        assert f"{warning} does not exist\n" in done.stdout
    (found / "probe.sh").write_text("#!/bin/sh\n")
    assert f"{warning} is no executable file; try chmod +x\n" in plugvisor.command("check").stdout
    plugvisor.up()
    assert warning in plugvisor.output_path.read_text()
    assert "s3cret" not in plugvisor.output_path.read_text()
    (found / "probe.sh").chmod(0o755)
    assert "warning: the program" not in plugvisor.command("check").stdout


def test_a_log_folder_that_can_hold_no_file(plugvisor: PlugvisorStack) -> None:
    done = plugvisor.command("up", PLUGVISOR_LOG_DIR="/proc")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot use the folder '/proc'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_install_folder_that_is_missing(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_INSTALL_DIR"] = str(plugvisor.root / "installed")
    plugvisor.up()
    warning = f"warning: no plugin can be installed in '{plugvisor.root}/installed': "
    assert [line for line in plugvisor.output_path.read_text().splitlines() if line.startswith(warning)]
