"""Both READMEs against the code: nothing that is documented may be missing, misspelt or different in one of them."""

import argparse
import asyncio
import json
import re
from pathlib import Path

import pytest
from plugvisor.api.problems import PROBLEMS, respond_to_error
from plugvisor.api.routes import make_routes
from plugvisor.cli import main as command
from plugvisor.settings import VARIABLES
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
in_both = pytest.mark.parametrize("name", [ENGLISH, CHINESE])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_blocks(name: str) -> list[str]:
    """The fenced code blocks, fences and languages included."""
    return re.findall(r"^```.*?^```$", read(name), re.MULTILINE | re.DOTALL)


def read_rows(name: str) -> list[list[str]]:
    """Every table's rows as their cells, without the backticks around a whole cell."""
    lines = [line for line in read(name).splitlines() if line.startswith("|")]
    return [[re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|")] for line in lines]


def read_settings(name: str) -> list[list[str]]:
    return [row for row in read_rows(name) if row[0].startswith("PLUGVISOR_")]


def make_problems() -> set[tuple[str, str]]:
    """Status and code of every error that a client may meet."""
    problems = {(str(status.value), code) for status, code in PROBLEMS.values()}
    for error in (HTTPException(404), HTTPException(405), RuntimeError()):
        response = asyncio.run(respond_to_error(Request({"type": "http"}), error))
        problems.add((str(response.status_code), json.loads(bytes(response.body))["code"]))
    return problems


def list_subcommands() -> list[str]:
    actions = command._make_parser()._actions
    [subcommands] = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    return list(subcommands.choices)


def test_settings_in_english() -> None:
    assert read_settings(ENGLISH) == [[variable.name, variable.default, variable.meaning] for variable in VARIABLES]


def test_settings_in_chinese() -> None:
    documented = [row[:2] for row in read_settings(CHINESE)]
    assert documented == [[variable.name, variable.default] for variable in VARIABLES]


@in_both
@pytest.mark.parametrize("route", make_routes(), ids=lambda route: route.name)
def test_every_route_has_its_section(name: str, route: Route | WebSocketRoute) -> None:
    [method] = ["WS"] if isinstance(route, WebSocketRoute) else route.methods - {"HEAD"}
    assert f"### `{method} {route.path}`" in read(name).splitlines()
    assert [f"{method} {route.path}"] in [row[:1] for row in read_rows(name)]


@in_both
def test_errors(name: str) -> None:
    documented = [(row[0], row[1]) for row in read_rows(name) if re.fullmatch("[45][0-9][0-9]", row[0])]
    assert sorted(documented) == sorted(make_problems())


@in_both
@pytest.mark.parametrize("subcommand", list_subcommands())
def test_subcommands(name: str, subcommand: str) -> None:
    assert any(re.match(rf"plugvisor {subcommand}\b", row[0]) for row in read_rows(name))


def test_code_blocks_are_the_same() -> None:
    assert read_blocks(ENGLISH)
    assert read_blocks(CHINESE) == read_blocks(ENGLISH)


def test_both_have_the_same_form() -> None:
    """A paragraph is one line, so that the two can be read beside each other."""

    def outline(name: str) -> list[str]:
        marks = [re.match(r"#+ |\||- |\d\. |```|", line) for line in read(name).splitlines()]
        return [mark[0] if mark[0] or not mark.string else "text" for mark in marks if mark]

    assert outline(CHINESE) == outline(ENGLISH)


@pytest.mark.parametrize("name", [ENGLISH, CHINESE, "CHANGELOG.md"])
def test_links(name: str) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", read(name), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        assert (ROOT / path).exists(), target
        if anchor and not path:  # the headings that are linked to are one word
            assert anchor in [line.strip("# ").lower() for line in read(name).splitlines() if line.startswith("#")]
