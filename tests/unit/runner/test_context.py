"""The context that the runner passes to a plugin that was written for a host."""

import sys

import pytest
from plugvisor.logs.lines import parse_line

from tests.helpers.runner_processes import RUNNER

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
