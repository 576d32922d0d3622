"""What befalls a Plugvisor besides its clients: signals, deleted folders, edited manifests."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.chaos.cast.authored import ALWAYS, KEYS, WATCHED
from tests.helpers.processes import list_children, read_command
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.chaos.activity import Activity
    from tests.chaos.operations import Operation
    from tests.chaos.promises.intents import IntentRecord
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

FREEZE_SECONDS = 0.5
RETURN_SECONDS = 120.0
"""Within this a service that was killed answers again, on a starved machine too."""
HEAL_SECONDS = 15.0
"""Within this a run folder that was deleted is there again."""
STOP_SECONDS = 2
"""After this, a plugin that has not obeyed is killed."""
REPORTS = "reports"
"""The folder in which hostile plugins write what they achieved."""
TRACES = "traces"
"""The folder in which plugins that others require write when they are ready."""
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "pause": signal.SIGSTOP, "continue": signal.SIGCONT}


class Faults:
    """Does to one Plugvisor what no client can."""

    def __init__(
        self,
        stack: PlugvisorStack,
        activity: Activity,
        watcher: ProcessWatcher,
        intents: IntentRecord,
        write_code: Callable[[str], str],
    ) -> None:
        self._intents = intents
        self._write_code = write_code
        self._breaking = threading.Lock()
        self.service_kills = 0
        self._stack = stack
        self._activity = activity
        self._watcher = watcher
        self._files = threading.Lock()

    def do(self, operation: Operation) -> None:
        """Do an operation; returns when supervisord and the service can work again."""
        match operation.kind:
            case "kill" | "term" | "pause" | "continue":
                self._signal(operation)
            case "kill-service":
                self._kill_service()
            case "freeze":
                self._freeze()
            case "break-store":
                self._break_store(operation)
            case "delete-run-folder":
                self._delete_run_folder()
            case _:
                self._change_manifest(operation)

    def write_plugin(
        self, name: str, priority: int = 999, requires: Mapping[str, str] | None = None, *, auto_start: bool = False
    ) -> None:
        """Write a plugin of the random test; without the `site` module, Python starts in a third of the time.

        Args:
            requires: what it depends on, and the conditions, if they are to be others than usual.
        """
        behaviour = self._activity.plugins[name]
        requires = {
            one: condition
            for one, condition in (behaviour.requires if requires is None else requires).items()
            if one in self._activity.plugins
        }
        number = list(self._activity.plugins).index(name)
        address = f"127.{self._stack.port >> 8}.{self._stack.port & 255}.{number + 1}"
        tables = [f'[plugin_runtime.depends_on.{one}]\ncondition = "{how}"\n' for one, how in requires.items()]
        tables += [f"[plugin_runtime.depends_on.{one}]\nrequired = false\n" for one in behaviour.prefers]
        key = str(self._stack.root / KEYS / "key")
        tables.append(behaviour.runtime.replace("ADDRESS", address).replace('"KEY"', f'"{key}"'))
        folder = self._stack.plugins_dir / name
        folder.mkdir(exist_ok=True)
        (folder / "main.py").write_text(self._write_code(name))
        # one that is paused holds up all that comes after its stop
        stop_seconds = "" if "stopwaitsecs" in behaviour.supervisor else f"stopwaitsecs = {STOP_SECONDS}\n"
        (folder / "plugin.toml").write_text(
            f"""[plugin]
id = "{name}"
command = ["python", "-I", "-S", "main.py"]
[plugin_runtime]
auto_start = {str(auto_start).lower()}
{behaviour.restart}
[plugin_runtime.environment]
CHAOS_PORT = "{self._stack.port}"
CHAOS_REPORT = "{self._stack.root / REPORTS / name}"
CHAOS_TRACE = "{self._stack.root / TRACES / name}"
CHAOS_ADDRESS = "{address}"
[plugin_runtime.supervisor]
priority = {priority}
{stop_seconds}{behaviour.supervisor}
{"".join(tables)}"""
        )
        self._activity.requirements.note_written(name, requires)

    def _signal(self, operation: Operation) -> None:
        name = operation.plugin_id
        processes = self._watcher.read(name)
        if operation.verb == "start":
            processes = [process for process in processes if process.is_main] or processes
        if not processes:
            return
        # a SIGTERM that nobody asked for is an expected end, after which nothing starts the plugin again
        with self._activity.doing(name, stops=operation.kind == "term"):
            if operation.kind == "pause":
                self._activity.forget_end(name, may_start=False)
            if processes[0].is_alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(processes[0].pid, SIGNALS[operation.kind])

    def _kill_service(self) -> None:
        children = list_children(self._stack.supervisord_pid)
        found = [pid for pid in children if read_command(pid).endswith("\0serve\0")]
        if not found:
            return
        with self._activity.disturbing():
            self._activity.forget_all_ends()
            self.service_kills += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGKILL)
            wait_for(self._stack.is_ready, "the service to be back", RETURN_SECONDS)

    def _freeze(self) -> None:
        with self._activity.disturbing():
            os.kill(self._stack.supervisord_pid, signal.SIGSTOP)
            time.sleep(FREEZE_SECONDS)
            os.kill(self._stack.supervisord_pid, signal.SIGCONT)

    def _delete_run_folder(self) -> None:
        """Do as somebody who tidies up the temporary folder."""
        with self._activity.disturbing():
            shutil.rmtree(self._stack.run_dir, ignore_errors=True)
            wait_for((self._stack.run_dir / "supervisor.sock").exists, "the run folder to be back", HEAL_SECONDS)

    def _break_store(self, operation: Operation) -> None:
        """Do to the service's memory what a disk or a careless operator does."""
        folder = Path(self._stack.environ["PLUGVISOR_STATE_DIR"])
        with self._breaking, self._activity.disturbing():
            database = folder / "plugvisor.db"
            match operation.verb:
                case "start":
                    for path in folder.glob("plugvisor.db*"):
                        path.unlink(missing_ok=True)
                case "stop":
                    with contextlib.suppress(FileNotFoundError), database.open("r+b") as file:
                        file.write(random.randbytes(64 * 1024))
                case "reload":
                    # only root can make a folder again that is the service's, and does at the next `plugvisor up`
                    is_shared = "PLUGVISOR_SERVICE_USER" in self._stack.environ
                    with contextlib.suppress(OSError):
                        path = database if is_shared else folder
                        path.rename(path.with_name(f"away-{time.monotonic_ns()}"))
            wait_for(self._has_store, "the store to be back", HEAL_SECONDS)
            # a service that was killed meanwhile has lost what was in its memory alone
            self._intents.forget()

    def _has_store(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            response = self._stack.http.get("/available")
            return response.status_code == 200 and bool(response.json()["store"]["status"] == "ok")
        return False

    def _change_manifest(self, operation: Operation) -> None:
        name = operation.plugin_id
        folder, away = self._stack.plugins_dir / name, self._stack.root / f"away-{name}"
        # a plugin that is gone or broken cannot be started again once it has ended
        with self._files, self._activity.doing(name, stops=operation.kind in ("break", "remove")):
            if name in WATCHED:  # a reload follows
                self._activity.forget_end(name, may_start=False)
            match operation.kind:
                case "remove" if folder.exists() and name not in ALWAYS:  # `logs -f` ends with the plugin
                    folder.rename(away)
                case "add" if away.exists():
                    away.rename(folder)
                case "break" if folder.exists():
                    (folder / "plugin.toml").write_text("[plugin\n")
                case "edit" | "repair" if folder.exists():
                    self.write_plugin(name, priority=random.randrange(1000))
                case "rewire" if folder.exists():
                    behaviour = self._activity.plugins[name]
                    requires = {"stop": {}, "reload": behaviour.requires | behaviour.may_require}
                    self.write_plugin(name, requires=requires.get(operation.verb))
