"""The generated files: written in one step, read back as they were, and spoilt ones told apart."""

import os
import resource
import stat
from pathlib import Path

import pytest
from plugvisor.engines.supervisord.program import Program, conf_path, launch_path, render_launch_script
from plugvisor.engines.supervisord.publisher import Publisher

FOLDER = Path("/plugins/a folder\n; of any name \udcff")
PROGRAM = Program(
    "echo",
    "[program:echo]\nstopwaitsecs=7\n",
    render_launch_script(FOLDER, ("true",), {"A": "中"}, b"PLUGVISOR_PLUGIN=/run:echo:"),
)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    publisher = Publisher(tmp_path)
    publisher.prepare()
    publisher.prepare()  # again changes nothing
    return publisher


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    publisher.write_launch_script(PROGRAM)
    publisher.write_section(PROGRAM)
    return publisher


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_what_is_written_is_read(published: Publisher, tmp_path: Path) -> None:
    assert published.read("echo") == PROGRAM
    assert published.read_folders() == {"echo": FOLDER}
    assert published.read_stamps() == {"echo": published.read_stamp("echo")}
    assert published.is_published("echo")
    assert files_below(tmp_path) == ["conf.d/echo.conf", "launch/echo.sh"]


def test_the_files_are_for_this_user_alone(published: Publisher, tmp_path: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in tmp_path.rglob("*")}
    assert modes == {0}


def test_a_file_is_touched_only_where_its_text_changes(published: Publisher, tmp_path: Path) -> None:
    def inodes() -> list[int]:
        return [path(tmp_path, "echo").stat().st_ino for path in (conf_path, launch_path)]

    before = inodes()
    published.write_section(PROGRAM)
    published.write_launch_script(PROGRAM)
    assert inodes() == before
    with conf_path(tmp_path, "echo").open() as old:
        published.write_section(Program("echo", "new", b""))
        assert old.read() == PROGRAM.section, "whoever reads the old file goes on reading it"
    assert conf_path(tmp_path, "echo").read_text() == "new"


def test_a_failed_write_leaves_nothing(published: Publisher, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # to this process it is as if the disk were full
    try:
        for plugin_id in ("echo", "other"):
            with pytest.raises(OSError, match="File too large"):
                published.write_section(Program(plugin_id, "x" * 101, b""))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert published.read("echo") == PROGRAM
    assert files_below(tmp_path) == ["conf.d/echo.conf", "launch/echo.sh"]


def test_removed(published: Publisher, tmp_path: Path) -> None:
    published.remove("echo")
    published.remove("echo")
    assert files_below(tmp_path) == []
    assert (published.read("echo"), published.read_folders()) == (None, {})


@pytest.mark.parametrize("spoil", ["missing", "empty", "quote", "folder"])
def test_a_spoilt_launch_script_has_no_folder(published: Publisher, tmp_path: Path, spoil: str) -> None:
    path = launch_path(tmp_path, "echo")
    path.unlink()
    if spoil == "folder":
        path.mkdir()
    elif spoil != "missing":
        path.write_text({"empty": "", "quote": "cd -- '"}[spoil])
    assert published.read_folders() == {"echo": None}


def test_a_spoilt_section_is_as_good_as_none(published: Publisher, tmp_path: Path) -> None:
    conf_path(tmp_path, "echo").write_bytes(b"\xff")
    assert published.read("echo") is None


@pytest.mark.parametrize("plugin_id", ["missing", "x" * os.pathconf("/", "PC_NAME_MAX"), "a name\\"])
def test_what_was_never_published(publisher: Publisher, plugin_id: str) -> None:
    assert publisher.read(plugin_id) is None


def test_the_options_of_a_published_section(published: Publisher, tmp_path: Path) -> None:
    assert published.read_options("echo") == {"stopwaitsecs": "7"}
    assert published.read_options("nobody") == {}
    conf_path(tmp_path, "echo").write_bytes(b"\xff")
    assert published.read_options("echo") == {}
