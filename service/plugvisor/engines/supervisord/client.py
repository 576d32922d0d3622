"""supervisord's XML-RPC, asynchronous.

The methods are documented at http://supervisord.org/api.html; what supervisor 4.3.0 really does was
read in `supervisor/rpcinterface.py` and `supervisor/xmlrpc.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import xmlrpc.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from xml.parsers.expat import ExpatError

import httpx

from plugvisor.engines.supervisord.faults import NoSuchProgram, translate_fault
from plugvisor.errors import SupervisorConfused, SupervisorUnavailable
from plugvisor.models.process import Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CALL_TIMEOUT_SECONDS = 4.0
"""Longer than supervisord's longest honest pause (2.5 s, to read 1,000 programs), short enough to answer in 5 s."""


@dataclass(frozen=True)
class Call:
    """One method call for `SupervisorClient.call_together`."""

    method: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Which supervisord answers, and its own state: RUNNING, RESTARTING, SHUTDOWN or FATAL."""

    version: str
    pid: int
    state: str


@dataclass(frozen=True)
class ConfigurationDifference:
    """What the configuration files say beside what supervisord runs: names of groups."""

    added: frozenset[str]
    changed: frozenset[str]
    removed: frozenset[str]


class SupervisorClient:
    """Talks to one supervisord over one pool of connections.

    Every method answers or raises within `timeout_seconds`.

    Raises:
        SupervisorUnavailable: supervisord cannot be reached, does not answer in time or shuts down.
        SupervisorConfused: it answered, but not as supervisord does.
    """

    def __init__(self, url: str, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        """Args: `url` is `unix:///path` or `http://[user:password@]host:port`."""
        socket_path = url.removeprefix("unix://") if url.startswith("unix://") else None
        base_url = "http://supervisor" if socket_path else url
        parts = urlsplit(base_url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._http = httpx.AsyncClient(
            base_url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            auth=httpx.BasicAuth(user, password) if user else None,
            # uds=None is TCP; trust_env=False: no proxy stands between us and our own supervisord
            transport=httpx.AsyncHTTPTransport(uds=socket_path, trust_env=False),
            timeout=timeout_seconds,
            trust_env=False,
        )
        self._timeout_seconds = timeout_seconds
        self.on_call: list[Callable[[str, float, bool], object]] = []
        """Called after every call with its method, the seconds that it took, and whether it was answered with sense."""

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get_processes(self) -> dict[str, Process]:
        """Every program whose group bears its own name, as a plugin's does, by that name, at one instant."""
        infos = await self._call("supervisor.getAllProcessInfo")
        with _expect_sense("the state of its processes"):
            return {info["name"]: to_process(info) for info in infos if info["group"] == info["name"]}

    async def get_process(self, name: str) -> Process | None:
        """One program; None where supervisord has none of that name."""
        try:
            info = await self._call("supervisor.getProcessInfo", name)
        except NoSuchProgram:
            return None
        with _expect_sense("the state of a process"):
            return to_process(info)

    async def get_pid(self) -> int:
        """supervisord's own process id."""
        pid = await self._call("supervisor.getPID")
        with _expect_sense("its process id"):
            return int(pid)

    async def identify(self) -> Identity:
        """supervisord's version, process id and state."""
        methods = ("supervisor.getSupervisorVersion", "supervisor.getPID", "supervisor.getState")
        answers = await self.call_together(*map(Call, methods))
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        version, pid, state = answers
        with _expect_sense("what it is"):
            return Identity(str(version), int(pid), str(state["statename"]))

    async def reread_configuration(self) -> ConfigurationDifference:
        """Have supervisord parse its configuration files; what it runs stays as it is.

        supervisord does nothing else meanwhile: over a second for 1,000 programs.

        Raises:
            ConfigurationRejected: a file, not necessarily of ours, cannot be parsed.
        """
        difference = await self._call("supervisor.reloadConfig")
        with _expect_sense("what it has read"):
            [[added, changed, removed]] = difference
            return ConfigurationDifference(frozenset(added), frozenset(changed), frozenset(removed))

    async def remove_group(self, name: str) -> None:
        """Forget a stopped program.

        Raises:
            NoSuchProgram, StillRunning
        """
        await self._call("supervisor.removeProcessGroup", name)

    async def replace_program(self, name: str) -> None:
        """Have the extension take over a program's file; the program is stopped before and after.

        Raises:
            ConfigurationRejected, StillRunning
        """
        await self._call("plugins.replace", name)

    async def remove_program(self, name: str) -> None:
        """Have the extension forget a stopped program, so that it does not come back.

        Raises:
            NoSuchProgram, StillRunning
        """
        await self._call("plugins.remove", name)

    async def is_swept(self, name: str) -> bool:
        """Whether nothing is left of a plugin that has ended; while something is, the extension is ending it.

        Raises:
            NoExtension
        """
        return await self._call("plugins.sweep", name) is True

    async def call_together(self, *calls: Call) -> list[Any]:
        """Make several calls with nothing between them: no process changes state, no other client is served.

        All of them are made, whatever becomes of the ones before. The traps of the calls that may be made:
        `startProcess` on a program that is STOPPING answers "done" and starts nothing; `stopProcess` on one
        that has exited and is about to be restarted answers NOT_RUNNING; either with wait=True makes
        supervisord wait, the latter at 100 % CPU.

        Returns:
            for each call its value, or the exception that it means, which is not raised.
        """
        structs = [{"methodName": call.method, "params": list(call.params)} for call in calls]
        results = await self._call("system.multicall", structs)
        with _expect_sense("the results of several calls"):
            return [
                translate_fault(call.method, result["faultCode"], result["faultString"])
                if isinstance(result, dict) and "faultCode" in result
                else result
                for call, result in zip(calls, results, strict=True)
            ]

    async def _call(self, method: str, *params: Any) -> Any:
        began = time.perf_counter()
        is_answered = True
        try:
            return await self._request(method, *params)
        except SupervisorUnavailable:
            is_answered = False
            raise
        finally:
            for callback in self.on_call:
                callback(method, time.perf_counter() - began, is_answered)

    async def _request(self, method: str, *params: Any) -> Any:
        body = xmlrpc.client.dumps(params, method).encode()
        try:
            # httpx limits each read and write; the whole needs a limit as well
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.post("/RPC2", content=body, headers={"Content-Type": "text/xml"})
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SupervisorUnavailable(
                f"supervisord did not answer within {self._timeout_seconds:g} seconds: it is stopped or very busy"
            ) from error
        except httpx.TransportError as error:
            raise SupervisorUnavailable("supervisord cannot be reached: is it running?") from error
        except httpx.HTTPError as error:
            raise SupervisorConfused(f"supervisord's answer to {method} cannot be decoded") from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise SupervisorUnavailable("supervisord refuses the user and password of PLUGVISOR_SUPERVISOR_URL")
        if response.status_code != httpx.codes.OK:  # an internal error is HTTP 500 with an HTML page
            raise SupervisorConfused(f"supervisord answered {method} with HTTP {response.status_code}; see its log")
        with _expect_sense(f"something to {method} that is no XML-RPC"):
            try:
                [value], _ = xmlrpc.client.loads(response.content)
            except xmlrpc.client.Fault as fault:
                raise translate_fault(method, fault.faultCode, fault.faultString) from fault
            return value


@contextlib.contextmanager
def _expect_sense(what: str) -> Iterator[None]:
    """Where an answer has another form than supervisord's, raise `SupervisorConfused`."""
    try:
        yield
    except (xmlrpc.client.Error, ExpatError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise SupervisorConfused(f"supervisord answered {what}, in an unknown form") from error


def to_process(info: Mapping[str, Any]) -> Process:
    """What `getProcessInfo` tells of a process."""
    return Process(
        state=ProcessState(info["state"]),
        pid=info["pid"],
        # its times are of the wall clock, which may have been set back since the start
        started=time.monotonic() - max(0, info["now"] - info["start"]),
        exit_status=info["exitstatus"],
        spawn_error=info["spawnerr"],
        last_start=info["start"],
    )
