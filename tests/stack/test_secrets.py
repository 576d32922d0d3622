"""What a manifest says may be a secret: without the admin code nobody reads it, wherever in the manifest it stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.helpers.event_client import open_events
from tests.helpers.log_clients import HEADERS
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

SECRET = "s3cretHunter2"
MANIFESTS = {
    "first-word": f'command = "API_KEY={SECRET} python main.py"',
    "argument": f'command = "env API_KEY={SECRET} python main.py"',
    "unbalanced": f"""command = "python '{SECRET}" """,
    "missing-path": f'command = ["./{SECRET}"]',
    "nul": f'command = ["python", "{SECRET}\\u0000"]',
    "name": f'command = "python main.py"\n[plugin_runtime.environment]\n"DB_PASSWORD={SECRET}" = "x"',
    "value": f'command = "python main.py"\n[plugin_runtime.environment]\nDB_PASSWORD = "{SECRET}"',
    "type": f'command = "python main.py"\n[plugin_runtime.environment]\nDB_PASSWORD = ["{SECRET}"]',
    "syntax": f'command = "python main.py"\nDB_PASSWORD = {SECRET}',
    "twice": f'command = "python main.py"\n"{SECRET}" = 1\n"{SECRET}" = 2',
    "option": f'command = "python main.py"\n[plugin_runtime.supervisor]\nstopsignal = "{SECRET}"',
    "option-name": f'command = "python main.py"\n[plugin_runtime.supervisor]\n{SECRET} = 1',
    "entry": f'entry = "{SECRET}"',
    "id": f'id = "{SECRET}!"\ncommand = "python main.py"',
}
VALID = ["argument", "value"]


def test_no_secret_of_a_manifest_is_public(plugvisor: PlugvisorStack) -> None:
    for name, text in MANIFESTS.items():
        folder = plugvisor.write_plugin(name, OBEDIENT)
        (folder / "plugin.toml").write_text(
            f"[plugin]\n{text}\n" if name == "id" else f'[plugin]\nid = "{name}"\n{text}\n'
        )
    for command in ("check", "render"):
        done = plugvisor.command(command)
        assert SECRET not in done.stdout + done.stderr
        assert f"{len(MANIFESTS)} plugins, {len(MANIFESTS) - len(VALID)} invalid" in done.stdout
    plugvisor.up()
    told: list[str] = []
    with open_events(plugvisor.port) as events:
        for name in MANIFESTS:
            told += [plugvisor.post(f"/plugin/{name}/{verb}").text for verb in ("stop", "start", "reload")]
            told.append(plugvisor.http.get("/plugin/status", params={"plugin_id": name}).text)
            for path in (f"/plugin/{name}/manifest", f"/plugin/{name}/logs"):
                assert plugvisor.http.get(path).status_code == 401
        told.append(plugvisor.post("/plugins/refresh").text)
        paths = ("/plugins", "/plugin/status", "/server/info", "/openapi.json", "/health", "/", "/metrics")
        told += [plugvisor.http.get(path).text for path in paths]
        wait_for(lambda: any(event.data.get("plugin_id") == "value" for event in list(events.events)), "an event")
        told += [json.dumps(event.data) for event in list(events.events)]
    told += [plugvisor.read_log(name) for name in ("_server", "_supervisord")]
    told.append(plugvisor.output_path.read_text())
    assert not [text for text in told if SECRET in text]
    assert len(set(told)) > 2 * len(MANIFESTS)
    # the operator sees the command, and the names of variables, but no value
    shown = plugvisor.http.get("/plugin/argument/manifest", headers=HEADERS).json()["manifest"]
    assert f"API_KEY={SECRET}" in shown["command"]
    assert SECRET not in plugvisor.http.get("/plugin/value/manifest", headers=HEADERS).text
    assert ADMIN_CODE not in "".join(told)
