"""A Plugvisor for the tests that send what no client library would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.stack import PlugvisorStack, run_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def target() -> Iterator[PlugvisorStack]:
    """One Plugvisor for this file, up, with two plugins that may be started and stopped."""
    with run_stack() as made:
        made.write_plugin("runs")
        made.write_plugin("idle", runtime="auto_start = false")
        made.up()
        made.wait_for_status("runs", "running")
        yield made
        assert "Traceback" not in made.service_log, made.service_log
        assert made.process is not None
        assert made.process.poll() is None
