"""What the command line means, and what is suggested if it means nothing."""

from __future__ import annotations

import pytest
from plugvisor import VERSION
from plugvisor.cli.main import VERBS, main
from plugvisor.cli.parsing.parser import OTHER_NAMES, make_parser, parse


def ending(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line of what is said of a command line that means nothing."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: plugvisor ")
    return printed.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["strat", "x"], "plugvisor: error: there is no command 'strat'; did you mean 'start'?"),
        (["zzzz"], "plugvisor: error: there is no command 'zzzz'; `plugvisor --help` lists them"),
        (["identity", "lst"], "plugvisor identity: error: there is no command 'lst'; did you mean 'list'?"),
        (["confg", "get"], "plugvisor: error: there is no command 'confg'; did you mean 'config'?"),
        (["--verison"], "plugvisor: error: unrecognized arguments: --verison; did you mean '--version'?"),
        (["ls", "--jsno"], "plugvisor ls: error: unrecognized arguments: --jsno; did you mean '--json'?"),
        (["ls", "--urll=x"], "plugvisor ls: error: unrecognized arguments: --urll=x; did you mean '--url'?"),
        (["--url=x", "ls"], "plugvisor: error: --url stands after the command, as in: plugvisor ls --url …"),
        (["--token", "x", "ls"], "plugvisor: error: --token stands after the command, as in: plugvisor ls --token …"),
        (["start", "web", ""], "plugvisor start: error: argument ID: it is empty"),
        (["versions", ""], "plugvisor versions: error: argument ID: it is empty"),
        (
            ["identity", "add", "x", "--role", "viewer", "--expires="],
            "plugvisor identity add: error: argument --expires: it is empty",
        ),
        (["install", "x.zip", "--sha256", ""], "plugvisor install: error: argument --sha256: it is empty"),
        (
            ["config", "set", "x", "-", "--if-match", ""],
            "plugvisor config set: error: argument --if-match: it is empty",
        ),
        (["pack", ""], "plugvisor pack: error: argument FOLDER: it is empty"),
        (["whoami", "--url="], "plugvisor whoami: error: argument --url: it is empty"),
        (["whoami", "x"], "plugvisor whoami: error: unrecognized arguments: x"),
        (
            ["identity", "add", "x", "--role", "admn"],
            "plugvisor identity add: error: argument --role: invalid choice: 'admn'; did you mean 'admin'?",
        ),
        (
            ["completion", "fsh"],
            "plugvisor completion: error: argument SHELL: invalid choice: 'fsh'; did you mean 'fish'?",
        ),
        (["restart", "x"], "plugvisor: error: there is no command 'restart'; did you mean 'reload'?"),
        (["monit"], "plugvisor: error: there is no command 'monit'; did you mean 'top'?"),
        (
            ["identity", "delete", "x"],
            "plugvisor identity: error: there is no command 'delete'; `plugvisor identity --help` lists them",
        ),
    ],
)
def test_what_may_have_been_meant(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert ending(capsys, *words) == said


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(f" {verb.name.split()[0]} " in printed.err for verb in VERBS)


def test_what_other_process_managers_call_a_command() -> None:
    names = {verb.name for verb in VERBS}
    assert OTHER_NAMES.keys().isdisjoint(names)
    assert names.issuperset(OTHER_NAMES.values())


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["identity", "--help"], *([*verb.name.split(), "--help"] for verb in VERBS)):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: plugvisor {' '.join(words[:-1])}".rstrip())
    with pytest.raises(SystemExit):
        main(["-V"])
    assert capsys.readouterr().out == f"plugvisor {VERSION}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "-w", "a", "b"],
        ["journal", "--since=1h", "-n5", "-f"],
        ["identity", "add", "--role", "viewer", "x"],
        ["stop", "--all", "--dependents", "--url", "http://x", "--token", "@y"],
        ["ctl", "status", "-x"],
        ["image", "build"],
    ],
)
def test_one_verb_alone_is_parsed_as_all_of_them_would(words: list[str]) -> None:
    assert parse(words) == make_parser().parse_args(words)
    assert parse(words).verb.name == " ".join(words[: 2 if words[0] in ("identity", "image") else 1])
