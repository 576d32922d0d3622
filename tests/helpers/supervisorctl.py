"""supervisorctl without a process of its own, which would cost a third of a second."""

from __future__ import annotations

import io
from typing import Any

from supervisor.options import ClientOptions
from supervisor.supervisorctl import Controller


class _Options(ClientOptions):  # type: ignore[misc] # supervisor has no type hints
    """Remembers the proxies that it makes: nobody else closes their connections."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.serverurl, self.prompt, self.interactive = url, "", False
        self.proxies: list[Any] = []

    def getServerProxy(self) -> Any:  # noqa: N802 - supervisor's name
        self.proxies.append(super().getServerProxy())
        return self.proxies[-1]


def run_supervisorctl(url: str, *arguments: str) -> str:
    """Run `supervisorctl ARGUMENTS…` against a supervisord; returns what it prints."""
    options, output = _Options(url), io.StringIO()
    try:
        Controller(options, stdout=output).onecmd(" ".join(arguments))
    finally:
        for proxy in options.proxies:
            proxy("close")()
    return output.getvalue()
