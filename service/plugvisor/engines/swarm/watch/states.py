"""The mapping of a service and its tasks to one process (docs/cluster.md has the table)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.models.process import Process


def make_process(
    service: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]], now: float
) -> tuple[Process, float | None]:
    """Make the process of a plugin.

    Args:
        service: as `GET /services` describes it.
        tasks: all of the service's, as `GET /tasks` describes them, in any order.
        nodes: by id, as `GET /nodes` describes them.
        now: in seconds since 1970.

    Returns:
        the process, and when it becomes another by the passing of time alone (`startsecs`), in seconds since 1970.
    """
    raise NotImplementedError
