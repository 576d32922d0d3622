"""The runner and the sample plugins, each as a real process."""

import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from textwrap import dedent

import pytest
from plugvisor.logs.lines import parse_line
from plugvisor.runner.__main__ import find_folders_above

from tests.helpers.ports import find_free_port

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "service" / "plugvisor" / "runner" / "__main__.py"
SAMPLES = ROOT / "plugins"
DEADLINE = 20.0  # seconds; generous, because the machine may be busy with other tests

# Nothing of the tests' own environment but PATH: PYTHONUNBUFFERED, for one, would hide a missing flush.
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


class Process:
    """A process whose output arrives line by line; every wait has a deadline."""

    def __init__(self, command, folder, environment=None):
        self.popen = subprocess.Popen(
            command,
            cwd=folder,
            env=ENVIRONMENT | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._stdout = queue.Queue()
        self._stderr = []
        self._readers = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_stdout(self):
        for line in self.popen.stdout:
            self._stdout.put(line.rstrip("\n"))
        self._stdout.put(None)

    def _read_stderr(self):
        self._stderr.extend(self.popen.stderr)

    def line(self):
        """Return the next line of stdout without its line break; None at the end."""
        try:
            return self._stdout.get(timeout=DEADLINE)
        except queue.Empty:
            pytest.fail(f"no line on stdout within {DEADLINE} s; stderr: {self._stderr}")

    def rest(self):
        """Return all further lines, until the process closes its stdout."""
        return list(iter(self.line, None))

    def send(self, number=signal.SIGTERM):
        self.popen.send_signal(number)

    def write(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def end(self):
        """Wait for the end; returns the exit status and stderr."""
        status = self.popen.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return status, "".join(self._stderr)

    def close(self):
        self.popen.kill()
        self.end()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            stream.close()


@pytest.fixture
def start():
    """start(command, folder, environment) -> Process; killed after the test if it is still alive."""
    processes = []

    def start(command, folder, environment=None):
        processes.append(Process(command, folder, environment))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def run(start, tmp_path):
    """run(source, entry) -> Process: the runner on a plugin.py with that source."""

    def run(source, entry="plugin:Plugin", folder=tmp_path, file="plugin.py"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(dedent(source), encoding="utf-8")
        return start([sys.executable, str(RUNNER), entry], folder)

    return run


# What is called


def test_function_is_called_in_the_plugins_folder(run, tmp_path):
    process = run(
        """
        import os, sys
        def main():
            print(os.getcwd(), sys.path[0], sys.argv)
        """,
        "plugin:main",
    )
    folder = tmp_path.resolve()
    assert process.rest() == [f"{folder} {folder} ['plugin:main']"]
    assert process.end() == (0, "")


def test_async_function_is_awaited(run):
    process = run(
        """
        import asyncio
        async def main():
            await asyncio.sleep(0)
            print("awaited")
        """,
        "plugin:main",
    )
    assert process.rest() == ["awaited"]
    assert process.end() == (0, "")


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_run_and_shutdown_are_called_without_startup(run, keyword):
    process = run(f"""
        class Plugin:
            def __init__(self): print("made")
            {keyword} startup(self): print("startup")
            {keyword} run(self): print("run")
            {keyword} shutdown(self): print("shutdown")
        """)
    assert process.rest() == ["made", "run", "shutdown"]
    assert process.end() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("startup", ["def", "async def"])
@pytest.mark.parametrize("shutdown", ["def", "async def"])
def test_startup_wait_shutdown(run, startup, shutdown, number):
    process = run(f"""
        class Plugin:
            {startup} startup(self): print("startup")
            {shutdown} shutdown(self): print("shutdown")
        """)
    assert process.line() == "startup"
    process.send(number)
    assert process.rest() == ["shutdown"]
    assert process.end() == (0, "")


def test_startup_alone_is_enough(run):
    process = run("""
        class Plugin:
            def startup(self): print("startup")
        """)
    assert process.line() == "startup"
    process.send()
    assert process.end() == (0, "")


def test_a_task_of_startup_runs_in_the_same_loop_until_shutdown_has_ended(run):
    process = run("""
        import asyncio
        class Plugin:
            async def startup(self):
                self.loop = asyncio.get_running_loop()
                self.task = asyncio.create_task(self.tick())
            async def tick(self):
                for number in range(10**9):
                    print("tick", number)
                    await asyncio.sleep(0.01)
            async def shutdown(self):
                print("same loop:", asyncio.get_running_loop() is self.loop, "done:", self.task.done())
        """)
    for number in range(4):
        assert process.line() == f"tick {number}"
    process.send()
    assert process.rest()[-1] == "same loop: True done: False"
    assert process.end() == (0, "")


# Signals


@pytest.mark.parametrize("shutdown", ["def", "async def"])
def test_sigterm_raises_system_exit_in_a_sync_run(run, shutdown):
    process = run(f"""
        import time
        class Plugin:
            def run(self):
                try:
                    print("running")
                    time.sleep(3600)
                except SystemExit:
                    print("cleaning up")
                    raise
                finally:
                    print("run has ended")
            {shutdown} shutdown(self): print("shutdown")
        """)
    assert process.line() == "running"
    process.send()
    assert process.rest() == ["cleaning up", "run has ended", "shutdown"]
    assert process.end() == (0, "")


@pytest.mark.parametrize("shutdown", ["def", "async def"])
def test_sigterm_cancels_an_async_run(run, shutdown):
    process = run(f"""
        import asyncio
        class Plugin:
            async def run(self):
                try:
                    print("running")
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    await asyncio.sleep(0.01)
                    print("cancelled")
                    raise
            {shutdown} shutdown(self): print("shutdown")
        """)
    assert process.line() == "running"
    process.send()
    assert process.rest() == ["cancelled", "shutdown"]
    assert process.end() == (0, "")


@pytest.mark.parametrize(
    "source",
    [
        """
        import time
        def main():
            print("running")
            time.sleep(3600)
        """,
        """
        import asyncio
        async def main():
            print("running")
            await asyncio.sleep(3600)
        """,
        """
        import asyncio
        async def forever():
            print("running")
            await asyncio.sleep(3600)
        def main():
            asyncio.run(forever())
        """,
        """
        import time
        print("running")
        time.sleep(3600)
        """,
    ],
    ids=["function", "async function", "function with a loop of its own", "import"],
)
def test_sigterm_ends_other_code_too(run, source):
    process = run(source, "plugin:main")
    assert process.line() == "running"
    process.send()
    assert process.end()[0] == 0


@pytest.mark.parametrize(("keyword", "wait"), [("def", "time.sleep(3600)"), ("async def", "await asyncio.sleep(3600)")])
def test_sigterm_during_startup_ends_it_and_shutdown_follows(run, keyword, wait):
    process = run(f"""
        import asyncio, time
        class Plugin:
            {keyword} startup(self):
                print("starting")
                {wait}
                print("never printed")
            {keyword} shutdown(self): print("shutdown")
        """)
    assert process.line() == "starting"
    process.send()
    assert process.rest() == ["shutdown"]
    assert process.end() == (0, "")


@pytest.mark.parametrize("begin", ["startup", "run"])
@pytest.mark.parametrize(("keyword", "wait"), [("def", "input()"), ("async def", "await asyncio.to_thread(input)")])
def test_second_sigterm_does_not_break_shutdown(run, begin, keyword, wait):
    process = run(f"""
        import asyncio
        class Plugin:
            async def {begin}(self):
                print("begun")
                if "{begin}" == "run":
                    await asyncio.sleep(3600)
            {keyword} shutdown(self):
                print("closing")
                {wait}
                print("closed")
        """)
    assert process.line() == "begun"
    process.send()
    assert process.line() == "closing"
    process.send()
    process.send(signal.SIGINT)
    process.write("go on")
    assert process.rest() == ["closed"]
    assert process.end() == (0, "")


@pytest.mark.parametrize(("keyword", "wait"), [("def", "input()"), ("async def", "await asyncio.to_thread(input)")])
def test_first_sigterm_does_not_break_a_shutdown_after_run(run, keyword, wait):
    process = run(f"""
        import asyncio
        class Plugin:
            async def run(self): pass
            {keyword} shutdown(self):
                print("closing")
                {wait}
                print("closed")
        """)
    assert process.line() == "closing"
    process.send()
    process.write("go on")
    assert process.rest() == ["closed"]
    assert process.end() == (0, "")


@pytest.mark.parametrize(
    ("keyword", "sleep", "wait"),
    [
        ("def", "time.sleep(3600)", "input()"),
        ("async def", "await asyncio.sleep(3600)", "await asyncio.to_thread(input)"),
    ],
)
def test_second_sigterm_does_not_break_the_cleanup_in_run(run, keyword, sleep, wait):
    process = run(f"""
        import asyncio, time
        class Plugin:
            {keyword} run(self):
                try:
                    print("running")
                    {sleep}
                finally:
                    print("cleaning up")
                    {wait}
                    print("clean")
            {keyword} shutdown(self): print("shutdown")
        """)
    assert process.line() == "running"
    process.send()
    assert process.line() == "cleaning up"
    process.send()
    process.write("go on")
    assert process.rest() == ["clean", "shutdown"]
    assert process.end() == (0, "")


def test_sigterm_that_startup_catches_still_ends_the_plugin(run):
    process = run("""
        import asyncio
        class Plugin:
            async def startup(self):
                try:
                    print("starting")
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    print("caught")
            def shutdown(self): print("shutdown")
        """)
    assert process.line() == "starting"
    process.send()
    assert process.rest() == ["caught", "shutdown"]
    assert process.end() == (0, "")


def test_sigterm_that_the_import_catches_still_ends_the_plugin(run):
    process = run(
        """
        import time
        try:
            print("importing")
            time.sleep(3600)
        except BaseException:
            print("caught")
        def main(): time.sleep(3600)
        """,
        "plugin:main",
    )
    assert process.line() == "importing"
    process.send()
    assert process.rest() == ["caught"]
    assert process.end() == (0, "")


def test_remaining_tasks_are_cancelled_after_shutdown(run):
    process = run("""
        import asyncio
        class Plugin:
            async def startup(self):
                self.task = asyncio.create_task(self.work())
            async def work(self):
                try:
                    print("working")
                    await asyncio.sleep(3600)
                finally:
                    print("cancelled")
            async def shutdown(self): print("shutdown")
        """)
    assert process.line() == "working"
    process.send()
    assert process.rest() == ["shutdown", "cancelled"]
    assert process.end() == (0, "")


def test_sigterm_ends_a_process_that_only_threads_keep_alive(run):
    process = run(
        """
        import threading
        def work():
            threading.main_thread().join()
            print("alone")
            threading.Event().wait()
        def main():
            threading.Thread(target=work).start()
        """,
        "plugin:main",
    )
    assert process.line() == "alone"
    process.send()
    assert process.end() == (-signal.SIGTERM, "")


def test_signal_to_a_forked_child_ends_the_child_and_not_the_plugin(run):
    process = run("""
        import asyncio, os, signal
        class Plugin:
            async def startup(self):
                ready, done = os.pipe()
                child = os.fork()
                if not child:
                    signal.alarm(20)  # it must never outlive the test
                    os.write(done, b".")
                    while True:
                        signal.pause()
                os.read(ready, 1)  # Python drops a signal that a child receives while it is being forked
                os.kill(child, signal.SIGTERM)
                print("child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                self.task = asyncio.create_task(self.wait())
            async def wait(self):
                await asyncio.sleep(0.1)
                print("still here")
            def shutdown(self): print("shutdown")
        """)
    assert process.line() == f"child: {-signal.SIGTERM}"
    assert process.line() == "still here"
    process.send()
    assert process.rest() == ["shutdown"]
    assert process.end() == (0, "")


# What goes wrong


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("plugin", "not of the form module:attribute"),
        ("plugin:", "not of the form module:attribute"),
        (":Plugin", "not of the form module:attribute"),
        ("", "not of the form module:attribute"),
        (".plugin:Plugin", "not of the form module:attribute"),
        ("a..b:Plugin", "not of the form module:attribute"),
        ("nowhere:Plugin", "there is no module 'nowhere'"),
        ("nowhere.at.all:Plugin", "there is no module 'nowhere.at.all'"),
        ("plugin.sub:Plugin", "there is no module 'plugin.sub'"),
        ("plugin:Nothing", "there is no 'Nothing' in 'plugin'"),
        ("plugin:Plugin:x", "there is no 'Plugin:x' in 'plugin'"),
        ("data:Plugin", "a folder without __init__.py"),
        ("plugin:NUMBER", "neither a function nor a class"),
        ("plugin:Plugin", "neither run() nor startup()"),
    ],
)
def test_entry_that_cannot_be_resolved(run, tmp_path, entry, reason):
    (tmp_path / "data").mkdir()
    process = run(
        """
        NUMBER = 42
        class Plugin: pass
        """,
        entry,
    )
    status, stderr = process.end()
    assert status == 2
    assert stderr.startswith(f"cannot run {entry!r}: ")
    assert reason in stderr
    assert stderr.count("\n") == 1


def test_no_entry_at_all(start, tmp_path):
    status, stderr = start([sys.executable, str(RUNNER)], tmp_path).end()
    assert status == 2
    assert stderr.startswith("cannot run ''")


@pytest.mark.parametrize(
    ("entry", "last_line"),
    [
        ("plugin:Plugin", "ModuleNotFoundError: No module named 'a_dependency'"),
        ("pack.inner:Plugin", "ModuleNotFoundError: No module named 'pack.lost'"),
        ("pack.wrong:Plugin", "ImportError: cannot import name 'x' from 'pack'"),
        ("pack.broken:Plugin", "RuntimeError: broken"),
    ],
)
def test_an_exception_of_the_module_is_shown_as_a_traceback(run, tmp_path, entry, last_line):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "inner.py").write_text("import pack.lost\n")
    (tmp_path / "pack" / "wrong.py").write_text("from pack import x\n")
    (tmp_path / "pack" / "broken.py").write_text("raise RuntimeError('broken')\n")
    status, stderr = run("import a_dependency\n", entry).end()
    assert status == 1
    assert stderr.startswith("Traceback")
    assert "cannot run" not in stderr
    assert stderr.splitlines()[-1].startswith(last_line)


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_exception_in_startup(run, keyword):
    process = run(f"""
        class Plugin:
            {keyword} startup(self): raise ValueError("no luck")
            {keyword} shutdown(self): print("shutdown")
        """)
    assert process.rest() == []
    status, stderr = process.end()
    assert status == 1
    assert stderr.startswith("Traceback")
    assert stderr.endswith("ValueError: no luck\n")


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_exception_in_run_is_reported_after_shutdown(run, keyword):
    process = run(f"""
        class Plugin:
            {keyword} run(self): raise ValueError("no luck")
            {keyword} shutdown(self): print("shutdown")
        """)
    assert process.rest() == ["shutdown"]
    status, stderr = process.end()
    assert status == 1
    assert stderr.endswith("ValueError: no luck\n")


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_exception_in_shutdown(run, keyword):
    process = run(f"""
        class Plugin:
            def startup(self): print("startup")
            {keyword} shutdown(self): raise ValueError("no luck")
        """)
    assert process.line() == "startup"
    process.send()
    status, stderr = process.end()
    assert status == 1
    assert stderr.endswith("ValueError: no luck\n")


def test_cancellation_without_a_signal_is_an_exception(run):
    process = run("""
        import asyncio
        class Plugin:
            async def run(self): raise asyncio.CancelledError
        """)
    status, stderr = process.end()
    assert status == 1
    assert stderr.endswith("CancelledError\n")


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_exit_status_of_sys_exit(run, keyword):
    process = run(f"""
        import sys
        class Plugin:
            {keyword} run(self): sys.exit(7)
            {keyword} shutdown(self): print("shutdown")
        """)
    assert process.rest() == ["shutdown"]
    assert process.end() == (7, "")


@pytest.mark.parametrize("entry", ["plugins.echo:main", "plugin.plugins.echo:main", "echo:main"])
def test_missing_package_of_the_host(run, tmp_path, entry):
    folder = tmp_path / "plugins" / "echo"
    process = run("import plugin.sdk\n", entry, folder, "echo.py" if entry == "echo:main" else "__init__.py")
    status, stderr = process.end()
    assert status == 1
    assert stderr.splitlines()[-1] == (
        "ModuleNotFoundError: No module named 'plugin'; put the folder `plugin` of the plugin host above the plugins, "
        "or set PLUGVISOR_RUNNER to the host's own"
    )


def test_missing_module_of_the_host_s_package(run, tmp_path):
    (tmp_path / "plugin").mkdir()
    process = run("import plugin.sdk\n", "plugin.plugins.echo:main", tmp_path / "plugin/plugins/echo", "__init__.py")
    last_line = process.end()[1].splitlines()[-1]
    assert last_line.startswith("ModuleNotFoundError: No module named 'plugin.sdk'; put the folder `plugin`")


def test_missing_module_of_a_host_s_plugin_elsewhere(run, tmp_path):
    status, stderr = run("", "plugin.plugins.echo:main", tmp_path / "other", "main.py").end()
    assert status == 2
    assert "there is no module 'plugin.plugins.echo'" in stderr
    assert "put the folder `plugin` of the plugin host above the plugins" in stderr


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_module_that_is_missed_when_it_runs(run, keyword):
    status, stderr = run(f"""
        class Plugin:
            {keyword} startup(self): import a_dependency
        """).end()
    assert status == 1
    assert "No module named 'a_dependency'; list it in requirements.txt" in stderr


# The context


MANIFEST = """
[plugin]
id = "echo-plugin"
entry = "plugin:Plugin"
[greeting]
words = ["a", "b"]
"""


@pytest.mark.parametrize(
    "source",
    [
        "def Plugin(ctx): print(ctx.plugin_id)",
        "async def Plugin(ctx): print(ctx.plugin_id)",
        "def Plugin(host): print(host.plugin_id)",
        "def Plugin(host, /): print(host.plugin_id)",
        "def Plugin(name=1, ctx=None): print(ctx.plugin_id)",
        "def Plugin(*, ctx): print(ctx.plugin_id)",
        "def Plugin(ctx=None, **others): print(ctx.plugin_id)",
        """
        class Plugin:
            def __init__(self, ctx): self.ctx = ctx
            def run(self): print(self.ctx.plugin_id)
        """,
        """
        class Base:
            def __init__(self, ctx): self.ctx = ctx
        class Plugin(Base):
            def run(self): print(self.ctx.plugin_id)
        """,
        """
        class Plugin:
            async def run(self, ctx): print(ctx.plugin_id)
        """,
        """
        import os, signal
        class Plugin:
            def startup(self, ctx): os.kill(os.getpid(), signal.SIGTERM)
            def shutdown(self, ctx): print(ctx.plugin_id)
        """,
    ],
)
def test_context_is_passed_to_what_asks_for_one(run, tmp_path, source):
    (tmp_path / "plugin.toml").write_text(MANIFEST)
    process = run(source)
    assert process.rest() == ["echo-plugin"]
    assert process.end() == (0, "")


@pytest.mark.parametrize(
    "source",
    [
        "def Plugin(): print('nothing')",
        "def Plugin(name='nothing'): print(name)",
        "def Plugin(*words, **others): print(*(words or ['nothing']), *others)",
        "def Plugin(*, name='nothing'): print(name)",
        """
        class Plugin(dict):
            def run(self): print(self or 'nothing')
        """,
        """
        import threading
        class Plugin(threading.Thread):
            def run(self, *words): print(*(words or ['nothing']))
        """,
        """
        class Described(type):
            @property
            def __signature__(cls): raise RuntimeError("not described")
        class Plugin(metaclass=Described):
            def run(self): print("nothing")
        """,
    ],
)
def test_context_is_not_passed_to_what_does_not_ask_for_one(run, source):
    process = run(source)
    assert process.rest() == ["nothing"]
    assert process.end() == (0, "")


def test_what_a_context_has(run, tmp_path):
    (tmp_path / "plugin.toml").write_text(MANIFEST)
    process = run(
        """
        import asyncio
        def main(ctx):
            print(ctx.folder, ctx.config_path, ctx.config["greeting"]["words"], ctx.run_id)
            print(ctx.data_dir, ctx.data_dir.is_dir())
            print(asyncio.run(ctx.get_own_config(timeout=5.0))["config"] == ctx.config)
            print(asyncio.run(ctx.get_own_effective_config(None))["config"] == ctx.config)
            ctx.update_status({"busy": True})
            ctx.logger.debug("not shown")
            ctx.logger.info("%s and %d", "words", 1)
            ctx.logger.warning("{} and {}", "braces", 2)
            ctx.logger.error("{} only", 1, 2)
            ctx.logger.error("50 %z {wrong}", 3)
        """,
        "plugin:main",
    )
    folder = tmp_path.resolve()
    lines = process.rest()
    assert process.end() == (0, "")
    assert lines[:4] == [f"{folder} {folder}/plugin.toml ['a', 'b'] None", f"{folder}/data True", "True", "True"]
    logged = [parse_line(line) for line in lines[4:]]
    assert [(entry.level, entry.message) for entry in logged] == [
        ("INFO", "words and 1"),
        ("WARNING", "braces and 2"),
        ("ERROR", "1 only"),
        ("ERROR", "50 %z {wrong} (with other arguments)"),
    ]
    assert all(entry.timestamp for entry in logged)


def test_data_folder_of_an_installed_plugin(start, tmp_path):
    (tmp_path / "plugin.py").write_text("def main(ctx): print(ctx.plugin_id, ctx.data_dir)\n")
    process = start(
        [sys.executable, str(RUNNER), "plugin:main"], tmp_path, {"PLUGVISOR_DATA_DIR": str(tmp_path / "kept")}
    )
    assert process.rest() == [f"{tmp_path.name} {tmp_path / 'kept'}"]
    assert process.end() == (0, "")
    assert not (tmp_path / "data").exists()


def test_a_call_to_the_host_is_an_error_that_names_it(run):
    status, stderr = run(
        """
        def main(ctx):
            assert not hasattr(ctx, "push_message") and not hasattr(ctx, "_queue")
            ctx.push_message(source="echo")
        """,
        "plugin:main",
    ).end()
    assert status == 1
    assert stderr.splitlines()[-1].startswith("AttributeError: ctx.push_message needs a plugin host")


def test_a_class_that_takes_a_context_needs_no_startup(run):
    process = run("""
        class Plugin:
            def __init__(self, ctx): print("made")
        """)
    assert process.line() == "made"
    process.send()
    assert process.end() == (0, "")


@pytest.mark.parametrize("attribute", ["Descriptor()", "Proxy()"])
def test_what_a_class_has_beside_its_methods_is_not_looked_at(run, attribute):
    """A descriptor that computes something, and an object that stands for another one, which is not there yet."""
    process = run(f"""
        class Descriptor:
            def __get__(self, instance, owner): raise RuntimeError("computed")
        class Proxy:
            def __getattr__(self, name): raise RuntimeError("not there yet")
        class Plugin:
            current = {attribute}
            def run(self): print("runs")
        """)
    assert process.rest() == ["runs"]
    assert process.end() == (0, "")


def test_a_manifest_that_nobody_can_read_hides_no_plugin(run, tmp_path):
    (tmp_path / "plugin.toml").write_text(f"a = {'[' * 5000}{']' * 5000}\n")
    process = run("def main(ctx): print(ctx.config)\n", "plugin:main")
    assert process.rest() == ["{}"]
    assert process.end() == (0, "")


def test_methods_that_the_host_s_decorators_have_marked(run):
    process = run("""
        from types import SimpleNamespace
        def mark(kind, name):
            def decorate(function):
                function.__neko_event_meta__ = SimpleNamespace(event_type=kind, id=name)
                return function
            return decorate
        class Plugin:
            def __init__(self, ctx): pass
            def run(self): print("an entry that the host calls")
            @mark("plugin_entry", "shutdown")
            def entry(self): print("another")
            @mark("lifecycle", "startup")
            async def begin(self, **_): print("begun")
            @mark("lifecycle", "shutdown")
            def finish(self, **_): print("finished")
        """)
    assert process.line() == "begun"
    process.send()
    assert process.rest() == ["finished"]
    assert process.end() == (0, "")


# Where modules are found


@pytest.mark.parametrize(
    ("folder", "file", "entry"),
    [
        ("plugins/testPlugin", "__init__.py", "plugins.testPlugin:HelloPlugin"),
        ("plugin/plugins/mijia", "__init__.py", "plugin.plugins.mijia:HelloPlugin"),
        ("echo", "main.py", "echo.main:HelloPlugin"),
        ("plugins/echo", "main.py", "plugins.echo.main:HelloPlugin"),
        ("plugins/echo", "echo.py", "echo:HelloPlugin"),
        ("plugins/plugins", "main.py", "plugins.plugins.main:HelloPlugin"),
    ],
)
def test_dotted_module_is_found_from_the_folder_in_which_its_name_begins(run, tmp_path, folder, file, entry):
    process = run(
        """
        class HelloPlugin:
            def run(self): print("hello from", __name__)
        """,
        entry,
        tmp_path / folder,
        file,
    )
    assert process.rest() == ["hello from " + entry.partition(":")[0]]
    assert process.end() == (0, "")


def test_other_plugins_folders_do_not_hide_library_modules(run, tmp_path):
    (tmp_path / "plugins" / "calendar").mkdir(parents=True)
    (tmp_path / "plugins" / "calendar" / "__init__.py").write_text("raise RuntimeError('a plugin, not the calendar')\n")
    process = run(
        """
        import calendar
        def main(): print(calendar.MONDAY)
        """,
        "echo.main:main",
        tmp_path / "plugins" / "echo",
        "main.py",
    )
    assert process.rest() == ["0"]
    assert process.end() == (0, "")


def test_import_error_in_a_module_found_from_above_is_a_single_traceback(run, tmp_path):
    process = run("import a_dependency\n", "plugins.echo:main", tmp_path / "plugins" / "echo", "__init__.py")
    status, stderr = process.end()
    assert status == 1
    assert stderr.count("Traceback") == 1
    assert "ModuleNotFoundError: No module named 'a_dependency'; list it in requirements.txt" in stderr


@pytest.mark.parametrize("entry", ["plugin.plugins.echo:main", "plugins.echo:main", "main:main"])
def test_the_package_above_the_plugins_can_be_imported(run, tmp_path, entry):
    package = tmp_path / "plugin"
    (package / "sdk").mkdir(parents=True)
    for folder in (package, package / "sdk"):
        (folder / "__init__.py").touch()
    (package / "beside.py").touch()
    source = """
        import plugin.sdk, beside
        def main(): print(plugin.sdk.__name__, beside.__name__)
        """
    process = run(source, entry, package / "plugins" / "echo", "main.py" if entry == "main:main" else "__init__.py")
    assert process.rest() == ["plugin.sdk beside"]
    assert process.end() == (0, "")


def test_what_lies_above_the_plugins_hides_no_module_of_the_plugin(run, tmp_path):
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "__init__.py").write_text("raise RuntimeError('another echo')\n")
    process = run("def main(): print(__file__)", "echo.main:main", tmp_path / "plugins" / "echo", "main.py")
    assert process.rest() == [str(tmp_path.resolve() / "plugins/echo/main.py")]
    assert process.end() == (0, "")


def test_what_lies_above_the_plugins_hides_no_library_module(run, tmp_path):
    (tmp_path / "calendar.py").write_text("raise RuntimeError('not the calendar')\n")
    process = run(
        """
        import calendar, sys
        def main(): print(calendar.MONDAY, sys.path[-1])
        """,
        "main:main",
        tmp_path / "plugins" / "echo",
        "main.py",
    )
    assert process.rest() == [f"0 {tmp_path.resolve()}"]
    assert process.end() == (0, "")


@pytest.mark.parametrize("folder", ["plugins/echo", "others/echo"])
def test_a_folder_that_is_open_to_all_or_of_no_plugins_is_not_searched(run, tmp_path, folder):
    (tmp_path / "redis_of_somebody_else.py").touch()
    tmp_path.chmod(0o777 if folder.startswith("plugins") else 0o755)
    process = run("import redis_of_somebody_else\n", "main:main", tmp_path / folder, "main.py")
    assert "No module named 'redis_of_somebody_else'" in process.end()[1]


def test_the_folder_above_a_package_that_is_open_to_all_is_not_searched(run, tmp_path):
    """Its modules would be those of the package, which anybody may have put there."""
    package = tmp_path / "host"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "of_somebody_else.py").touch()
    package.chmod(0o777)
    process = run("import host.of_somebody_else\n", "main:main", package / "plugins" / "echo", "main.py")
    assert "No module named 'host'" in process.end()[1]


def test_a_plugin_of_a_host_runs_with_the_host_s_package_beside_the_plugins(run, tmp_path):
    """Its entry begins with the host's package, and its folder is in a folder `plugins` that is not in this package."""
    (tmp_path / "plugin" / "sdk").mkdir(parents=True)
    (tmp_path / "plugin" / "sdk" / "__init__.py").write_text("NAME = 'sdk'\n")
    process = run(
        """
        import plugin.sdk
        from . import part
        def main(): print(plugin.sdk.NAME, part.__name__)
        """,
        "plugin.plugins.echo:main",
        tmp_path / "plugins" / "echo",
        "__init__.py",
    )
    (tmp_path / "plugins" / "echo" / "part.py").touch()
    assert process.rest() == ["sdk plugins.echo.part"]
    assert process.end() == (0, "")


def test_the_root_may_look_like_a_package(monkeypatch):
    """In a container, the plugins are often in /plugins, and anything may be in /."""
    monkeypatch.setattr(os.path, "isfile", lambda _path: True)
    assert find_folders_above(Path("/plugins/echo")) in ([Path("/")], [])


def test_modules_of_the_runner_do_not_hide_the_plugins(run, tmp_path):
    names = ("manifest", "catalog", "program", "runner")
    for name in names:
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "plugvisor").mkdir()
    (tmp_path / "plugvisor" / "__init__.py").write_text("ORIGIN = 'the plugin'\n")
    process = run(
        f"""
        import plugvisor, {", ".join(names)}
        def main():
            for module in ({", ".join(names)}): print(module.__file__)
            print(plugvisor.ORIGIN)
        """,
        "plugin:main",
    )
    folder = tmp_path.resolve()
    assert process.rest() == [str(folder / f"{name}.py") for name in names] + ["the plugin"]
    assert process.end() == (0, "")


def test_modules_of_the_runner_are_not_importable(run):
    process = run(
        f"""
        import sys
        def main(): print({str(RUNNER.parent)!r} in sys.path)
        """,
        "plugin:main",
    )
    assert process.rest() == ["False"]


def test_stdout_reaches_a_pipe_line_by_line(run):
    process = run(
        """
        def main():
            for number in range(3):
                print("line", number)
                input()
        """,
        "plugin:main",
    )
    for number in range(3):
        assert process.line() == f"line {number}"  # while the process waits for us
        process.write("next")
    assert process.end() == (0, "")


# The samples


@pytest.fixture
def sample(start, tmp_path):
    """sample(id, environment) -> Process: a copy of the sample, started as its manifest says."""

    def sample(plugin_id, environment=None):
        folder = tmp_path / plugin_id
        shutil.copytree(SAMPLES / plugin_id, folder, ignore=shutil.ignore_patterns("__pycache__", "settings.toml"))
        manifest = tomllib.loads((folder / "plugin.toml").read_text(encoding="utf-8"))
        if "entry" in manifest["plugin"]:
            command = [sys.executable, str(RUNNER), manifest["plugin"]["entry"]]
        else:
            command = manifest["plugin"]["command"]
            command = shlex.split(command) if isinstance(command, str) else command
            assert command[0] == "python"
            command = [sys.executable, *command[1:]]
        own = manifest["plugin_runtime"].get("environment", {})
        return start(command, folder, own | (environment or {}))

    return sample


@pytest.mark.parametrize("plugin_id", sorted(folder.name for folder in SAMPLES.iterdir()))
def test_sample_manifest(plugin_id):
    manifest = tomllib.loads((SAMPLES / plugin_id / "plugin.toml").read_text(encoding="utf-8"))
    plugin, runtime = manifest["plugin"], manifest["plugin_runtime"]
    assert plugin["id"] == plugin_id
    assert all(isinstance(plugin[key], str) and plugin[key] for key in ("name", "version", "description"))
    assert ("command" in plugin) != ("entry" in plugin)
    assert runtime["enabled"] is True
    assert runtime["auto_start"] is (plugin_id in {"heartbeat", "hello_http"})
    assert all(isinstance(value, str) for value in runtime.get("environment", {}).values())


def test_heartbeat(sample):
    process = sample("heartbeat", {"HEARTBEAT_SECONDS": "0.05", "HEARTBEAT_GREETING": "好"})
    for number in (1, 2, 3):
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d 好, beat {number}", process.line())
    process.send()
    assert " goodbye after beat " in process.rest()[-1]
    assert process.end() == (0, "")


def test_heartbeat_stops_at_once_in_the_middle_of_its_interval(sample):
    process = sample("heartbeat", {"HEARTBEAT_SECONDS": "3600"})
    assert process.line().endswith(" 你好 from Plugvisor, beat 1")
    process.send()
    assert process.line().endswith(" goodbye after beat 1")
    assert process.end() == (0, "")


def test_hello_http(sample):
    process = sample("hello_http", {"HELLO_PORT": "0"})  # 0: any free port
    url = process.line().removeprefix("listening on ")
    with urllib.request.urlopen(url + "some/path", timeout=DEADLINE) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.read() == b'{"message": "hello from a plugin", "path": "/some/path"}\n'
    assert process.line() == "127.0.0.1 'GET /some/path HTTP/1.1' 200"
    process.send()
    assert process.rest() == ["closed"]
    assert process.end() == (0, "")


def test_hello_http_says_when_its_port_is_taken(sample):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, stderr = sample("hello_http", {"HELLO_PORT": str(port)}).end()
    assert status == 1
    assert stderr.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert stderr.count("\n") == 1


def test_failing(sample):
    process = sample("failing")
    assert process.rest() == []
    assert process.end() == (3, "cannot start: there is no settings.toml in this plugin's folder; create one\n")


def test_failing_can_be_repaired(sample, start, tmp_path):
    sample("failing").end()
    (tmp_path / "failing" / "settings.toml").touch()
    process = start([sys.executable, "main.py"], tmp_path / "failing")
    assert process.line() == "settings.toml found, all is well"
    process.send()
    assert process.end()[0] == -signal.SIGTERM


def test_stubborn(sample):
    process = sample("stubborn")
    assert process.line() == "here I am and here I stay"
    for _ in range(3):
        process.send()
        assert process.line() == "SIGTERM received, and ignored"
    process.send(signal.SIGKILL)
    assert process.end() == (-signal.SIGKILL, "")


def test_tiny_web_counts_in_tiny_store(sample):
    store_port, web_port = (find_free_port() for _ in range(2))
    store = sample("tiny_store", {"STORE_PORT": str(store_port)})
    web = sample("tiny_web", {"WEB_PORT": str(web_port), "STORE_URL": f"http://127.0.0.1:{store_port}"})
    assert store.line() == f"listening on http://127.0.0.1:{store_port}/"
    assert web.line() == f"listening on http://127.0.0.1:{web_port}/"
    assert get(f"http://127.0.0.1:{store_port}/ok")[0] in (503, 200)
    assert store.line() == "loaded"
    assert get(f"http://127.0.0.1:{store_port}/ok") == (200, b'{"loaded": true}\n')
    assert get(f"http://127.0.0.1:{web_port}/") == (200, b'visits: {"value": 1}\n')
    assert get(f"http://127.0.0.1:{web_port}/") == (200, b'visits: {"value": 2}\n')
    store.send()
    store.end()
    assert get(f"http://127.0.0.1:{web_port}/")[0] == 502
    assert get(f"http://127.0.0.1:{web_port}/ok") == (200, b"ok\n")


def test_leaky(sample):
    process = sample("leaky")
    assert [process.line() for _ in range(3)] == ["8 MB", "16 MB", "24 MB"]
    process.send()
    process.end()


def get(url):
    """The status and the body."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
