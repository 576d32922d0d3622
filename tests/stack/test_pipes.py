"""Pipes among the program files: supervisord reads regular files alone, and waits for nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack


def test_a_pipe_in_conf_d_blocks_no_reread(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("other", runtime=QUICK)
    plugvisor.up()
    os.mkfifo(plugvisor.run_dir / "conf.d" / "pipe.conf")
    reread = plugvisor.command("ctl", "reread")
    assert "No config updates" in reread.stdout, (reread.stdout, reread.stderr)
    plugvisor.start_running("other")


def test_a_pipe_in_conf_d_blocks_no_start(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("other", runtime=QUICK)
    plugvisor.command("render")
    os.mkfifo(plugvisor.run_dir / "conf.d" / "pipe.conf")
    plugvisor.up()
    plugvisor.start_running("other")
