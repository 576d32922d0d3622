"""What the runner reports of an entry that it cannot import, call or end."""

import sys

import pytest

from tests.helpers.runner_processes import RUNNER


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
