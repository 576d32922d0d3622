"""One attempt of a check, of whichever kind."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from plugvisor.errors import NotRunning, SupervisorUnavailable
from plugvisor.manager.checks.connection import describe_failure
from plugvisor.manager.checks.http_check import check_http, parse_url
from plugvisor.manager.checks.tcp_check import check_tcp, parse_address

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine, Execution
    from plugvisor.models.lifecycle import Check

OWN_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of a shortage of this service, which say nothing of the plugin."""
LATE_SECONDS = 0.5
"""A timeout that comes so much later says nothing of the plugin: this service was stopped, or had no CPU time."""


async def make_attempt(engine: Engine, plugin_id: str, launches: int, name: str, check: Check) -> str | None:
    """Make one attempt: of several processes, all must pass.

    Returns:
        why it failed, or "" if it passed; None if nothing is known: the launch is over, or the engine or this
        service was stopped meanwhile, or has run out of something.

    Raises:
        NotSupported: no attempt can be made here, whatever the plugin does.
    """
    try:
        if check.exec:
            return _describe(await engine.execute(plugin_id, launches, name, check.timeout), check)
        host = parse_url(check.http).host if check.http else parse_address(check.tcp)[0]
        addresses = engine.locate(plugin_id, host)
    except (SupervisorUnavailable, NotRunning):
        return None
    except ValueError:
        return "its address is invalid"
    found = await asyncio.gather(*(_connect(address.host, check) for address in addresses))
    for address, failure in zip(addresses, found, strict=True):
        if failure:
            return f"{failure}, on {address.node}" if address.node else failure
    return None if None in found else ""


async def _connect(host: str, check: Check) -> str | None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + check.timeout
    try:
        if check.http:
            return await check_http(check.http, check.timeout, host)
        return await check_tcp(host, parse_address(check.tcp)[1], check.timeout)
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
