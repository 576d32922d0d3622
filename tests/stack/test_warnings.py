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


def test_a_log_folder_that_can_hold_no_file(plugvisor: PlugvisorStack) -> None:
    done = plugvisor.command("up", PLUGVISOR_LOG_DIR="/proc")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot use the folder '/proc'" in done.stderr
    assert "Traceback" not in done.stderr
