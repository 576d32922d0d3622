"""A manifest's metadata: taken if it has the right type, and never a reason to reject the manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.models.manifest import Metadata
from plugvisor.plugins.manifest import parse_manifest
from plugvisor.plugins.metadata import read_metadata

MANIFESTS = Path(__file__).parents[1] / "manifests"
PLAIN = '[plugin]\nid = "x"\ncommand = ["true"]\n'


def read_real(name: str) -> Metadata:
    return parse_manifest((MANIFESTS / name / "plugin.toml").read_bytes()).metadata


def test_real_manifests() -> None:
    assert read_real("testPlugin") == Metadata(
        author={"name": "Test Author", "email": "test.author@example.com", "url": "https://example.com"},
        sdk_recommended=">=0.1.0,<0.2.0",
        sdk_supported=">=0.1.0,<0.3.0",
        sdk_untested=">=0.3.0,<0.4.0",
        sdk_conflicts=("<0.1.0", ">=0.4.0"),
    )
    assert read_real("web_interface").dependencies == (
        {
            "id": "timer_service",
            "recommended": ">=1.0.0,<2.0.0",
            "supported": ">=1.0.0,<3.0.0",
            "untested": ">=3.0.0,<4.0.0",
            "conflicts": ("<1.0.0", ">=4.0.0"),
        },
    )
    assert read_real("web_interface").author is None  # its table is empty
    assert read_real("mijia").author == {"name": "N.E.K.O Team"}


def test_a_manifest_without_metadata() -> None:
    assert parse_manifest(PLAIN.encode()).metadata == Metadata()


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ('author = "Somebody"', Metadata(author={"name": "Somebody"})),
        ("author = 3\nsdk = [1]\ndependency = false", Metadata()),
        ('[plugin.author]\nname = 1\nemail = "a@b"', Metadata(author={"email": "a@b"})),
        ('[plugin.sdk]\nversion = "1"\nsupported = ["x"]\nconflicts = "<1"', Metadata(sdk_version="1")),
        ('[plugin.sdk]\nconflicts = ["<1", 2, [3], ">4"]', Metadata(sdk_conflicts=("<1", ">4"))),
        ('[plugin.dependency]\nid = "one"', Metadata(dependencies=({"id": "one"},))),
        (
            'dependency = [1, "x", {}, {id = "a", providers = [1], x = 2}]',
            Metadata(dependencies=({"id": "a", "providers": ()},)),
        ),
    ],
)
def test_a_value_of_another_type_is_left_out(text: str, metadata: Metadata) -> None:
    assert parse_manifest((PLAIN + text).encode()).metadata == metadata


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["name", "id", "conflicts"]), inner),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.dictionaries(st.sampled_from(["author", "sdk", "dependency"]), JSON_LIKE))
def test_nothing_is_raised(plugin: dict[str, object]) -> None:
    read_metadata(plugin)
