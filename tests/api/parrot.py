"""A plugin that prints what it is told to, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import wait_for

if TYPE_CHECKING:
    from tests.conftest import Plugvisor

PARROT = """\
import sys, time
out = sys.stdout.buffer
open("said", "ab").close()
out.write(b"ready\\n")
out.flush()
with open("said", "rb") as said:
    while True:
        if data := said.read(65536):
            out.write(data)
            out.flush()
        else:
            time.sleep(0.01)
"""


def say(plugvisor: Plugvisor, plugin_id: str, text: bytes) -> None:
    """Have a parrot print this, and wait until it stands in its log, or in the one that was rotated away."""
    with (plugvisor.plugins_dir / plugin_id / "said").open("ab") as said:
        said.write(text)
    log = plugvisor.log_dir / f"{plugin_id}.log"

    def is_there() -> bool:
        written = b"".join(path.read_bytes() for path in (log.with_suffix(".log.1"), log) if path.exists())
        return written.endswith(text[-100:])

    wait_for(is_there, "what was said")
