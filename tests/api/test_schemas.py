"""`GET /schemas/plugin.toml.json`: what editors fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft7Validator

from tests.helpers.stack import run_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

PATH = "/schemas/plugin.toml.json"
FRONT_END = "http://editor.example"


@pytest.fixture(scope="module")
def plugvisor() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        made.environ |= {"PLUGVISOR_READ_AUTH": "viewer", "PLUGVISOR_CORS_ORIGINS": FRONT_END}
        made.up()
        yield made


def test_it_is_what_the_command_prints(plugvisor: PlugvisorStack) -> None:
    """For everyone: an editor sends no token."""
    response = plugvisor.http.get(PATH)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/schema+json"
    Draft7Validator.check_schema(response.json())
    assert plugvisor.command("schema").stdout == response.text


def test_it_is_sent_again_only_if_it_has_changed(plugvisor: PlugvisorStack) -> None:
    first = plugvisor.http.get(PATH)
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = plugvisor.http.get(PATH, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert plugvisor.http.get(PATH, headers={"If-None-Match": '"other"'}).text == first.text


def test_an_editor_in_a_browser_can_read_it(plugvisor: PlugvisorStack) -> None:
    response = plugvisor.http.get(PATH, headers={"Origin": FRONT_END})
    assert response.headers["Access-Control-Allow-Origin"] == FRONT_END
