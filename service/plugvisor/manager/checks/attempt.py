"""One attempt of a check, of whichever kind."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from plugvisor.errors import NotRunning, SupervisorUnavailable
from plugvisor.manager.checks.connection import describe_failure
from plugvisor.manager.checks.http_check import check_http
from plugvisor.manager.checks.tcp_check import check_tcp

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine, Execution
    from plugvisor.models.lifecycle import Check

OWN_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What this service may run out of, which says nothing of the plugin either."""
LATE_SECONDS = 0.5
"""A timeout that comes so much later says nothing of the plugin: this service was stopped, or had no CPU time."""


async def make_attempt(engine: Engine, plugin_id: str, launches: int, name: str, check: Check) -> str | None:
    """Make one attempt.

    Returns:
        why it failed, or "" if it passed; None if nothing is known: the launch is over, or supervisord or this
        service was stopped meanwhile, or has run out of something.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + check.timeout
    try:
        if check.http:
            return await check_http(check.http, check.timeout)
        if check.tcp:
            return await check_tcp(check.tcp, check.timeout)
        return _describe(await engine.execute(plugin_id, launches, name, check.timeout), check)
    except (SupervisorUnavailable, NotRunning):
        return None
    except TimeoutError:
        return None if loop.time() > deadline + LATE_SECONDS else _describe_timeout(check)
    except OSError as error:
        return None if error.errno in OWN_SHORTAGES else describe_failure(error)
    except ValueError:
        return "its address is invalid"


def _describe(execution: Execution, check: Check) -> str:
    if execution.timed_out:
        return _describe_timeout(check)
    if execution.signal:
        return f"killed by {execution.signal}"
    return execution.error or (f"exit code {execution.code}" if execution.code else "")


def _describe_timeout(check: Check) -> str:
    return f"timed out after {check.timeout:g} s"
