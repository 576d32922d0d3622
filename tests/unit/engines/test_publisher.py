"""The generated files: written in one step, read back as they were, and damaged ones recognised."""

import json
import os
import resource
import shutil
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from plugvisor.engines.supervisord.extension.intents.boot_starts import STARTS_FILE
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
from plugvisor.engines.supervisord.program import GENERATED, Program, conf_path, launch_path
from plugvisor.engines.supervisord.publisher import Publisher

FOLDER = Path("/plugins/a folder\n; of any name \udcff")
PROGRAM = Program(
    "echo",
    f"{GENERATED}\n[program:echo]\nstopwaitsecs=7\n",
    Launch(str(FOLDER), ["true"], {"A": "中"}, ["PATH"]).render("/python"),
)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    publisher = Publisher(tmp_path)
    publisher.prepare()
    publisher.prepare()  # again changes nothing
    return publisher


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    publisher.write(PROGRAM)
    return publisher


def read_files(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def list_inodes(root: Path) -> list[int]:
    return [make(root, "echo").stat().st_ino for make in (conf_path, launch_path)]


FILES = {"conf.d/echo.conf": PROGRAM.section.encode(), "launch/echo.sh": PROGRAM.launch}


def test_what_is_written_is_read(published: Publisher, tmp_path: Path) -> None:
    assert read_files(tmp_path) == FILES
    assert published.read_folders() == Publisher(tmp_path).read_folders() == {"echo": FOLDER}


def test_the_files_are_for_this_user_alone(published: Publisher, tmp_path: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in tmp_path.rglob("*")}
    assert modes == {0}


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o600), (0o770, 0o640), (0o2775, 0o644)])
def test_whoever_may_look_into_a_folder_may_read_its_files(
    publisher: Publisher, tmp_path: Path, folder: int, file: int
) -> None:
    (tmp_path / "launch").chmod(folder)
    publisher.write(PROGRAM)
    assert stat.S_IMODE(launch_path(tmp_path, "echo").stat().st_mode) == file


def test_a_file_is_written_only_if_its_text_changes(published: Publisher, tmp_path: Path) -> None:
    before = list_inodes(tmp_path)
    published.write(PROGRAM)
    Publisher(tmp_path).write(PROGRAM)  # another process
    assert list_inodes(tmp_path) == before
    with conf_path(tmp_path, "echo").open() as old:
        published.write(replace(PROGRAM, section=f"{GENERATED}\nnew"))
        assert old.read() == PROGRAM.section, "a reader of the old file goes on reading it"
    assert read_files(tmp_path) == FILES | {"conf.d/echo.conf": f"{GENERATED}\nnew".encode()}
    assert list_inodes(tmp_path)[1] == before[1], "the launch file has not changed"


@pytest.mark.parametrize("path", [conf_path, launch_path])
@pytest.mark.parametrize("how", ["removed", "changed", "replaced"])
def test_a_file_that_somebody_has_touched_is_written_again(
    published: Publisher, tmp_path: Path, path: object, how: str
) -> None:
    touched = path(tmp_path, "echo")  # type: ignore[operator]
    before, data = touched.stat(), touched.read_bytes()
    if how == "changed":
        touched.write_bytes(data.replace(b"echo", b"ECHO") + b"#")
    else:
        touched.unlink()
    if how == "replaced":
        touched.write_bytes(data.replace(b"echo", b"xxxx"))
        os.utime(touched, ns=(before.st_atime_ns, before.st_mtime_ns))
    published.write(PROGRAM)
    assert read_files(tmp_path) == FILES


def test_the_launch_file_is_there_before_the_section_and_goes_after_it(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A section without its launch file would be a program that fails."""
    seen: list[list[str]] = []
    for name in ("replace", "unlink"):
        change = getattr(os, name)

        def record(*arguments: str, change: object = change) -> None:
            try:
                change(*arguments)  # type: ignore[operator]
            finally:
                files = sorted(name for name in read_files(tmp_path) if not name.endswith(".tmp"))
                if not seen or seen[-1] != files:
                    seen.append(files)

        monkeypatch.setattr(os, name, record)
    publisher.write(PROGRAM)
    publisher.remove("echo")
    assert [files for files in seen if files] == [["launch/echo.sh"], sorted(FILES), ["launch/echo.sh"]]


def test_a_failed_write_leaves_what_was_there(published: Publisher, tmp_path: Path) -> None:
    limit = max(len(data) for data in FILES.values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # to this process it is as if the disk were full
    try:
        for plugin_id in ("echo", "other"):
            with pytest.raises(OSError, match="File too large"):
                published.write(replace(PROGRAM, id=plugin_id, launch=b"x" * (limit + 1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_files(tmp_path) == FILES
    published.write(PROGRAM)
    assert read_files(tmp_path) == FILES


def test_what_a_killed_writer_has_left_is_in_nobodys_way(publisher: Publisher, tmp_path: Path) -> None:
    for path in (conf_path(tmp_path, "echo"), launch_path(tmp_path, "echo")):
        (path.parent / f".{path.name}.{os.getpid()}.tmp").write_text("half a fi")
    publisher.write(PROGRAM)
    assert read_files(tmp_path) == FILES


def test_a_reader_never_sees_part_of_a_file(publisher: Publisher, tmp_path: Path) -> None:
    texts = [f"{GENERATED}\n[program:echo]\n{letter * 100_000}\n" for letter in "ab"]
    publisher.write(replace(PROGRAM, section=texts[0]))
    is_over = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not is_over.is_set():
            seen.add(conf_path(tmp_path, "echo").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(100):
            publisher.write(replace(PROGRAM, section=texts[number % 2]))
    finally:
        is_over.set()
        reader.join()
    assert seen <= set(texts)


def test_removing(published: Publisher, tmp_path: Path) -> None:
    published.remove("echo")
    published.remove("echo")
    for never_published in ("missing", "x" * os.pathconf("/", "PC_NAME_MAX"), "a name\\"):
        published.remove(never_published)
    assert (read_files(tmp_path), published.read_folders()) == ({}, {})
    published.write(PROGRAM)
    assert read_files(tmp_path) == FILES


@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "a folder"])
def test_a_damaged_launch_file_has_no_folder(published: Publisher, tmp_path: Path, damage: str) -> None:
    path = launch_path(tmp_path, "echo")
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(b"" if damage == "empty" else PROGRAM.launch[:-20])
    assert published.read_folders() == {"echo": None}


def test_missing_files(published: Publisher, tmp_path: Path) -> None:
    assert published.find_missing(["echo"]) == []
    assert published.find_missing(["echo", "other"]) == ["other"]
    conf_path(tmp_path, "echo").unlink()
    assert published.find_missing(["echo"]) == ["echo"]
    shutil.rmtree(launch_path(tmp_path, "").parent)
    assert published.find_missing(["echo"]) == [], "they cannot be written while a folder is gone"
    published.prepare()
    assert published.find_missing(["echo"]) == ["echo"]


def test_what_is_started_at_boot(published: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no program, and writing it does not make the next look for missing files a thorough one."""
    path = launch_path(tmp_path, "").with_name(STARTS_FILE)
    assert published.find_missing(["echo"]) == []
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "lexists", lambda _: pytest.fail("every plugin's files are visited"))
        for starts in ({}, {"echo": True}, {"echo": True}, {"echo": False}):
            published.write_starts(starts)
            assert json.loads(path.read_bytes()) == starts
            assert published.find_missing(["echo"]) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert published.read_folders() == {"echo": FOLDER}
    assert published.list_foreign() == []
    launch_path(tmp_path, "echo").unlink()
    published.write_starts({"echo": True})
    assert published.find_missing(["echo"]) == ["echo"]


def test_files_that_are_deleted_while_they_are_written(
    published: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written again: the file that is not there is not the one that was written."""
    section = conf_path(tmp_path, "echo")
    replace_file = os.replace

    def replace_and_delete(source: str, target: str) -> None:
        replace_file(source, target)
        os.unlink(target)

    section.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace_and_delete)
        published.write(PROGRAM)
    assert not section.exists()
    published.write(PROGRAM)
    assert section.exists()
