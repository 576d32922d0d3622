"""What the runner calls of a plugin, and how it passes on signals."""

import signal

import pytest

# -- what is called


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


# -- signals


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
