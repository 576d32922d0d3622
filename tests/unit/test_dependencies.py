"""Plugins in relation: cycles, versions that conflict, dependents."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plugvisor.models.lifecycle import Requirement
from plugvisor.models.manifest import Dependency, ManifestError, Metadata, SupervisorOptions
from plugvisor.plugins.catalog import NO_FOLDER, Catalog, Plugin, make_broken
from plugvisor.plugins.dependencies import find_warnings, resolve

from tests.helpers.manifests import make_manifest

FOLDER = Path("/plugins")
RANGES: Dependency = {
    "id": "db",
    "recommended": ">=1.0,<2.0",
    "supported": ">=1.0,<3.0",
    "untested": ">=3.0,<4.0",
    "conflicts": ("<1.0", ">=4.0", "==1.3"),
}


def make_plugin(plugin_id: str, *depends_on: str, **fields: Any) -> Plugin:
    """A plugin as it is read by itself."""
    requirements = dict.fromkeys(depends_on, Requirement())
    manifest = make_manifest(**{"id": plugin_id, "name": "", "depends_on": requirements} | fields)
    return Plugin(plugin_id, FOLDER / plugin_id, manifest, program=plugin_id)


def make_catalog(*plugins: Plugin) -> Catalog:
    return {plugin.id: plugin for plugin in sorted(plugins, key=lambda plugin: plugin.id)}


def read_graph(**graph: str) -> Catalog:
    """Plugins of one letter: `a="bc"` depends on b and c."""
    return make_catalog(*(make_plugin(name, *others) for name, others in graph.items()))


def list_problems(catalog: Catalog) -> dict[str, str]:
    return {name: plugin.manifest_error.problem for name, plugin in catalog.items() if plugin.manifest_error}


# -- cycles


def test_a_cycle_of_three_makes_each_of_them_invalid_and_nothing_else() -> None:
    resolved = resolve(read_graph(a="b", b="c", c="a", user="a", base="", c2="base"))
    assert list_problems(resolved) == {
        "a": "it depends on itself: a -> b -> c -> a",
        "b": "it depends on itself: b -> c -> a -> b",
        "c": "it depends on itself: c -> a -> b -> c",
    }
    broken = resolved["a"]
    assert (broken.program, broken.enabled, broken.folder) == (None, False, FOLDER / "a")
    assert broken.manifest is not None, "its name is shown"
    assert broken.problem == f"plugin.toml: {list_problems(resolved)['a']}"


@pytest.mark.parametrize(
    ("graph", "cycles"),
    [
        ({"a": "a"}, ["a -> a"]),
        ({"a": "b", "b": "ac", "c": "b"}, ["a -> b -> a", "b -> a -> b", "c -> b -> c"]),
        ({"a": "b", "b": "a", "c": "bd", "d": "c"}, ["a -> b -> a", "b -> a -> b", "c -> d -> c", "d -> c -> d"]),
        ({"a": "a", "b": "am", "m": "x", "x": "y", "y": "x"}, ["a -> a", "x -> y -> x", "y -> x -> y"]),
    ],
    ids=["itself", "two that share one", "one that leads to another", "one between two"],
)  # fmt: skip
def test_the_cycles_of_a_graph(graph: dict[str, str], cycles: list[str]) -> None:
    expected = {cycle[0]: f"it depends on itself: {cycle}" for cycle in cycles}
    assert list_problems(resolve(read_graph(**graph))) == expected


def test_an_order_alone_can_close_a_cycle_too() -> None:
    """Two plugins that wait for each other never start, whether they require each other or not."""
    optional = make_plugin("a", depends_on={"b": Requirement(required=False)})
    assert set(list_problems(resolve(make_catalog(optional, make_plugin("b", "a"))))) == {"a", "b"}


def test_a_long_cycle_is_not_named_in_full() -> None:
    names = [f"p{number:03}" for number in range(500)]
    plugins = [make_plugin(name, names[number - 1]) for number, name in enumerate(names)]
    problem = list_problems(resolve(make_catalog(*plugins)))["p003"]
    assert problem == "it depends on itself: p003 -> p002 -> p001 -> p000 -> p499 -> p498 -> p497 -> p496 -> … -> p003"


def test_a_plugin_that_was_invalid_before_keeps_its_problem() -> None:
    missing = make_broken("a", FOLDER / "a", ManifestError("the command is not found"), make_plugin("a", "b").manifest)
    resolved = resolve(make_catalog(missing, make_plugin("b", "a")))
    assert list_problems(resolved) == {
        "a": "the command is not found",
        "b": "it depends on itself: b -> a -> b",
    }


NAMES = "abcdefgh"
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)))


def find_reachable(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """By id, every id that it depends on, through others or not: Warshall's algorithm."""
    reachable = {name: others & graph.keys() for name, others in graph.items()}
    for middle, start in itertools.product(reachable, repeat=2):
        if middle in reachable[start]:
            reachable[start] = reachable[start] | reachable[middle]
    return reachable


@given(GRAPHS)
@example({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}})
def test_a_plugin_is_invalid_if_and_only_if_it_depends_on_itself(graph: dict[str, set[str]]) -> None:
    resolved = resolve(make_catalog(*(make_plugin(name, *sorted(others)) for name, others in graph.items())))
    problems = list_problems(resolved)
    assert problems.keys() == {name for name, others in find_reachable(graph).items() if name in others}
    for name, problem in problems.items():
        words, _, cycle = problem.partition(": ")
        assert words == "it depends on itself"
        ids = cycle.split(" -> ")
        assert ids[0] == ids[-1] == name
        assert len(set(ids)) == len(ids) - 1, "it passes no plugin twice"
        assert all(after in graph[before] for before, after in itertools.pairwise(ids))
    for name, plugin in resolved.items():
        assert plugin.dependents == tuple(sorted(other for other, others in graph.items() if name in others))


# -- versions


@pytest.mark.parametrize(
    ("version", "problem", "notes"),
    [
        ("1.2", "", ()),
        ("1.9.0rc1", "", ()),
        ("2.5", "", ("version 2.5 of 'db' is not recommended",)),
        ("3.1.0", "", ("version 3.1.0 of 'db' is untested",)),
        ("0.9", "it conflicts with version 0.9 of 'db'", ()),
        ("1.3", "it conflicts with version 1.3 of 'db'", ()),
        ("4.0", "it conflicts with version 4.0 of 'db'", ()),
        ("one", "", ("the version of 'db' cannot be compared: it is not one by PEP 440",)),
        ("9" * 5000, "", ("the version of 'db' cannot be compared: it is not one by PEP 440",)),
    ],
)
def test_the_version_of_a_dependency(version: str, problem: str, notes: tuple[str, ...]) -> None:
    user = make_plugin("user", "db", metadata=Metadata(dependencies=(RANGES,)))
    resolved = resolve(make_catalog(user, make_plugin("db", version=version)))
    assert list_problems(resolved) == ({"user": problem} if problem else {})
    assert resolved["user"].notes == notes
    assert resolved["db"].problem == "", "the other one is as good as it was"


@pytest.mark.parametrize(
    ("ranges", "problem", "notes"),
    [
        ({}, "", ()),
        ({"supported": ">=3"}, "it does not support version 2.0 of 'db'", ()),
        ({"supported": ">=3", "untested": "==2.*"}, "", ("version 2.0 of 'db' is untested",)),
        ({"supported": ">=2", "untested": ">=2"}, "", ("version 2.0 of 'db' is untested",)),
        ({"untested": ">=3"}, "", ()),
        ({"recommended": ">=3"}, "", ("version 2.0 of 'db' is not recommended",)),
        ({"supported": "", "conflicts": ("", " ")}, "", ()),
        ({"supported": "^3.0", "conflicts": ("2.x", ">=" * 2000)}, "", ()),
    ],
)
def test_a_range_that_is_missing_or_cannot_be_read(
    ranges: dict[str, Any], problem: str, notes: tuple[str, ...]
) -> None:
    dependency: Any = {"id": "db", **ranges}
    user = make_plugin("user", "db", metadata=Metadata(dependencies=(dependency,)))
    resolved = resolve(make_catalog(user, make_plugin("db", version="2.0")))
    assert list_problems(resolved) == ({"user": problem} if problem else {})
    assert resolved["user"].notes == notes


# -- what stays as it is


def test_a_plugin_that_nothing_is_added_to_is_the_same_object() -> None:
    read = read_graph(a="b", b="", c="missing", d="")
    resolved = resolve(read)
    assert list(resolved) == list(read)
    assert resolved["b"].dependents == ("a",)
    assert {name for name in read if resolved[name] is read[name]} == {"a", "c", "d"}


def test_a_plugin_that_is_as_it_was_is_the_object_that_it_was() -> None:
    read = read_graph(a="b", b="", x="y", y="x")
    before = resolve(read)
    after = resolve(read | {"new": make_plugin("new", "a")}, before)
    assert {name for name in before if after[name] is before[name]} == {"b", "x", "y"}
    assert after["a"].dependents == ("new",)


def test_a_plugin_whose_cycle_is_gone_is_valid_again() -> None:
    before = resolve(read_graph(a="b", b="a"))
    after = resolve(read_graph(a="b", b=""), before)
    assert list_problems(after) == {}
    assert after["a"].program == "a"


def test_what_cannot_be_read_has_no_dependencies() -> None:
    broken = make_broken("broken", FOLDER / "broken", ManifestError("no"))
    gone = Plugin("gone", None, problem=NO_FOLDER)
    resolved = resolve(make_catalog(broken, gone, make_plugin("user", "broken", "gone")))
    assert resolved["broken"] == replace(broken, dependents=("user",))
    assert resolved["gone"].dependents == ("user",)


# -- warnings


def test_what_an_author_is_warned_of() -> None:
    depends_on = {
        "gone": Requirement(),
        "missing": Requirement(),
        "missing2": Requirement(required=False),
        "once": Requirement("completed"),
        "once_quick": Requirement("completed"),
        "db": Requirement(),
        "invalid": Requirement(),
        "off": Requirement(),
        "off2": Requirement(required=False),
    }
    user = make_plugin("user", depends_on=depends_on, metadata=Metadata(dependencies=(RANGES,)))
    catalog = make_catalog(
        user,
        Plugin("gone", None, problem=NO_FOLDER),
        make_plugin("once"),
        make_plugin("once_quick", supervisor=SupervisorOptions(startsecs=0)),
        make_plugin("db", version="3.0"),
        make_broken("invalid", FOLDER / "invalid", ManifestError("no")),
        make_plugin("off", enabled=False),
        make_plugin("off2", enabled=False),
    )
    assert find_warnings(resolve(catalog)) == {
        "user": [
            "version 3.0 of 'db' is untested",
            "it depends on 'gone', and there is no such plugin",
            "it depends on 'missing', and there is no such plugin",
            "it waits for 'once' to complete, whose `startsecs` is not 0: a process that ends sooner has failed",
            "it depends on 'invalid', which cannot be used",
            "it depends on 'off', which is disabled",
        ]
    }
