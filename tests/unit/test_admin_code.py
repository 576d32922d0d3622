"""The admin code: from a variable, from a file, or generated; it is never repeated in a message."""

import stat
from pathlib import Path

import pytest
from plugvisor.admin_code import AdminCode, keep_admin_code, make_admin_code, read_admin_code
from plugvisor.cli.admin_code import find_admin_code
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings


def test_neither() -> None:
    assert read_admin_code({}) is None
    assert read_admin_code({"PLUGVISOR_ADMIN_CODE": "", "PLUGVISOR_ADMIN_CODE_FILE": ""}) is None


def test_a_variable() -> None:
    assert read_admin_code({"PLUGVISOR_ADMIN_CODE": "ABCD"}) == AdminCode("ABCD", is_new=False)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(b"  a-code-in-a-file\r\n\n")  # as an editor leaves it
    environ = {"PLUGVISOR_ADMIN_CODE_FILE": str(path)}
    assert read_admin_code(environ) == AdminCode("a-code-in-a-file")
    assert read_admin_code(environ | {"PLUGVISOR_ADMIN_CODE": "the-variable-wins"}) == AdminCode("the-variable-wins")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("abc", "it must have at least 4 characters"),
        (" ", "without blanks"),
        ("two words", "visible ASCII characters, without blanks"),
        ("line\nbreak", "visible ASCII characters"),
        ("naïve", "visible ASCII characters"),
        ("bell\x07", "visible ASCII characters"),
        ("\x7frubout", "visible ASCII characters"),
    ],
)
def test_an_invalid_code_is_rejected_and_not_repeated(tmp_path: Path, code: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^cannot use PLUGVISOR_ADMIN_CODE: ") as caught:
        read_admin_code({"PLUGVISOR_ADMIN_CODE": code})
    assert problem in str(caught.value)
    assert code.strip() not in str(caught.value) or not code.strip()

    path = tmp_path / "code"
    path.write_text(code)
    if not code.strip():
        problem = "at least 4 characters"  # surrounding blanks are not part of it
    with pytest.raises(ConfigurationError, match=r"^cannot use the admin code in ") as caught:
        read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(path)})
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "folder", "latin1"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin1").write_bytes(b"secret\xff")
    with pytest.raises(ConfigurationError, match=r"^cannot read PLUGVISOR_ADMIN_CODE_FILE '.*': ") as caught:
        read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(tmp_path / name)})
    assert repr(str(tmp_path / name)) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_generated_code_has_128_bits_and_is_new_each_time() -> None:
    codes = [make_admin_code() for _ in range(100)]
    assert len({code.value for code in codes}) == 100
    for code in codes:
        assert len(code.value) * 6 >= 128  # base64 has six bits a character
        assert code.is_new
        assert not code.is_weak
        assert read_admin_code({"PLUGVISOR_ADMIN_CODE": code.value}) == AdminCode(code.value)


def test_short_codes_are_weak() -> None:
    assert AdminCode("x" * 15).is_weak
    assert not AdminCode("x" * 16).is_weak


def test_no_repr_shows_it() -> None:
    code = AdminCode("ABCD")
    assert "ABCD" not in f"{code} {code!r} {[code]} {code!a}"


def test_a_code_file_is_readable_by_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "code"
    other = tmp_path / "other"
    other.write_text("other")
    path.symlink_to(other)  # neither followed nor kept
    for value in ("first-code", "second"):
        keep_admin_code(path, AdminCode(value))
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(path)}) == AdminCode(value)
    assert other.read_text() == "other"
    with pytest.raises(OSError, match="No such file"):
        keep_admin_code(tmp_path / "missing" / "code", AdminCode("ABCD"))


def test_serve_keeps_a_generated_code_and_names_its_file_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PLUGVISOR_ADMIN_CODE", "PLUGVISOR_ADMIN_CODE_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.from_env({"PLUGVISOR_RUN_DIR": str(tmp_path)})
    first, second = find_admin_code(settings), find_admin_code(settings)
    assert first.value == second.value
    line = f"admin code: in the file {tmp_path / 'admin_code'}\n"
    assert capsys.readouterr().out == line * 2, "the code itself is shown only in a terminal"
