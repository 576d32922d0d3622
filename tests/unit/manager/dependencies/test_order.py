"""The order in which plugins start and stop."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.manager.dependencies.order import find_nearest, sort, sort_into_groups
from plugvisor.models.lifecycle import Requirement
from plugvisor.models.manifest import Manifest, SupervisorOptions
from plugvisor.plugins.catalog import Plugin

NAMES = [f"p{number}" for number in range(8)]
graphs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True))


def make_plugin(name: str, priority: int, *dependencies: str) -> Plugin:
    manifest = Manifest(name, command=("true",), supervisor=SupervisorOptions(priority=priority))
    depends_on = dict.fromkeys(dependencies, Requirement())
    return Plugin(name, Path(name), msgspec.structs.replace(manifest, depends_on=depends_on))


def test_priorities_count_among_those_that_are_free() -> None:
    plugins = [
        make_plugin("late", 10, "base"),
        make_plugin("base", 20),
        make_plugin("early", 1),
        make_plugin("last", 30, "early"),
        make_plugin("alone", 20, "nobody"),
    ]
    catalog = {plugin.id: plugin for plugin in plugins}
    groups = sort_into_groups([*catalog, "unknown"], catalog)
    assert groups == [["early"], ["base", "alone"], ["late"], ["last"], ["unknown"]]
    assert sort_into_groups(["late"], catalog) == [["late"]]


def test_a_cycle_is_cut() -> None:
    plugins = [make_plugin("a", 1, "b"), make_plugin("b", 1, "a"), make_plugin("c", 1, "b")]
    groups = sort_into_groups(["a", "b", "c"], {plugin.id: plugin for plugin in plugins})
    assert sorted(name for group in groups for name in group) == ["a", "b", "c"]


@given(graphs)
def test_each_name_once_and_after_those_before_it(graph: dict[str, list[str]]) -> None:
    acyclic = {name: [other for other in others if other < name] for name, others in graph.items()}
    order = sort(NAMES, acyclic)
    assert sorted(order) == NAMES
    assert all(order.index(other) < order.index(name) for name, others in acyclic.items() for other in others)
    assert sorted(sort(NAMES, graph)) == NAMES


@given(graphs, st.sets(st.sampled_from(NAMES)))
def test_what_is_between_two_members_is_looked_through(graph: dict[str, list[str]], members: set[str]) -> None:
    nearest = find_nearest(members, lambda name: graph.get(name, []))

    def reaches(start: str, end: str) -> bool:
        """Whether there is a way from one to the other on which no other member is."""
        seen, to_visit = {start}, list(graph.get(start, []))
        while to_visit:
            name = to_visit.pop()
            if name == end:
                return True
            if name not in seen and name not in members:
                to_visit.extend(graph.get(name, []))
            seen.add(name)
        return False

    for start in members:
        assert set(nearest.get(start, [])) == {end for end in members if end != start and reaches(start, end)}
