"""The linear parser reads the same out of any files as supervisor's own does."""

from __future__ import annotations

import configparser
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from plugvisor.engines.supervisord.extension.patches.config_parser import expand_here, read
from supervisor import options

NAMES = st.sampled_from(["program:a", "program:b", "group:a", "supervisord", "DEFAULT", "program:a ", "ä"])
KEYS = st.sampled_from(["command", "priority", "Command", "environment", "directory"])
VALUES = st.sampled_from(
    ["", "1", "%(here)s/x", "%(here)s %(here)s", "a;b", "a ;b", "a #b", "%%x", "two\n  lines", 'A="b",C="d"', "ä", "="]
)
SECTIONS = st.tuples(NAMES, st.lists(st.tuples(KEYS, VALUES), max_size=4)).map(
    lambda section: f"[{section[0]}]\n" + "".join(f"{key}={value}\n" for key, value in section[1])
)
LINES = st.sampled_from(
    ["; a comment\n", "# another\n", "\n", "  indented\n", "no value\n", "[broken\n", "key=value\n"]
)
FILES = st.lists(st.one_of(SECTIONS, SECTIONS, SECTIONS, LINES), max_size=6).map("".join)


def load_supervisors_own() -> Any:
    """supervisor's parser, whether or not this process has replaced its methods."""
    spec = importlib.util.find_spec(options.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.UnhosedConfigParser


SUPERVISORS_OWN = load_supervisors_own()
LINEAR = type("LinearParser", (SUPERVISORS_OWN,), {"read": read, "expand_here": expand_here})


def parse(parser: Any, paths: list[Path]) -> Any:
    """What a parser reads out of several files, read as `ServerOptions.read_config` reads them."""
    found = []
    try:
        for path in paths:
            found += parser.read(str(path))
            parser.expand_here(str(path.parent))
    except (configparser.Error, UnicodeDecodeError) as error:
        return type(error)
    contents = [(section, list(parser.items(section))) for section in parser.sections()]
    return found, contents, dict(parser.defaults()), parser.section_to_file


@settings(max_examples=200)
@given(st.lists(FILES, min_size=1, max_size=4))
def test_it_reads_the_same(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        paths = []
        for number, text in enumerate(texts):
            paths.append(Path(root, f"folder{number % 2}", f"{number}.conf"))
            paths[-1].parent.mkdir(exist_ok=True)
            paths[-1].write_text(text)
        paths.append(Path(root, "missing.conf"))
        assert parse(LINEAR(), paths) == parse(SUPERVISORS_OWN(), paths)


def test_what_is_no_regular_file_is_skipped(tmp_path: Path) -> None:
    """A pipe would block supervisord until somebody writes to it."""
    os.mkfifo(tmp_path / "pipe.conf")
    (tmp_path / "endless.conf").symlink_to("/dev/zero")
    (tmp_path / "folder.conf").mkdir()
    (tmp_path / "file.conf").write_text("[program:a]\ncommand=x\n")
    (tmp_path / "link.conf").symlink_to("file.conf")
    names = ("pipe.conf", "endless.conf", "folder.conf", "missing.conf", "link.conf")
    found, contents, _, _ = parse(LINEAR(), [tmp_path / name for name in names])
    assert found == [str(tmp_path / "link.conf")]
    assert contents == [("program:a", [("command", "x")])]
