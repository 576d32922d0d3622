"""In what the engines differ; everything else in this folder is promised of both."""

from __future__ import annotations

from typing import Any, NamedTuple

OWN_FIELDS = {"node", "tasks", "restarts", "last_exit", "retry_at", "intent"}
"""Fields that only one engine has, or that depend on what happened before."""


class Difference(NamedTuple):
    """One row of the table in docs/cluster.md."""

    what: str
    supervisord: str
    swarm: str
    capability: str = ""
    """The name by which `GET /server/info` reports that the engine lacks it."""


DIFFERENCES = (
    Difference("where a plugin runs", "on this machine", "on any node, in a container: `node` and `tasks` show where"),
    Difference("`pid`", "this machine's", "the number on the plugin's node"),
    Difference(
        "the plugin's folder",
        "the one in the plugins folder",
        "a copy in the container, which the user `plugin` cannot write to",
    ),
    Difference(
        "a program that does not exist",
        "`invalid_manifest`, before anything is changed",
        "`start_failed`, when a node has tried",
    ),
    Difference(
        "a variable in a file",
        "read at each start, a restart included",
        "read at each start and reload; a restart by the swarm has the same value",
    ),
    Difference(
        "CPU, memory and threads of plugins",
        "measured",
        "not measured: `not_supported`, and no such metrics",
        "metrics",
    ),
    Difference(
        "`exec` checks",
        "any number",
        "one, of level `alive`, which restarts the plugin: until it passes, the plugin is `starting`",
        "exec_ready_checks",
    ),
    Difference("a plugin above its memory limit", "`last_exit` has the reason", "`last_exit` has the signal `SIGKILL`"),
    Difference("an exit code in `exitcodes`", "reported as it is", "reported as 0"),
    Difference("the delay before a restart", "grows by `factor`", "the same each time", "restart_factor"),
    Difference("`startretries = 0`", "no retry", "one retry"),
    Difference(
        "starts without the service", "ordered by `priority`", "all at once, if the whole swarm starts", "boot_order"
    ),
    Difference("`critical`", "a failure of it ends everything", "has no effect"),
    Difference(
        "`[plugin_runtime.watch]`",
        "a change of its files reloads it",
        "has no effect: a reload brings the whole folder to the nodes",
    ),
    Difference("how soon a crash is noticed", "at once", "within half a second"),
    Difference("at most one process of a plugin", "always", "on each side of a network that is cut in two"),
    Difference(
        "a stop in a network (`PLUGVISOR_NETWORK`)",
        "begins at once",
        "begins two seconds later, which the Engine takes to tell the other nodes",
    ),
    Difference("a reload of several replicas", "there is one process", "replaces all at once"),
    Difference("logs", "files on this machine", "on the nodes: copied here when they are read, and before a stop"),
    Difference(
        "without Plugvisor",
        "`plugvisor ctl`: an intent of `supervisorctl`",
        "`docker service scale`: an intent of `docker`",
    ),
)


def drop_own(told: dict[str, Any]) -> dict[str, Any]:
    """A status without what depends on the engine."""
    return {name: value for name, value in told.items() if name not in OWN_FIELDS}
