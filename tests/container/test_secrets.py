"""Secrets that a container's engine mounts as files, and standard output as a log collector reads it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.container.engine import HARDENED, write_plugin
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.engine import Container

PLUGIN_USER = 917
PRINTS = "import os, time\nprint(len(os.environ['API_KEY']), 'characters', flush=True)\ntime.sleep(99)\n"


def write_keyed(plugins: Path, plugin_id: str, path: str) -> None:
    more = f'[plugin_runtime.supervisor]\nstartretries = 0\n[plugin_runtime.environment_files]\nAPI_KEY = "{path}"\n'
    write_plugin(plugins, plugin_id, PRINTS, more)


def test_a_mounted_secret(run: Callable[..., Container], plugins: Path, tmp_path: Path) -> None:
    """Readable by the plugins' user alone; what is for root or the service is for no plugin."""
    secret = tmp_path / "api_key"
    secret.write_text("hunter2\n")
    secret.chmod(0o400)
    os.chown(secret, PLUGIN_USER, PLUGIN_USER)
    roots = tmp_path / "roots"
    roots.write_text("hunter3")
    roots.chmod(0o400)
    write_keyed(plugins, "keyed", "/run/secrets/api_key")
    named = {
        "roots": "/run/secrets/roots",
        "code": "/run/plugvisor/admin_code",
        "mounted": "/etc/plugvisor/admin_code",
        "shadow": "/etc/shadow",
        "init": "/proc/1/environ",
    }
    for name, path in named.items():
        write_keyed(plugins, name, path)
    mounts = [f"--volume={path}:/run/secrets/{path.name}:ro" for path in (secret, roots)]
    environ = ("--env=PLUGVISOR_LOG_TO_STDOUT=true", "--env=PLUGVISOR_LOG_FORMAT=json")
    container = run(*HARDENED, *mounts, *environ, f"--volume={plugins}:/plugins:ro").wait_until_ready()
    container.wait_for_status("keyed", "running")
    wait_for(lambda: container.read_log("keyed") == "7 characters\n", "the value")
    for name in named:
        container.wait_for_status(name, "error")
        assert "cannot read the file of the variable 'API_KEY': " in container.status(name)["detail"]
        assert container.read_log(name) == ""
    wait_for(lambda: '"7 characters"' in container.logs(), "the plugin's line on standard output")
    objects = [json.loads(line) for line in container.logs().splitlines()]
    assert [found["line"] for found in objects if found.get("plugin") == "keyed"] == ["7 characters"]
    assert {"plugvisor", "_supervisord"} < {found.get("logger") for found in objects}
    assert "hunter" not in container.logs() + json.dumps(container.inspect())
