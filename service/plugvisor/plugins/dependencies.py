"""The plugins of a catalog as a graph of their dependencies: cycles, versions that conflict, dependents."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.catalog import make_broken
from plugvisor.plugins.versions import judge_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from plugvisor.plugins.catalog import Catalog, Plugin

    Graph = Mapping[str, Sequence[str]]
    """By id, the ids of others; an id that has none may be missing."""

_MOST_IDS_NAMED = 12


def resolve(read: Catalog, before: Catalog | None = None) -> Catalog:
    """Put plugins, each read by itself, into relation.

    A plugin that depends on itself, through others or not, is invalid, and so is one that conflicts with the version
    of a dependency; it keeps its `manifest`. A dependency that is missing changes nothing.

    Args:
        read: what `load_catalog` returns.
        before: an earlier result. Of a plugin that is as it was there, the object is returned that is there.

    Returns:
        the plugins in the same order; a plugin that nothing is added to is the same object.
    """
    graph = {
        plugin.id: [name for name in plugin.manifest.depends_on if name in read]
        for plugin in read.values()
        if plugin.manifest is not None and plugin.manifest.depends_on
    }
    dependents: dict[str, list[str]] = {}
    for plugin_id in sorted(graph):
        for name in graph[plugin_id]:
            dependents.setdefault(name, []).append(plugin_id)
    cycles = dict(_find_cycles(graph, dependents))
    resolved = {}
    for plugin_id, plugin in read.items():
        fresh = plugin
        if plugin_id in graph or plugin_id in dependents:
            conflict, notes = _judge_versions(plugin, read)
            if (problem := cycles.get(plugin_id) or conflict) and not plugin.problem:
                broken = make_broken(
                    plugin_id, plugin.folder, ManifestError(problem), plugin.manifest, plugin.version_folder
                )
                fresh = replace(broken, disabled_by=plugin.disabled_by)
            if notes or plugin_id in dependents:
                fresh = replace(fresh, dependents=tuple(dependents.get(plugin_id, ())), notes=notes)
        known = before.get(plugin_id) if before else None
        resolved[plugin_id] = known if known is not None and known is not fresh and known == fresh else fresh
    return resolved


def find_warnings(catalog: Catalog) -> dict[str, list[str]]:
    """Warnings about a resolved catalog for the plugins' authors: sentences, by the plugin's id."""
    warnings: dict[str, list[str]] = {}
    for plugin in catalog.values():
        found = list(plugin.notes)
        for name, requirement in plugin.manifest.depends_on.items() if plugin.manifest else ():
            other = catalog.get(name)
            if other is None or other.folder is None:
                if requirement.required:
                    found.append(f"it depends on {name!r}, and there is no such plugin")
            elif requirement.required and not plugin.problem and other.problem:
                found.append(f"it depends on {name!r}, which cannot be used")
            elif requirement.required and other.manifest and not (other.manifest.enabled and not other.disabled_by):
                found.append(f"it depends on {name!r}, which is disabled")
            elif requirement.condition == "completed" and other.manifest and other.manifest.supervisor.startsecs:
                found.append(
                    f"it waits for {name!r} to complete, whose `startsecs` is not 0: "
                    "a process that ends sooner has failed"
                )
        if found:
            warnings[plugin.id] = found
    return warnings


def _judge_versions(plugin: Plugin, catalog: Catalog) -> tuple[str, tuple[str, ...]]:
    """Why the version of a dependency rules out a plugin, or empty, and what else there is to say about versions."""
    notes = []
    for dependency in plugin.manifest.metadata.dependencies if plugin.manifest else ():
        other = catalog.get(dependency.get("id", ""))
        if other is None or other.manifest is None or other is plugin:
            continue
        verdict = judge_version(dependency, other.manifest.version)
        if verdict.conflict:
            return verdict.conflict, ()
        if verdict.note:
            notes.append(verdict.note)
    return "", tuple(notes)


# -- cycles


def _find_cycles(graph: Graph, reverse: Graph) -> Iterator[tuple[str, str]]:
    """Each id that is in a cycle, and a sentence that names one."""
    seen: set[str] = set()
    order = [name for start in graph if start not in seen for name in _walk(graph, start, seen)]
    seen = set()
    for root in reversed(order):  # Kosaraju's algorithm finds the strongly connected components
        if root in seen:
            continue
        component = sorted(_walk(reverse, root, seen))
        if len(component) == 1 and root not in graph.get(root, ()):
            continue
        origins, next_hops = _search(graph, component), _search(reverse, component)
        worded: set[str] = set()
        for name in component:
            if name not in worded:  # the plugins of a long cycle share it
                cycle = _close_cycle(name, component[0], origins, next_hops)
                yield from ((cycle[at], _word_cycle(cycle, at)) for at in range(len(cycle)) if cycle[at] not in worded)
                worded.update(cycle)


def _walk(graph: Graph, start: str, seen: set[str]) -> list[str]:
    """The ids that a search from `start` reaches past those in `seen`, each after the ones it leads to; depth first."""
    seen.add(start)
    path = [(start, iter(graph.get(start, ())))]
    left = []
    while path:
        name, ahead = path[-1]
        following = next((other for other in ahead if other not in seen), None)
        if following is None:
            left.append(name)
            path.pop()
        else:
            seen.add(following)
            path.append((following, iter(graph.get(following, ()))))
    return left


def _search(graph: Graph, component: Sequence[str]) -> dict[str, str]:
    """The id before each of a component, the first included, on a shortest way from the first to it."""
    members = set(component)
    before: dict[str, str] = {}
    pending = deque(component[:1])
    while pending:
        name = pending.popleft()
        for other in graph[name]:
            if other in members and other not in before:
                before[other] = name
                pending.append(other)
    return before


def _close_cycle(name: str, root: str, origins: Mapping[str, str], next_hops: Mapping[str, str]) -> list[str]:
    """The ids of a cycle from `name` on: toward `root`, and back to it from the first id that is on the way from it."""
    way = [name]  # from `root`, backwards
    while way[-1] != root:
        way.append(origins[way[-1]])
    places = {other: place for place, other in enumerate(way)}
    cycle = [name]
    while (other := next_hops[cycle[-1]]) not in places:
        cycle.append(other)
    return cycle + way[1 : places[other] + 1][::-1]


def _word_cycle(cycle: list[str], at: int) -> str:
    """Name the plugins of a cycle from one of them on."""
    size = len(cycle)
    count = size if size <= _MOST_IDS_NAMED else 8
    named = [cycle[(at + place) % size] for place in range(count)]
    if count < size:
        named.append("…")
    return f"it depends on itself: {' -> '.join([*named, cycle[at]])}"
