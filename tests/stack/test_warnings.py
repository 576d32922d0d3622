"""Misspelt keys and variables: shown by every command, in the service's log and by the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.stack import ADMIN_CODE

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
    assert WARNING in plugvisor.service_log
    assert VARIABLE in plugvisor.service_log
    assert "s3cret" not in plugvisor.service_log + plugvisor.output_path.read_text()
    headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
    shown = plugvisor.http.get("/plugin/echo/manifest", headers=headers).json()
    assert shown["warnings"] == [f"plugin.toml line 5: {WARNING}"]


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
