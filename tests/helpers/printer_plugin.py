"""A plugin that prints what a test has it print, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

PRINTER = """\
import sys, time
out = sys.stdout.buffer
open("printed", "ab").close()
out.write(b"ready\\n")
out.flush()
with open("printed", "rb") as printed:
    while True:
        if data := printed.read(65536):
            out.write(data)
            out.flush()
        else:
            time.sleep(0.01)
"""


def print_text(plugvisor: PlugvisorStack, plugin_id: str, text: bytes) -> None:
    """Have a printer print this; return when it is in its log, or in the one that was rotated away."""
    with (plugvisor.plugins_dir / plugin_id / "printed").open("ab") as printed:
        printed.write(text)
    log = plugvisor.log_dir / f"{plugin_id}.log"

    def is_there() -> bool:
        written = b"".join(path.read_bytes() for path in (log.with_suffix(".log.1"), log) if path.exists())
        return written.endswith(text[-100:])

    wait_for(is_there, "what was printed")
