"""The launch number: a resource limit that identifies the processes of one launch, whatever they do to themselves.

A daemon that forks twice, calls setsid and erases its environment has nothing of its plugin's left but its resource
limits. The soft limit of RLIMIT_RTTIME counts microseconds that a real-time process computes without a pause; values
of 146,000 years and more limit nothing. Only a process that sets this limit itself escapes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import resource
import sys
from typing import TYPE_CHECKING

from plugvisor.variable_files import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.engines.supervisord.extension.processes.process_tag import ProcessTag

_LEAST = 1 << 62
_LINE = re.compile(rb"^Max realtime timeout +([0-9]+) ", re.MULTILINE)


def make_launch_number(tag: ProcessTag) -> int:
    """The number of a launch: another one for each start of each plugin."""
    return _LEAST + int.from_bytes(hashlib.blake2b(encode(tag.render()), digest_size=7).digest())


@contextlib.contextmanager
def numbering_children(tag: ProcessTag) -> Iterator[None]:
    """Give what is started meanwhile the number of that launch; it has none if the system has no such limit."""
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    if (soft, hard) != (resource.RLIM_INFINITY, resource.RLIM_INFINITY):  # somebody uses it
        yield
        return
    resource.setrlimit(resource.RLIMIT_RTTIME, (make_launch_number(tag), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))


def read_launch_number(pid: int) -> int | None:
    """The launch number of a process; None if it has none."""
    try:
        with open(f"/proc/{pid}/limits", "rb", buffering=0) as file:
            found = _LINE.search(file.readall())
    except OSError:
        return None
    return int(found[1]) if found and int(found[1]) >= _LEAST else None
