"""Where the runner finds the modules of a plugin, and that it hides none."""

import os
from pathlib import Path

import pytest
from plugvisor.runner.module_search import find_folders_above

from tests.helpers.runner_processes import RUNNER


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
