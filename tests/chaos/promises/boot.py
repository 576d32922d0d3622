"""What runs after everything was stopped and started again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from tests.chaos.activity import Activity
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

BOOT_SECONDS = 30.0
POLL_SECONDS = 0.1


class BootCheck:
    """Knows what was wanted when it was made, which is while the service still answers."""

    def __init__(self, stack: PlugvisorStack, activity: Activity, watcher: ProcessWatcher) -> None:
        self._stack = stack
        self._watcher = watcher
        before = {one["id"]: one for one in stack.http.get("/plugins").json()["plugins"]}
        wanted = {
            name: one["enabled"] and one.get("intent", {}).get("wanted") == "running" for name, one in before.items()
        }
        closures = activity.requirements.closures
        needed = set().union(*(closures[name] for name in wanted if wanted[name] and name in closures))
        self._to_run = {
            name
            for name, behaviour in activity.plugins.items()
            if wanted.get(name)
            and behaviour.runs_until_stopped
            and not closures[name]
            and not behaviour.prefers
            and (stack.plugins_dir / name).exists()  # else it only runs on
        }
        self._to_rest = {name for name in wanted if not wanted[name] and name not in needed}

    def check(self) -> None:
        """Start everything, and report what is not as it was wanted."""
        self._stack.up()
        deadline = time.monotonic() + BOOT_SECONDS
        while wrong := self._find_wrong():
            if time.monotonic() > deadline:
                self._watcher.report(f"9: after a boot: {wrong}")
                return
            time.sleep(POLL_SECONDS)

    def _find_wrong(self) -> str:
        try:
            statuses: dict[str, dict[str, Any]] = self._stack.http.get("/plugin/status").json()["plugins"]
        except (httpx.HTTPError, KeyError) as error:
            return f"no answer: {error!r}"
        idle = {name: statuses.get(name) for name in self._to_run if statuses.get(name, {}).get("status") != "running"}
        busy = {name: statuses[name] for name in self._to_rest & statuses.keys() if "pid" in statuses[name]}
        return f"not running {idle}, not at rest {busy}" if idle or busy else ""
