"""Orders plugins by their dependencies: by chains, so that nothing waits for what it does not depend on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    from plugvisor.plugins.catalog import Catalog

    Neighbours = Callable[[str], Iterable[str]]

T = TypeVar("T")

BEGUN_AT_ONCE = 32
"""At most this many begin in one round of the event loop, so that thousands do not hold up everything else."""

_DEFAULT_PRIORITY = 999


def find_nearest(members: Collection[str], neighbours: Neighbours) -> dict[str, list[str]]:
    """For each member, the members that are reached first from it; those without any are left out."""
    members = set(members)
    nearest: dict[str, list[str]] = {}
    for member in members:
        seen, to_visit = {member}, list(neighbours(member))
        while to_visit:
            name = to_visit.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in members:
                nearest.setdefault(member, []).append(name)
            else:
                to_visit.extend(neighbours(name))
    return nearest


def sort(names: Iterable[str], before: Mapping[str, Iterable[str]]) -> list[str]:
    """The names, each after those before it; a cycle is cut anywhere."""
    order: dict[str, None] = {}
    seen: set[str] = set()
    for start in names:
        stack = [(start, False)]
        while stack:
            name, is_left = stack.pop()
            if is_left:
                order[name] = None
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((other, False) for other in before.get(name, ()))
    return list(order)


async def begin_in_order(
    names: Iterable[str],
    before: Mapping[str, Collection[str]],
    run: Callable[[str], Coroutine[None, None, T]],
) -> dict[str, asyncio.Task[T]]:
    """Begin a task for each name that runs it when the tasks of those before it have ended, however they end."""
    tasks: dict[str, asyncio.Task[T]] = {}
    for number, name in enumerate(sort(names, before), 1):
        earlier = [tasks[other] for other in before.get(name, ()) if other in tasks]
        tasks[name] = asyncio.create_task(_run_after(earlier, name, run))
        if number % BEGUN_AT_ONCE == 0:
            await asyncio.sleep(0)
    return tasks


async def _run_after(
    earlier: Collection[asyncio.Task[T]], name: str, run: Callable[[str], Coroutine[None, None, T]]
) -> T:
    if earlier:
        await asyncio.wait(earlier)
    return await run(name)


def sort_into_groups(names: Sequence[str], catalog: Catalog) -> list[list[str]]:
    """Plugins in the order in which to start them: after their dependencies, then by `priority`, the lowest first."""
    manifests = {name: plugin.manifest for name in names if (plugin := catalog.get(name)) and plugin.manifest}
    before = {
        name: [other for other in manifest.depends_on if other in manifests] for name, manifest in manifests.items()
    }
    groups: dict[tuple[int, int], list[str]] = {}
    keys: dict[str, tuple[int, int]] = {}
    for name in sort(names, before):
        priority = manifests[name].supervisor.priority if name in manifests else _DEFAULT_PRIORITY
        latest, rank = max((keys[other] for other in before.get(name, ()) if other in keys), default=(priority, -1))
        keys[name] = (latest, rank + 1) if latest >= priority else (priority, 0)
        groups.setdefault(keys[name], []).append(name)
    return [groups[key] for key in sorted(groups)]
