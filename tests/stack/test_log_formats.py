"""`PLUGVISOR_LOG_FORMAT=json`: all of standard output, and the service's own log."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack


def read_objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ |= {"PLUGVISOR_LOG_FORMAT": "json", "PLUGVISOR_LOG_TO_STDOUT": "true", "PLUGVISOR_UNKNOWN": "x"}
    plugvisor.write_plugin("echo", f"print('你好 \\x1b[31m', flush=True)\n{OBEDIENT}", runtime=QUICK)
    plugvisor.write_plugin("broken")
    (plugvisor.plugins_dir / "broken" / "plugin.toml").write_text("[plugin\n")
    plugvisor.up()
    plugvisor.start_running("echo")
    assert plugvisor.post("/plugin/nobody/start").status_code == 404
    wait_for(lambda: "POST /plugin/nobody/start" in plugvisor.output_path.read_text(), "the request")
    shown = plugvisor.get("/plugin/_server/logs").json()["logs"]
    assert any(entry["level"] == "INFO" and "POST /plugin/nobody/start: 404" in entry["message"] for entry in shown)
    assert not [entry for entry in shown if entry["message"].startswith("{")]
    plugvisor.down()
    objects = read_objects(plugvisor.output_path.read_text())
    assert {"time": objects[0]["time"], "level": "INFO", "logger": "plugvisor"} == {
        name: value for name, value in objects[0].items() if name != "message"
    }
    assert re.match(r"Plugvisor \d", objects[0]["message"])
    assert [found["line"] for found in objects if found.get("plugin") == "echo"] == ["你好 \x1b[31m", "ready"]
    ours = [found for found in objects if "plugin" not in found]
    assert all({"time", "level", "logger", "message"} <= found.keys() for found in ours)
    assert any(found["level"] == "WARNING" and "PLUGVISOR_UNKNOWN" in found["message"] for found in ours)
    assert any(found["logger"] == "_supervisord" and "spawned: 'echo'" in found["message"] for found in ours)
    # the service's own log has the same objects as standard output
    own = read_objects((plugvisor.log_dir / "_server.log").read_text())
    assert own
    assert [found for found in own if found not in objects] == []
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"]) for found in own)
    # supervisord's log file, and the plugins', are as they always are
    assert "INFO spawned: 'echo'" in (plugvisor.log_dir / "_supervisord.log").read_text()
    assert (plugvisor.log_dir / "echo.log").read_text() == "你好 \x1b[31m\nready\n"


def test_json_on_a_terminal_is_the_services_log_alone(plugvisor: PlugvisorStack) -> None:
    """Without PLUGVISOR_LOG_TO_STDOUT what a person reads stays as it is."""
    plugvisor.environ["PLUGVISOR_LOG_FORMAT"] = "json"
    plugvisor.up()
    assert plugvisor.output_path.read_text().startswith("Plugvisor ")
    assert read_objects((plugvisor.log_dir / "_server.log").read_text())


def test_an_unknown_format(plugvisor: PlugvisorStack) -> None:
    done = plugvisor.command("up", PLUGVISOR_LOG_FORMAT="xml")
    assert done.returncode == 2
    assert "PLUGVISOR_LOG_FORMAT" in done.stderr
