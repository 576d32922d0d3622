"""The swarm's error texts in words for a client: without ids, paths and addresses."""

from __future__ import annotations

import re
import signal

UNHEALTHY = "unhealthy container"
"""Part of the error of a task whose health check has failed."""
SIGKILL_CODE = 128 + 9
_EXIT = re.compile(r"^task: non-zero exit \((\d+)\)")
_NO_NODE = "no suitable node"
_UNAVAILABLE = "not available for new tasks"
_REASONS = (
    # of swarmkit's scheduler, each followed by the number of nodes
    ("scheduling constraints not satisfied", "{} not meet its placement constraints", "does", "do"),
    ("insufficient resources", "{} not enough free memory or CPUs for it", "has", "have"),
    ("max replicas per node limit", "{} as many replicas as one node may have", "has", "have"),
    (_UNAVAILABLE, "{} down, paused or drained", "is", "are"),
    ("port already in use", "{} the port in use", "has", "have"),
    ("unsupported platform", "{} of another platform than its image", "is", "are"),
    ("missing plugin", "{} a volume or network driver that it needs", "lacks", "lack"),
)
_NODES = re.compile(r"(\d+) nodes?")
_CAUSES = (
    (("no such image", "pull access denied", "manifest unknown", "repository does not exist"),
     "its image does not exist"),
    (("error pulling image", "no basic auth", "unauthorized", "dial tcp", "connection refused", "manifest for"),
     "its image cannot be had from the registry"),
    (("bind source path does not exist", "invalid mount config"), "what it mounts does not exist on the node"),
    (("no such network", "network not found", "could not find network"), "its network does not exist"),
    (("missing network attachments", "addresses may be exhausted"), "its network has no free address"),
    (("chdir to cwd", "working directory"), "its folder does not exist in the container"),
    (("no such file or directory", "executable file not found", "not found in $path"),
     "its command does not exist in the container"),
    (("permission denied", "is a directory"), "its command cannot be executed"),
    (("address already in use", "port is already allocated"), "its port is in use on the node"),
    (("no space left",), "the node's disk is full"),
    (("cannot allocate memory", "minimum memory limit"), "its memory limit is too small to start it"),
    ((UNHEALTHY,), "its check has failed"),
    (("secret", "config"), "a secret or config that it needs is missing"),
)  # fmt: skip
_PRIVATE = re.compile(r"\S*/\S*|\b[0-9a-f]{12,64}\b|\b[0-9a-z]{25}\b|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")
_LONGEST = 200


def explain_error(error: str) -> str:
    """Why a task is as it is, from its `Err`; empty if there is none."""
    if not error:
        return ""
    if error.startswith(_NO_NODE):
        return _explain_no_node(error)
    if (found := _EXIT.match(error)) and UNHEALTHY not in error:
        return describe_code(int(found[1]))
    lowered = error.lower()
    for texts, words in _CAUSES:
        if any(text in lowered for text in texts):
            return words
    return f"the swarm says: {_PRIVATE.sub('…', error)[:_LONGEST]}"


def describe_code(code: int) -> str:
    """How a process ended, from the exit code of its container: over 128 is a signal's number plus 128."""
    name = name_signal(code)
    return f"it was killed by {name}" if name else f"it ended with exit code {code}"


def name_signal(code: int) -> str:
    """The signal that an exit code stands for; empty if it stands for none."""
    try:
        return signal.Signals(code - 128).name if code > 128 else ""
    except ValueError:
        return ""


def count_nodes(error: str) -> tuple[int, int]:
    """How many nodes do not fit by a task's `Err`, and how many of them because they are not available."""
    reasons = [(part, _count(part)) for part in _split(error)]
    return sum(count for _, count in reasons), sum(count for part, count in reasons if _UNAVAILABLE in part)


def _split(error: str) -> list[str]:
    """The reasons why no node fits; none if the error is another."""
    return error.removeprefix(_NO_NODE).strip(" ()").split("; ") if error.startswith(_NO_NODE) else []


def _count(reason: str) -> int:
    return int(found[1]) if (found := _NODES.search(reason)) else 0


def _explain_no_node(error: str) -> str:
    reasons = []
    for part in _split(error):
        count = _count(part)
        nodes = "1 node" if count == 1 else f"{count or 'all'} nodes"
        for text, words, singular, plural in _REASONS:
            if text in part:
                reasons.append(words.format(f"{nodes} {singular if count == 1 else plural}"))
                break
    return f"no node fits: {', '.join(reasons)}" if reasons else "no node fits"
