"""The supervisord engine: each outcome of each change, as the state stream may tell it."""

from __future__ import annotations

import asyncio
import logging
import xmlrpc.client
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord import engine as module
from plugvisor.engines.supervisord import process_errors
from plugvisor.engines.supervisord.engine import FOREIGN_PROGRAM, SupervisordEngine
from plugvisor.engines.supervisord.process_table import UNREACHABLE
from plugvisor.engines.supervisord.program import Program
from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    NotRunning,
    StartFailed,
    StopTimeout,
    SupervisorUnavailable,
)
from plugvisor.models.manifest import ManifestError
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState
from plugvisor.settings import Settings

from tests.helpers.fake_supervisor import FakeSupervisor, run_engine, run_fake_supervisor
from tests.helpers.manifests import make_manifest
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

STOPPED: dict[str, Any] = {"state": 0, "pid": 0, "start_pending": False, "orphans": False}
STARTING = STOPPED | {"state": 10, "pid": 7}
RUNNING = STOPPED | {"state": 20, "pid": 7}
STOPPING = STOPPED | {"state": 40, "pid": 7}
EXITED = STOPPED | {"state": 100, "spawn_error": "Bad exit code 3", "exit_status": 3}
QUEUED = STOPPED | {"queued": "asked"}
DONE = STOPPED | {"state": 100}
BACKOFF = STOPPED | {"state": 30, "spawn_error": "cannot enter its folder: No such file or directory"}
FATAL = STOPPED | {"state": 200, "spawn_error": "Exited too quickly (process log may have details)"}
ORPHANS = STOPPED | {"orphans": True}
PENDING = {"start_pending": True}
CHANGES = ("add", "start", "begin_stop", "begin_restart", "remove")


def run(
    tmp_path: Path, scenario: Callable[[SupervisordEngine, FakeSupervisor], Awaitable[Any]], **process: Any
) -> None:
    """Run a scenario with an engine whose program `echo` is stopped, unless it has another process."""
    run_engine(tmp_path, scenario, **(process or STOPPED))


def shorten_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is waited for in vain take a fraction of a second."""
    monkeypatch.setattr(module, "KILL_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(process_errors, "KILL_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(module, "ORPHAN_SECONDS", 0.1)
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.1)


def fail(code: int, text: str) -> Callable[..., None]:
    """A method that answers with a fault."""

    def method(*_arguments: Any) -> None:
        raise xmlrpc.client.Fault(code, text)

    return method


def change(fake: FakeSupervisor, *lines: dict[str, Any], then: dict[str, Any] | None = None) -> Callable[[str], int]:
    """A method that writes these lines before it answers, and one after it."""

    def method(name: str) -> int:
        for line in lines:
            fake.set(name, **line)
        sequence = fake.sequence
        if then is not None:
            asyncio.get_running_loop().call_later(0.02, lambda: fake.set(name, **then))
        return sequence

    return method


# -- start

START_OUTCOMES: list[tuple[list[dict[str, Any]], dict[str, Any] | None, str]] = [
    # lines before the answer, a line after it, the state or the error
    ([STARTING], None, "STARTING"),
    ([RUNNING], None, "RUNNING"),
    ([DONE], None, "EXITED"),
    ([STOPPING | PENDING], STARTING, "STARTING"),
    ([ORPHANS | PENDING], RUNNING, "RUNNING"),
    ([BACKOFF], None, "it could not be started: cannot enter its folder"),
    ([STOPPING | PENDING], BACKOFF, "it could not be started: cannot enter its folder"),
    ([FATAL], None, "it could not be started and supervisord has given up: it exited too quickly"),
    ([EXITED], None, "it ended unexpectedly, with exit code 3"),
    ([STOPPING | PENDING], STOPPED, "it was stopped while it was starting"),
    ([STARTING, STOPPING], None, "it was stopped while it was starting"),
    ([STOPPING | PENDING], None, "its process is still alive"),
    ([ORPHANS | PENDING], None, "an orphan of it is still alive"),
]


@pytest.mark.parametrize("case", START_OUTCOMES, ids=[outcome for _, _, outcome in START_OUTCOMES])
@pytest.mark.parametrize("method", ["start", "restart"])
def test_outcomes_of_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, case: tuple[list[Any], Any, str]
) -> None:
    lines, then, outcome = case
    if "still alive" in outcome:
        shorten_limits(monkeypatch)

    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods[f"plugins.{method}"] = change(fake, *lines, then=then)

        async def start() -> Process:
            if method == "start":
                return await engine.start("echo")
            await engine.begin_restart("echo")
            return await engine.wait_spawned("echo")

        if outcome in ProcessState.__members__:
            assert (await start()).state is ProcessState[outcome]
            return
        with pytest.raises(StopTimeout if "still alive" in outcome else StartFailed) as raised:
            await start()
        assert str(raised.value).startswith(outcome)

    run(tmp_path, scenario, **RUNNING)


def test_a_failed_spawn_is_described_as_the_table_has_it(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        def start(name: str) -> None:
            # the line is still on its way when the fault arrives
            asyncio.get_running_loop().call_later(0.05, lambda: fake.set(name, **BACKOFF))
            raise xmlrpc.client.Fault(50, "SPAWN_ERROR: cannot enter its folder")

        async def sync() -> int:
            await wait_until(lambda: fake.processes["echo"]["state"] == BACKOFF["state"])
            return fake.sequence

        fake.methods |= {"plugins.start": start, "plugins.sync": sync}
        with pytest.raises(StartFailed, match=r"^it could not be started: cannot enter its folder: No such"):
            await engine.start("echo")
        assert engine.get("echo").state is ProcessState.BACKOFF, "a read after the answer sees what it has done"

    run(tmp_path, scenario, **EXITED)


def test_a_start_waits_as_long_as_the_process_before_it_may_take_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_limits(monkeypatch)

    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods["plugins.start"] = change(fake, STOPPING | PENDING | {"stop_seconds": 20})
        starting = asyncio.create_task(engine.start("echo"))
        await wait_until(lambda: engine.get("echo").start_pending)
        done, _ = await asyncio.wait([starting], timeout=0.5)
        assert not done, "its process may take 20 seconds to obey"
        fake.set("echo", **STARTING)
        assert (await starting).pid == 7

    run(tmp_path, scenario, **RUNNING)


# -- waiting until it runs


@pytest.mark.parametrize(
    ("first", "then", "outcome"),
    [
        (RUNNING, None, "RUNNING"),
        (STARTING, RUNNING, "RUNNING"),
        (STARTING, DONE, "EXITED"),
        (STARTING, None, "STARTING"),  # the time is over
        (STARTING, BACKOFF, "it could not be started"),
        (STARTING, FATAL, "it could not be started and supervisord has given up"),
        (STARTING, EXITED, "it ended unexpectedly"),
        (STARTING, STOPPING, "it was stopped while it was starting"),
        (STOPPED, None, "it was stopped while it was starting"),
        (QUEUED, RUNNING | {"queued": ""}, "RUNNING"),
        (QUEUED, None, "STOPPED"),  # the time is over
        (QUEUED, FATAL | {"queued": ""}, "it could not be started and supervisord has given up"),
        (QUEUED, STOPPED | {"queued": ""}, "it was stopped while it was starting"),
        (STOPPING | {"queued": "asked"}, RUNNING | {"queued": ""}, "RUNNING"),
        (STOPPING | PENDING, RUNNING, "RUNNING"),
    ],
)
def test_outcomes_of_waiting_until_it_runs(
    tmp_path: Path, first: dict[str, Any], then: dict[str, Any] | None, outcome: str
) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        waiting = asyncio.create_task(engine.wait_running("echo", 20 if then else 0.05))
        await let_tasks_run()
        if then:
            fake.set("echo", **then)
        if outcome in ProcessState.__members__:
            assert (await waiting).state is ProcessState[outcome]
            return
        with pytest.raises(StartFailed, match=f"^{outcome}"):
            await waiting

    run(tmp_path, scenario, **first)


# -- queue


def test_a_program_among_several_that_is_no_plugin_is_the_one_that_is_invalid(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        def queue(*_: object) -> None:
            raise xmlrpc.client.Fault(90, "ALREADY_ADDED: web")

        fake.methods["plugins.queue"] = queue
        with pytest.raises(InvalidManifest):
            await engine.queue(["echo", "web"])
        with pytest.raises(ManifestError):
            engine.render(make_manifest(id="web"), tmp_path)
        engine.render(make_manifest(), tmp_path)

    run(tmp_path, scenario)


def test_a_failed_start_is_visible_when_the_call_returns(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        assert engine.get("echo").status == "starting"

        def give_up(name: str, reason: str) -> int:
            fake.set(name, **FATAL | {"spawn_error": reason, "queued": ""})
            return fake.sequence

        fake.methods["plugins.fail"] = give_up
        await engine.fail("echo", "its dependency 'db' was stopped")
        process = engine.get("echo")
        assert (process.status, process.detail.endswith("its dependency 'db' was stopped")) == ("error", True)

    run(tmp_path, scenario, **QUEUED)


# -- stop


@pytest.mark.parametrize(
    ("lines", "then", "outcome"),
    [
        ([STOPPING], STOPPED, "STOPPED"),
        ([STOPPED], None, "STOPPED"),
        ([STOPPING, ORPHANS], STOPPED, "STOPPED"),
        ([STOPPING], EXITED, "EXITED"),
        ([BACKOFF], None, "BACKOFF"),
        ([STOPPING], RUNNING, "STOPPED"),  # supervisorctl has started it again
        ([ORPHANS], STARTING, "STOPPED"),
        ([STOPPING], FATAL | {"state": 0, "queued": "asked"}, "STOPPED"),  # somebody has queued it again
        ([STOPPING], None, "its process is still alive 0.1 seconds after SIGKILL"),
        ([ORPHANS], None, "an orphan of it is still alive"),
    ],
)
def test_outcomes_of_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[Any], then: Any, outcome: str
) -> None:
    if "still alive" in outcome:
        shorten_limits(monkeypatch)

    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods["plugins.stop"] = change(fake, *lines, then=then)
        await engine.begin_stop("echo")
        if outcome in ProcessState.__members__:
            assert (await engine.wait_stopped("echo")).state is ProcessState[outcome]
            return
        with pytest.raises(StopTimeout, match=f"^{outcome}"):
            await engine.wait_stopped("echo")

    run(tmp_path, scenario, **RUNNING)


@pytest.mark.parametrize("code", [10, 70])
def test_a_program_that_does_not_run_cannot_be_stopped(tmp_path: Path, code: int) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods["plugins.stop"] = fail(code, "NOT_RUNNING: echo")
        with pytest.raises(NotRunning, match=r"^it is not running$"):
            await engine.begin_stop("echo")

    run(tmp_path, scenario)


# -- end


def test_a_process_is_ended(tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []

    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        def end(*arguments: Any) -> int:
            calls.append(arguments)
            return change(fake, STOPPING)("echo")

        fake.methods["plugins.end"] = end
        await engine.end("echo", 3, "memory limit", "policy")
        assert engine.get("echo").state is ProcessState.STOPPING

    run(tmp_path, scenario, **RUNNING)
    assert calls == [("echo", 3, "memory limit", "policy")]


# -- what every change has in common


@pytest.mark.parametrize("change_name", ["begin_stop", "begin_restart", "end"])
def test_supervisords_stack_traces_are_for_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change_name: str
) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        for method in ("plugins.stop", "plugins.restart", "plugins.end"):
            fake.methods[method] = fail(30, 'FAILED: unknown problem killing echo (7):Traceback: File "/secret"')
        with pytest.raises(StopTimeout, match="cannot signal its process") as raised:
            await getattr(engine, change_name)("echo", *([1, "it hangs", "always"] if change_name == "end" else []))
        assert "secret" not in str(raised.value)

    run(tmp_path, scenario)
    assert "/secret" in caplog.text


@pytest.mark.parametrize("change_name", ["add", "start", "begin_restart"])
@pytest.mark.parametrize("code", [10, 92])
def test_supervisords_words_about_its_files_are_for_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change_name: str, code: int
) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        for method in ("add", "start", "restart"):
            fake.methods[f"plugins.{method}"] = fail(code, "CANT_REREAD: /secret/echo.conf is broken")
        with pytest.raises(StartFailed, match="supervisord rejects its program") as raised:
            await getattr(engine, change_name)("echo")
        assert "secret" not in str(raised.value)

    run(tmp_path, scenario)
    assert "/secret/echo.conf is broken" in caplog.text


@pytest.mark.parametrize("change_name", ["add", "start", "begin_restart"])
def test_a_program_of_somebody_else_is_left_alone(tmp_path: Path, change_name: str) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        for method in ("add", "start", "restart"):
            fake.methods[f"plugins.{method}"] = fail(90, "ALREADY_ADDED: echo")
        with pytest.raises(InvalidManifest) as raised:
            await getattr(engine, change_name)("echo")
        assert str(raised.value) == FOREIGN_PROGRAM

    run(tmp_path, scenario)


def test_a_plugin_with_the_name_of_another_program_is_invalid(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        with pytest.raises(ManifestError, match="no plugin; choose another id"):
            engine.render(make_manifest(), tmp_path)
        assert engine.get("echo") == NEVER_ADDED, "that program's process is not the plugin's"

    run(tmp_path, scenario, state=20, pid=7, is_foreign=True)


@pytest.mark.parametrize("change_name", CHANGES)
def test_a_supervisord_that_shuts_down_is_unavailable(tmp_path: Path, change_name: str) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        for method in ("add", "start", "stop", "restart", "remove"):
            fake.methods[f"plugins.{method}"] = fail(6, "SHUTDOWN_STATE")
        with pytest.raises(SupervisorUnavailable, match="supervisord is shutting down"):
            await getattr(engine, change_name)("echo")

    run(tmp_path, scenario)


@pytest.mark.parametrize("change_name", ["add", "begin_stop", "begin_restart", "remove"])
def test_a_change_is_visible_to_every_read_after_it(tmp_path: Path, change_name: str) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        def late(name: str) -> int:
            asyncio.get_running_loop().call_later(0.05, lambda: fake.set(name, restarts=5))
            return fake.sequence + 1  # answered before the line is written

        for method in ("add", "stop", "restart", "remove"):
            fake.methods[f"plugins.{method}"] = late
        await getattr(engine, change_name)("echo")
        assert engine.get("echo").restarts == 5

    run(tmp_path, scenario)


def test_already_running(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods["plugins.start"] = fail(60, "ALREADY_STARTED: echo")
        with pytest.raises(AlreadyRunning, match=r"^it is running already$"):
            await engine.start("echo")

    run(tmp_path, scenario)


# -- publishing and removing


def test_a_run_folder_that_cannot_be_read_has_nothing_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not the plugins folder that is unreadable, and supervisord is restoring it."""

    def refuse() -> list[Path]:
        raise PermissionError(13, "Permission denied")

    async def scenario(engine: SupervisordEngine, _fake: FakeSupervisor) -> None:
        monkeypatch.setattr(engine._publisher, "list_foreign", refuse)
        assert engine.read_published() == {}
        assert "cannot read what is published" in caplog.text

    run(tmp_path, scenario)


def test_a_program_is_published_and_removed(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        engine._settings.log_dir.mkdir()
        engine._publisher.prepare()
        engine.publish(engine.render(make_manifest(), tmp_path))
        assert engine.read_published() == {"echo": tmp_path}
        published: list[object] = []

        def remove(*_: object) -> int:
            published.append(engine.read_published())
            return fake.remove("echo")

        fake.methods["plugins.remove"] = remove
        await engine.remove("echo")
        assert published == [{}], "a `supervisorctl update` would add it again"
        assert "echo" not in engine.read()
        fake.methods["plugins.remove"] = fail(10, "BAD_NAME: echo")
        await engine.remove("echo")

    run(tmp_path, scenario)


def test_a_program_that_is_started_again_meanwhile_is_not_removed(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods["plugins.remove"] = fail(91, "STILL_RUNNING: echo")
        with pytest.raises(AlreadyRunning, match="somebody has started it again"):
            await engine.remove("echo")

    run(tmp_path, scenario)


def test_a_program_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        with pytest.raises(StartFailed, match=r"^its program cannot be written: No such file or directory;") as raised:
            engine.publish(Program("echo", "[program:echo]\n", b""))
        assert fake.stream_path.removesuffix("state.sock") not in str(raised.value)

    run(tmp_path, scenario)
    assert "/launch" in caplog.text, "the log names the file"


# -- opening


def test_it_describes_itself(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.methods["supervisor.getState"] = lambda: {"statename": "RUNNING"}
        fake.methods["supervisor.getSupervisorVersion"] = lambda: "4.3.0"
        fake.methods["supervisor.getPID"] = lambda: 17
        info = await engine.describe()
        assert (info.name, info.version, info.pid, info.state) == ("supervisord", "4.3.0", 17, "RUNNING")
        assert (engine.is_live, engine.read().keys(), engine.get("other")) == (True, {"echo"}, NEVER_ADDED)
        version = engine.version
        heard: list[str | None] = []
        engine.on_change.append(heard.append)
        fake.set("echo", **RUNNING)
        await wait_until(lambda: heard == ["echo"])
        assert engine.version > version

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (1, r"add these lines to its configuration(?s:.*)\[rpcinterface:plugins\]"),
        (6, "shutting"),
        (None, "set `stream`"),
    ],
)
def test_why_there_is_no_state_stream(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, code: int | None, problem: str
) -> None:
    shorten_limits(monkeypatch)
    monkeypatch.setattr(module, "DIAGNOSE_SECONDS", 0.01)

    async def scenario() -> None:
        async with run_fake_supervisor() as fake:
            fake.first_line = b""
            fake.methods["plugins.sync"] = lambda: 0 if code is None else fail(code, "fault")("")
            environ = {
                "PLUGVISOR_RUN_DIR": fake.stream_path.removesuffix("/state.sock"),
                "PLUGVISOR_PLUGINS_DIR": str(tmp_path),
            }
            engine = SupervisordEngine(Settings.from_env(environ))
            await engine.open()
            await wait_until(lambda: engine._table.problem != UNREACHABLE)
            with pytest.raises(SupervisorUnavailable, match=problem):
                engine.read()
            calls = len(fake.requests)
            await wait_until(lambda: len(fake.requests) > calls + 1)
            await engine.close()

    with caplog.at_level(logging.ERROR):
        run_scenario(scenario())
    assert len(caplog.records) == 1


def test_no_supervisord_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_limits(monkeypatch)

    async def scenario() -> None:
        environ = {"PLUGVISOR_RUN_DIR": "/nonexistent", "PLUGVISOR_PLUGINS_DIR": str(tmp_path)}
        engine = SupervisordEngine(Settings.from_env(environ))
        await engine.open()
        for change_name in CHANGES:
            with pytest.raises(SupervisorUnavailable, match="cannot be reached"):
                await getattr(engine, change_name)("echo")
        for wait in (engine.wait_stopped("echo"), engine.wait_spawned("echo")):
            with pytest.raises(SupervisorUnavailable):
                await wait
        await engine.close()

    run_scenario(scenario())
