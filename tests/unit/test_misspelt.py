"""Keys that are probably misspelt: shown with the nearest known one, without any value."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugvisor.plugins.manifest import parse_manifest, read_manifest

HEAD = '[plugin]\nid = "echo"\ncommand = "true"\n'
SAMPLES = sorted(Path(__file__).parents[1].glob("manifests/*")) + sorted(Path(__file__).parents[2].glob("plugins/*"))


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[plugin_runtime.enviroment]\nA = 's3cret'\n", "line 4: a key of [plugin_runtime] .* `environment`"),
        ("[plugin_runtime]\nautostart = false\n", "line 5: a key of [plugin_runtime] .* `auto_start`"),
        ("[plugin_runtime]\nreplica = 2\n", "line 5: a key of [plugin_runtime] .* `replicas`"),
        ("[plugin_runtime.placements]\nmax_per_node = 1\n", "line 4: a key of [plugin_runtime] .* `placement`"),
        ("descripton = 's3cret'\n", "line 4: a key of [plugin] .* `description`"),
        (
            "[plugin_runtime]\nauto_start = true\nautostart = false\n",
            "line 6: a key of [plugin_runtime] .* `auto_start`",
        ),
        ("[plugin.author]\ne-mail = 's3cret'\n", "line 5: a key of [plugin.author] .* `email`"),
        ("[plugin.sdk]\nrecomended = '>=1'\n", "line 5: a key of [plugin.sdk] .* `recommended`"),
        (
            "[[plugin.dependency]]\nid = 'a'\n[[plugin.dependency]]\nid = 'b'\nconflict = ['<1']\n",
            "line 8: a key of [plugin.dependency] .* `conflicts`",
        ),
        ("[plugin-runtime]\nenabled = false\n", "line 4: a table .* [plugin_runtime]"),
    ],
)
def test_it_is_shown(text: str, warning: str) -> None:
    [found] = parse_manifest((HEAD + text).encode()).warnings
    first, _, last = warning.partition(" .* ")
    assert found.startswith(f"plugin.toml {first} is unknown and ignored; did you mean {last}?")
    assert "s3cret" not in found


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("critical = true\n", "critical"),
        ("[limits]\nmemory = 's3cret'\n", "limits"),
        ("[checks.web]\ntcp = 'a:1'\n", "checks"),
        ("[plugin.depends_on.db]\n", "depends_on"),
        ("replicas = 2\n", "replicas"),
        ("[placement]\nmax_per_node = 1\n", "placement"),
    ],
)
def test_a_key_of_another_table_is_shown(text: str, key: str) -> None:
    [found] = parse_manifest((HEAD + text).encode()).warnings
    assert found == f"plugin.toml line 4: `{key}` is ignored here; it belongs in [plugin_runtime]"


@pytest.mark.parametrize(
    ("text", "key", "table"),
    [("startsecs = 3\n", "startsecs", "supervisor"), ("memory = 's3cret'\n", "memory", "limits")],
)
def test_a_key_of_an_inner_table_is_shown(text: str, key: str, table: str) -> None:
    [found] = parse_manifest((HEAD + "[plugin_runtime]\n" + text).encode()).warnings
    assert found == f"plugin.toml line 5: `{key}` is ignored here; it belongs in [plugin_runtime.{table}]"


def test_the_plugins_own_key_is_not_if_the_runtime_has_it_too() -> None:
    text = "[limits]\nrequests = 3\n[plugin_runtime.limits]\nmemory = 1\n"
    assert parse_manifest((HEAD + text).encode()).warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "commands = ['a']\n",
        "color = 'red'\n",
        "[plugin_runtime]\nworkers = 3\n",
        "[plugin.author]\nphone = '1'\n",
        "[tool.mine]\nport = 1\n",
        "[web]\nx = 1\n",
    ],
)
def test_the_plugins_own_keys_are_not(text: str) -> None:
    assert parse_manifest((HEAD + text).encode()).warnings == ()


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.name)
def test_real_manifests_have_none(folder: Path) -> None:
    assert read_manifest(folder).warnings == ()
