"""supervisorctl without a process of its own, which would cost a third of a second."""

from __future__ import annotations

import io
from typing import Any

from supervisor.options import ClientOptions
from supervisor.supervisorctl import Controller
from supervisor.xmlrpc import UnixStreamHTTPConnection

from tests.helpers.waiting import DEADLINE_SECONDS


class _Connection(UnixStreamHTTPConnection):  # type: ignore[misc] # supervisor has no type hints
    """Gives up after the deadline: supervisorctl itself waits for ever."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(DEADLINE_SECONDS)


class _Options(ClientOptions):  # type: ignore[misc] # supervisor has no type hints
    """Remembers the proxies that it makes: nobody else closes their connections."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.serverurl, self.prompt, self.interactive = url, "", False
        self.proxies: list[Any] = []

    def getServerProxy(self) -> Any:  # noqa: N802 - supervisor's name
        proxy = super().getServerProxy()
        proxy("transport")._get_connection = self._make_connection
        self.proxies.append(proxy)
        return proxy

    def _make_connection(self) -> Any:
        connection = _Connection("localhost")
        connection.socketfile = self.serverurl.removeprefix("unix://")
        return connection


def run_supervisorctl(url: str, *arguments: str) -> str:
    """Run `supervisorctl ARGUMENTS…` against a supervisord; returns what it prints."""
    options, output = _Options(url), io.StringIO()
    try:
        Controller(options, stdout=output).onecmd(" ".join(arguments))
    finally:
        for proxy in options.proxies:
            proxy("close")()
    assert "TimeoutError" not in output.getvalue(), f"supervisorctl {arguments} does not end: {output.getvalue()}"
    return output.getvalue()
