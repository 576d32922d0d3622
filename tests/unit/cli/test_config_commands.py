"""`plugvisor config get`, `set` and `edit`, against a scripted service."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.main import main

from tests.helpers.scripted_server import ScriptedServer, make_problem
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = '[plugin]\r\nid = "echo" # 你好\n'.encode()
WRITTEN = {
    "plugin_id": "echo", "etag": '"new"', "changed": True, "reload_needed": True, "message": "it is written; reload it",
    "warnings": ["a warning\x1b"],
}  # fmt: skip
DONE = 200, json.dumps(WRITTEN).encode()


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the editor to a script that gets the file as `$1`."""

    def set_editor(script: str) -> None:
        editor = tmp_path / "an editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        monkeypatch.setenv("VISUAL", f"'{editor}' -w")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("sys.stdin", io.StringIO())
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    return set_editor


def find_texts(folder: Path) -> list[Path]:
    return list(folder.glob("plugvisor-*/plugin.toml"))


def test_get(server: ScriptedServer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    server.answers = [(200, TEXT), (200, TEXT), (200, b'{"etag": "x"}')]
    assert main(["config", "get", "echo"]) == 0
    assert capfdbinary.readouterr().out == TEXT, "byte for byte"
    assert main(["config", "get", "echo", "--earlier", "2"]) == 0
    assert main(["config", "get", "echo", "--json"]) == 0
    assert [request.path for request in server.requests] == [
        "/plugin/echo/config/toml", "/plugin/echo/config/toml?earlier=2", "/plugin/echo/config",
    ]  # fmt: skip


def test_a_terminal_gets_no_control_characters(server: ScriptedServer) -> None:
    server.answers = [(200, b"a\tb\x1b[2J\n")]
    controller, terminal = pty.openpty()
    try:
        command = [sys.executable, "-m", "plugvisor", "config", "get", "echo"]
        subprocess.run(command, stdout=terminal, timeout=DEADLINE_SECONDS, check=True)
        assert re.sub(rb" +", b"\t", os.read(controller, 1000)) == b"a\tb\\x1b[2J\r\n"
    finally:
        os.close(controller)
        os.close(terminal)


def test_set(server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.toml").write_bytes(TEXT)
    server.answers = [DONE, (200, b'{"status": "running"}')]
    assert main(["config", "set", "echo", str(tmp_path / "new.toml"), "--if-match", '"old"', "--reload"]) == 0
    put, reload = server.requests
    assert (put.method, put.path, put.body) == ("PUT", "/plugin/echo/config/toml", TEXT)
    assert (put.headers["If-Match"], put.headers["Content-Type"]) == ('"old"', "application/toml")
    assert (reload.method, reload.path) == ("POST", "/plugin/echo/reload?wait=20")
    assert capsys.readouterr() == ("it is written\n'echo' is reloaded, and running\n", "warning: a warning\\x1b\n")


def test_set_from_standard_input(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [DONE]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
    assert main(["config", "set", "echo", "-"]) == 0
    assert server.requests[0].body == TEXT
    assert "If-Match" not in server.requests[0].headers


def test_what_cannot_be_set(server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "large").write_bytes(b"#" * (256 * 1024 + 1))
    assert main(["config", "set", "echo", str(tmp_path / "large")]) == 2
    assert "at most 256 KiB" in capsys.readouterr().err
    assert main(["config", "set", "echo", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert server.requests == []
    (tmp_path / "new.toml").write_bytes(TEXT)
    server.answers = [(422, make_problem(detail="line 3, column 1: no such key", line=3))]
    assert main(["config", "set", "echo", str(tmp_path / "new.toml")]) == 1
    assert capsys.readouterr().err == "plugvisor: line 3, column 1: no such key\n"


# -- edit


def test_edit(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('test "$1" = -w && echo "# more" >>"$2"')
    server.headers = {"ETag": '"old"'}
    server.answers = [(200, TEXT), DONE]
    assert main(["config", "edit", "echo"]) == 0
    assert server.requests[1].body == TEXT + b"# more\n"
    assert server.requests[1].headers["If-Match"] == '"old"', "nobody else's change is overwritten"
    assert capsys.readouterr().out == "it is written; reload it\n"
    assert find_texts(tmp_path) == [], "it may hold secrets"


@pytest.mark.parametrize(("script", "status"), [("true", 0), ('echo x >>"$2"; exit 1', 1)])
def test_nothing_is_changed(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], script: str, status: int
) -> None:
    edit(script)
    server.answers = [(200, TEXT)]
    assert main(["config", "edit", "echo"]) == status
    assert [request.method for request in server.requests] == ["GET"]
    assert find_texts(tmp_path) == []


@pytest.mark.parametrize("status", [409, 503])
def test_a_text_that_is_rejected_is_kept(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    edit('echo "# mine" >>"$2"')
    server.answers = [(200, TEXT), (status, make_problem(detail="not like this"))]
    assert main(["config", "edit", "echo"]) == 1
    [kept] = find_texts(tmp_path)
    assert kept.read_bytes() == TEXT + b"# mine\n"
    assert capsys.readouterr().err.splitlines() == [
        "plugvisor: not like this", f"plugvisor: nothing was changed; your text is in {str(kept)!r}",
    ]  # fmt: skip
    assert kept.parent.stat().st_mode & 0o077 == 0


def test_a_text_is_kept_if_the_service_has_gone(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('echo "# mine" >>"$2"')
    server.answers = [(200, TEXT), (200, b"this is no Plugvisor")]
    assert main(["config", "edit", "echo"]) == 2
    [kept] = find_texts(tmp_path)
    assert kept.read_bytes() == TEXT + b"# mine\n"
    assert capsys.readouterr().err.startswith(f"plugvisor: your text is in {str(kept)!r}\n")


def test_without_a_terminal_an_editor_must_be_named(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", None)
    assert main(["config", "edit", "echo"]) == 2
    assert "EDITOR must name a program" in capsys.readouterr().err
    assert server.requests == []


def test_a_text_that_the_editor_has_removed(
    server: ScriptedServer, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('rm "$2"')
    server.answers = [(200, TEXT)]
    assert main(["config", "edit", "echo"]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_text_that_is_too_large_is_kept(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('head -c 300000 /dev/zero | tr "\\0" "#" >"$2"')
    server.answers = [(200, TEXT)]
    assert main(["config", "edit", "echo"]) == 2
    [kept] = find_texts(tmp_path)
    assert kept.read_bytes() == b"#" * 300000
    printed = capsys.readouterr().err
    assert printed.startswith(f"plugvisor: your text is in {str(kept)!r}\n")
    assert "at most 256 KiB" in printed


def test_a_mistake_opens_the_editor_again(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason at the top, and the line that it has there; the comments are no part of what is written."""
    edit('if grep -q wrong "$2"; then cp "$2" "$0.shown"; sed -i s/wrong/right/ "$2"; else echo wrong >>"$2"; fi')
    server.answers = [(200, TEXT), (422, make_problem(detail="plugin.toml line 3: a\x1bb", line=3)), DONE]
    assert main(["config", "edit", "echo"]) == 0
    assert [request.body for request in server.requests[1:]] == [TEXT + b"wrong\n", TEXT + b"right\n"]
    shown = (tmp_path / "an editor.shown").read_bytes().splitlines(keepends=True)
    assert shown[0] == b"# plugvisor: plugin.toml line 3: a\\x1bb (line 5 here)\n"
    assert shown[1].startswith(b"# plugvisor: change it and save it")
    assert b"".join(shown[2:]) == TEXT + b"wrong\n"
    assert shown[4] == b"wrong\n"
    assert "plugvisor: plugin.toml line 3: a\\x1bb\n" in capsys.readouterr().err
    assert find_texts(tmp_path) == []


@pytest.mark.parametrize("script", [': >"$2"', "exit 1", 'printf "\\n \\n" >"$2"'])
def test_a_mistake_is_given_up(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], script: str
) -> None:
    edit(f'if grep -q mine "$2"; then {script}; else echo mine >>"$2"; fi')
    server.answers = [(200, TEXT), (422, make_problem(detail="not like this"))]
    assert main(["config", "edit", "echo"]) == 1
    assert len(server.requests) == 2
    assert find_texts(tmp_path) == []


def test_a_mistake_that_is_saved_again_is_kept(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('grep -q mine "$2" || echo mine >>"$2"')
    server.answers = [(200, TEXT), (422, make_problem(detail="not like this"))]
    assert main(["config", "edit", "echo"]) == 1
    [kept] = find_texts(tmp_path)
    assert kept.read_bytes() == TEXT + b"mine\n", "without our comments"
    assert "nothing was changed; your text is in" in capsys.readouterr().err
    assert kept.parent.stat().st_mode & 0o077 == 0


THEIRS = TEXT + b"theirs = 1\n"
CONFLICT = [(200, TEXT), (412, make_problem(detail="it is no longer the one")), (200, THEIRS)]


def test_somebody_elses_change_is_not_overwritten_unasked(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('echo "# mine" >>"$2"')
    server.answers = [*CONFLICT]
    assert main(["config", "edit", "echo"]) == 1
    [kept] = find_texts(tmp_path)
    assert kept.read_bytes() == TEXT + b"# mine\n"
    assert "+theirs = 1\n" in capsys.readouterr().err
    assert [request.method for request in server.requests] == ["GET", "PUT", "GET"]


def test_a_text_is_kept_if_the_plugin_has_gone(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit('echo "# mine" >>"$2"')
    server.answers = [*CONFLICT[:2], (404, make_problem(detail="there is no plugin 'echo'"))]
    assert main(["config", "edit", "echo"]) == 1
    [kept] = find_texts(tmp_path)
    assert kept.read_bytes() == TEXT + b"# mine\n"
    assert str(kept) in capsys.readouterr().err


def answer_question(answer: bytes) -> subprocess.CompletedProcess[str]:
    """Run `plugvisor config edit` on a terminal, on which a person has typed already."""
    controller, terminal = pty.openpty()
    try:
        os.write(controller, answer)
        command = [sys.executable, "-m", "plugvisor", "config", "edit", "echo"]
        return subprocess.run(
            command, stdin=terminal, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )
    finally:
        os.close(controller)
        os.close(terminal)


def test_somebody_elses_change_is_overwritten_if_one_wants(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None]
) -> None:
    edit('echo "# mine" >>"$2"')
    server.headers = {"ETag": '"theirs"'}
    server.answers = [*CONFLICT, DONE]
    done = answer_question(b"o\n")
    assert done.returncode == 0, done.stderr
    assert server.requests[3].body == TEXT + b"# mine\n"
    assert server.requests[3].headers["If-Match"] == '"theirs"'
    assert find_texts(tmp_path) == []


def test_somebody_elses_change_is_taken_into_ones_own(
    server: ScriptedServer, tmp_path: Path, edit: Callable[[str], None]
) -> None:
    edit('if grep -q "^# plugvisor: +theirs = 1$" "$2"; then echo "theirs = 1" >>"$2"; else echo "# mine" >>"$2"; fi')
    server.answers = [*CONFLICT, DONE]
    done = answer_question(b"e\n")
    assert done.returncode == 0, done.stderr
    assert server.requests[3].body == TEXT + b"# mine\ntheirs = 1\n"


def test_no_editor(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("VISUAL", "vi 'x")
    assert main(["config", "edit", "echo"]) == 2
    assert "cannot use VISUAL" in capsys.readouterr().err
    monkeypatch.setenv("VISUAL", "no-such-editor")
    server.answers = [(200, TEXT)]
    assert main(["config", "edit", "echo"]) == 2
    assert "cannot run the editor 'no-such-editor'" in capsys.readouterr().err
    assert find_texts(tmp_path) == []
