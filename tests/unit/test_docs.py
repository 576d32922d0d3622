"""The documents against the code: a reference table has every row, no link leads nowhere, and words are plain."""

import asyncio
import json
import re
from http import HTTPStatus
from pathlib import Path

import pytest
from plugvisor.api.dialects.neko.routes import ROUTES as DIALECT_ROUTES
from plugvisor.api.endpoint import Route as RouteRow
from plugvisor.api.problems import PROBLEMS, respond_to_error
from plugvisor.api.routes import READS, ROUTES, make_routes
from plugvisor.cli.main import VERBS
from plugvisor.models.lifecycle import (
    Check,
    Limits,
    LogOptions,
    Placement,
    PythonRequirement,
    Requirement,
    Restart,
    Watch,
)
from plugvisor.models.manifest import TABLES, SupervisorOptions
from plugvisor.plugins.manifest import parse_manifest
from plugvisor.variables import VARIABLES
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
REFERENCE = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = [ENGLISH, CHINESE, "CHANGELOG.md", *REFERENCE]
BASIC_ENDPOINTS = (
    "GET /plugins", "GET /plugin/status", "POST /plugin/{plugin_id}/start", "POST /plugin/{plugin_id}/stop",
    "POST /plugin/{plugin_id}/reload",
)  # fmt: skip
MOST_README_LINES = 200
WORDS_TO_AVOID = (
    "is told", "are told", "tells", "whoever", "nobody may", "so long as", "as far as", "no more than so",
    "left behind", "owed", "strays?", "the family", "families", "take note", "takes note", "be heard",
    "portable mode", "without the extension",
)  # fmt: skip
"""Patterns. What to write instead stands in docs/contributing.md: short sentences with the field's own nouns."""
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MINIMAL_MANIFEST = b'[plugin]\nid = "x"\ncommand = ["y"]\n'


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_prose(name: str) -> str:
    """A document without its code blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", CODE_BLOCK.sub("", read(name)))


def read_rows(name: str, heading: str = "") -> list[list[str]]:
    """The rows of the tables in a document, or below one of its headings, as cells without surrounding backticks."""
    text = read(name)
    if heading:
        text = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in text.splitlines() if line.startswith("|")]
    return [[re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in row] for row in rows if set(row[0]) != {"-"}]


def find_row(rows: list[list[str]], first_cell: str) -> list[str]:
    [row] = [row for row in rows if row[0] == first_cell]
    return row


# -- reference tables


def test_settings() -> None:
    documented = [row for row in read_rows("docs/configuration.md") if row[0].startswith("PLUGVISOR_")]
    assert documented == [[variable.name, variable.default, variable.meaning] for variable in VARIABLES]


def name_route(route: BaseRoute) -> str:
    assert isinstance(route, Route | WebSocketRoute)
    [method] = ["WS"] if isinstance(route, WebSocketRoute) else (route.methods or set()) - {"HEAD"}
    return f"{method} {route.path}"


ENDPOINTS = sorted(name_route(route) for route in make_routes())


def test_every_endpoint_has_its_row_and_its_section() -> None:
    documented = [row[0] for row in read_rows("docs/api.md", "## Endpoints")][1:]
    assert sorted(documented) == ENDPOINTS
    sections = re.findall("^### `(.*)`$", read("docs/api.md"), re.MULTILINE)
    assert sorted(sections) == ENDPOINTS


def test_every_endpoint_of_the_dialect() -> None:
    documented = [row[0] for row in read_rows("docs/dialects.md", "## Endpoints")][1:]
    assert sorted(documented) == sorted([*(f"{route.method} {route.path}" for route in DIALECT_ROUTES), "WS /ws/admin"])


def describe_role(route: RouteRow) -> str:
    """What the table says of the role that a route needs."""
    if route.role_setting == READS:
        return "open"
    return "[viewer or none](configuration.md)" if route.role_setting else route.role or "none"


def test_who_may_use_an_endpoint() -> None:
    rows = read_rows("docs/api.md", "## Endpoints")
    for route in ROUTES:
        assert find_row(rows, f"{route.method} {route.path}")[2] == describe_role(route), route.path


def list_problems() -> set[tuple[str, str]]:
    """Status and code of every error that a client can get."""
    problems = {(str(HTTPStatus(status).value), code) for status, code in PROBLEMS.values()}
    for error in (HTTPException(404), HTTPException(405), RuntimeError()):
        response = asyncio.run(respond_to_error(Request({"type": "http"}), error))
        problems.add((str(response.status_code), json.loads(bytes(response.body))["code"]))
    return problems


def test_errors() -> None:
    rows = read_rows("docs/api.md", "## Errors")
    documented = [(row[0], row[1]) for row in rows if re.fullmatch("[0-9]{3}", row[0])]
    assert sorted(documented) == sorted(list_problems())


STRUCTS = {
    "plugin_runtime.supervisor": SupervisorOptions,
    "plugin_runtime.checks.<name>": Check,
    "plugin_runtime.depends_on.<id>": Requirement,
    "plugin_runtime.restart": Restart,
    "plugin_runtime.limits": Limits,
    "plugin_runtime.python": PythonRequirement,
    "plugin_runtime.placement": Placement,
    "plugin_runtime.logs": LogOptions,
    "plugin_runtime.watch": Watch,
}


def read_manifest_keys() -> dict[tuple[str, str], str]:
    """The documented default of each key of each table."""
    documented = {}
    table = ""
    for cell, _, default, _ in read_rows("docs/manifest.md", "## Keys")[1:]:
        first = re.match(r"`\[([\w.<>]+)\]` `?([\w ]+)", cell)  # a table's name stands before its first key
        table = first[1] if first else table
        documented[table, first[2] if first else cell] = default
    return documented


def test_manifest_keys() -> None:
    expected = {(table, key) for table, struct in STRUCTS.items() for key in struct.__struct_fields__}
    tables = {"environment", "environment_files"} | {name.split(".")[1] for name in STRUCTS}
    expected |= {(table, key) for table, keys in TABLES.items() for key in keys if key not in tables}
    assert read_manifest_keys().keys() == expected | {
        ("plugin_runtime.environment", "any name"),
        ("plugin_runtime.environment_files", "any name"),
    }


def test_manifest_defaults() -> None:
    documented = {
        place: default
        for place, default in read_manifest_keys().items()
        if re.fullmatch(r'".*"|[\d.]+|\[.*\]|true|false', default)  # else it is required, computed or has none
    }
    assert len(documented) > 20
    manifest = parse_manifest(MINIMAL_MANIFEST)
    for (table, key), default in documented.items():
        value = getattr(STRUCTS[table](), key) if table in STRUCTS else getattr(manifest, key)
        assert json.dumps(value) == default, key


def test_commands() -> None:
    documented = [row[0].split()[1:] for row in read_rows("docs/command.md", "## Commands")[1:]]
    for verb in VERBS:  # a row begins with it
        assert len([words for words in documented if words[: len(verb.name.split())] == verb.name.split()]) == 1, (
            verb.name
        )
    assert len(documented) == len(VERBS)


def test_the_extension_is_configured_as_documented() -> None:
    documented = re.search(r"^\[rpcinterface:plugins\]\n(supervisor\..*)$", read("docs/operations.md"), re.MULTILINE)
    assert documented
    assert documented[1] in read("supervisor_conf/supervisord.conf").splitlines()


# -- the two READMEs


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_a_readme_is_short_and_lists_every_document(name: str) -> None:
    assert len(read(name).splitlines()) <= MOST_README_LINES
    for document in REFERENCE:
        assert f"]({document})" in read(name), document


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
@pytest.mark.parametrize("route", BASIC_ENDPOINTS)
def test_a_readme_shows_the_five_endpoints(name: str, route: str) -> None:
    assert f"`{route}`" in read(name)
    assert route in ENDPOINTS


def test_both_readmes_have_the_same_form() -> None:
    """A paragraph is one line, so that the two can be read side by side."""

    def outline(name: str) -> list[str]:
        one_line_per_block = CODE_BLOCK.sub(lambda block: block[0].replace("\n", "\r"), read(name))
        marks = [re.match(r"```.*|#+ |\||- |\d\. |", line) for line in one_line_per_block.split("\n")]
        return [mark[0] if mark[0] or not mark.string else "text" for mark in marks if mark]

    assert outline(CHINESE) == outline(ENGLISH)


# -- links and words


def make_anchors(name: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall("^#+ (.*)$", CODE_BLOCK.sub("", read(name)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read_prose(name)):
        path, _, anchor = target.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        linked = (ROOT / name).parent / path if path else ROOT / name
        assert linked.exists(), target
        if anchor:
            assert anchor in make_anchors(str(linked.resolve().relative_to(ROOT))), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_in_code_spans_exist(name: str) -> None:
    roots = ("", "service/plugvisor/", "tests/")
    for path in re.findall(r"`((?:[\w.]+/)+[\w.]*)`", read(name)):
        known = {entry.name for root in roots for entry in (ROOT / root).iterdir()} - {"build", "dist"}
        if path.split("/")[0] in known:
            assert any((ROOT / root / path).exists() for root in roots), path


@pytest.mark.parametrize("name", [document for document in DOCUMENTS if document != CHINESE])
def test_words(name: str) -> None:
    assert not re.findall(rf"\b(?:{'|'.join(WORDS_TO_AVOID)})\b", read_prose(name), re.IGNORECASE)
